/**
 * Keeps true: the image lab/box has one and the same id on every node of a lab, whatever its engine: it is made once, by hand, and loaded.
 * In: a root file system to take Debian's programs from. Out: a `docker load` archive and the image's id.
 * Rule: every byte follows from the inputs: sorted names, time 0, no owner names.
 */
import { createHash } from "node:crypto";
import { access, cp, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { recipeHash } from "../plan.ts";
import type { Rootfs } from "../rootfs/cache.ts";
import { must } from "../run.ts";
import { cacheFolder, lockFile } from "../state.ts";

export const IMAGE = "lab/box:latest";
/** Debian's own, with their libraries; everything else is busybox. */
const PROGRAMS = ["/usr/bin/dig", "/usr/bin/curl", "/bin/nc.openbsd", "/usr/bin/iperf3", "/bin/ping", "/bin/bash", "/bin/dash"];
const SOURCES = fileURLToPath(new URL(".", import.meta.url));

export interface BoxImage {
  readonly archive: string;
  /** As `docker image inspect` shows it: "sha256:…". */
  readonly id: string;
}

/** Finds or makes the image (2–20 s the first time). */
export async function boxImage(rootfs: Rootfs, progress: (line: string) => void): Promise<BoxImage> {
  const sources = (await readdir(SOURCES)).filter((name) => /\.(go|mod|ts)$/.test(name)).sort();
  const texts = await Promise.all(sources.map((name) => readFile(`${SOURCES}/${name}`, "utf8")));
  const place = `${cacheFolder()}/box/${recipeHash([rootfs.key, ...texts])}`;
  const lock = await lockFile(`${cacheFolder()}/box/lock`, () => progress("waiting for another build of the image lab/box"));
  try {
    if (!await access(place).then(() => true, () => false)) await build(rootfs, place, progress);
  } finally {
    await lock.release();
  }
  return { archive: `${place}/box.tar`, id: (await readFile(`${place}/id`, "utf8")).trim() };
}

async function build(rootfs: Rootfs, place: string, progress: (line: string) => void): Promise<void> {
  progress("making the image lab/box");
  const half = `${place}.half`;
  await rm(half, { recursive: true, force: true });
  const layer = `${half}/layer`;
  for (const folder of ["bin", "tmp", "etc", "root", "proc", "sys", "dev", "run", "var"]) await mkdir(`${layer}/${folder}`, { recursive: true });
  await copyPrograms(rootfs.folder, layer);
  await must("compile the lab's box tool", "go", ["build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", `${layer}/bin/box`, "."],
    { cwd: SOURCES, env: { CGO_ENABLED: "0", GOFLAGS: "", GOTOOLCHAIN: "local" }, timeoutMs: 600_000 });
  await writeFile(`${layer}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
  await writeFile(`${layer}/etc/group`, "root:x:0:\nnogroup:x:65534:\n");
  await writeFile(`${layer}/etc/nsswitch.conf`, "passwd: files\ngroup: files\nhosts: files dns\n");
  const id = await archive(half, layer);
  await writeFile(`${half}/id`, `${id}\n`);
  await cp(`${layer}/bin/box`, `${half}/box`);
  await rm(layer, { recursive: true });
  await rename(half, place);
}

/** Busybox with all its names, and Debian's programs with the libraries their loader asks for, at the same places. */
async function copyPrograms(root: string, layer: string): Promise<void> {
  const asked = await must("list the libraries of lab/box", "chroot", [root, "ldd", ...PROGRAMS]);
  const libraries = asked.split("\n").map((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1]).filter((path) => path !== undefined);
  // glibc loads these by name at run time.
  const silent = await must("find glibc's name service", "chroot", [root, "sh", "-c", "ls /lib/*/libnss_files.so.2 /lib/*/libnss_dns.so.2"]);
  for (const path of new Set([...PROGRAMS, ...libraries, ...silent.trim().split("\n")])) {
    const target = `${layer}${path.replace(/^\/usr\/(bin|sbin)\//, "/bin/").replace(/^\/usr\/lib/, "/lib")}`;
    await mkdir(dirname(target), { recursive: true });
    await cp(`${root}${path}`, target, { dereference: true });
  }
  await cp(`${root}/bin/busybox`, `${layer}/bin/busybox`);
  await rename(`${layer}/bin/nc.openbsd`, `${layer}/bin/nc`);
  // Not busybox' own shell: it would run its applets in place of the programs above.
  await symlink("dash", `${layer}/bin/sh`);
  const names = await must("list busybox' names", "chroot", [root, "/bin/busybox", "--list"]);
  for (const name of names.trim().split("\n")) await symlink("busybox", `${layer}/bin/${name}`).catch(() => undefined);
  for (const link of ["sbin", "usr/bin", "usr/sbin", "usr/lib"]) {
    await mkdir(dirname(`${layer}/${link}`), { recursive: true });
    const target = link.endsWith("lib") ? "lib" : "bin";
    await symlink(link.includes("/") ? `../${target}` : target, `${layer}/${link}`);
  }
}

async function tar(folder: string, file: string, names: readonly string[]): Promise<void> {
  await must("pack lab/box", "tar", ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu",
    "-C", folder, "-cf", file, ...names]);
}

const sha256 = async (file: string): Promise<string> => createHash("sha256").update(await readFile(file)).digest("hex");

/** Writes box.tar; returns the image id, which is the digest of its config. */
async function archive(half: string, layer: string): Promise<string> {
  await mkdir(`${half}/image`);
  await tar(layer, `${half}/image/layer.tar`, ["."]);
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64", os: "linux", created: "1970-01-01T00:00:00Z",
    config: { Env: ["PATH=/bin:/usr/bin"], Cmd: ["/bin/box", "serve"], WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [`sha256:${await sha256(`${half}/image/layer.tar`)}`] },
    history: [{ created: "1970-01-01T00:00:00Z", created_by: "lab/box" }],
  });
  const id = createHash("sha256").update(config).digest("hex");
  await writeFile(`${half}/image/${id}.json`, config);
  await writeFile(`${half}/image/manifest.json`, JSON.stringify([{ Config: `${id}.json`, RepoTags: [IMAGE], Layers: ["layer.tar"] }]));
  await tar(`${half}/image`, `${half}/box.tar`, [`${id}.json`, "layer.tar", "manifest.json"]);
  await rm(`${half}/image`, { recursive: true });
  return `sha256:${id}`;
}
