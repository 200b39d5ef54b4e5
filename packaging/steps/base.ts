/**
 * Keeps true: the plugin's root file system holds tools of the host's own distribution, with all updates, and little else.
 * In: the distribution, the package list. Out: a folder that is the root file system without Node, flanneld and our code.
 * Rule: files come from packages unchanged; the few that are written here are the ones a package's install script would write.
 */
import { chmod, copyFile, cp, lstat, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Recipe } from "../cache.ts";
import type { Distribution } from "../host.ts";
import { run } from "../run.ts";
import { closure, DPKG_FORMAT, kept, merged, parsePackages } from "./closure.ts";

/** What the plugin runs. util-linux brings nsenter and mount, libstdc++6 is for Node. */
const PACKAGES = [
  "iproute2", "nftables", "iptables", "conntrack", "ipvsadm", "ethtool", "kmod", "util-linux", "mount", "ca-certificates", "libstdc++6",
  "coreutils", "dash", "grep", "sed",
];

/** The loader must find every library of these in the finished root file system: what is missing shows at build time, not on a node. */
const PROGRAMS = [
  "bin/sh", "bin/ls", "bin/grep", "bin/sed", "bin/mount", "bin/nsenter", "sbin/ip", "sbin/bridge", "sbin/tc", "sbin/nft", "sbin/ipvsadm",
  "sbin/iptables-nft", "sbin/iptables-legacy", "sbin/ip6tables-nft", "sbin/ip6tables-legacy", "sbin/conntrack", "sbin/ethtool", "sbin/modprobe",
];

const SCRIPT = join(import.meta.dirname, "base.sh");
const PICKER = join(import.meta.dirname, "closure.ts");

export async function baseRecipe(distribution: Distribution): Promise<Recipe> {
  const code = await Promise.all([SCRIPT, PICKER, import.meta.filename].map((file) => readFile(file, "utf8")));
  return {
    kind: "base",
    ingredients: [process.arch, distribution.suite, distribution.mirror, ...distribution.sources, ...PACKAGES, ...code],
    async make(folder) {
      const stage = `${folder}/stage`;
      await writeFile(`${stage}.sources`, `${distribution.sources.join("\n")}\n`);
      const script = [SCRIPT, stage, distribution.suite, distribution.mirror, distribution.keyring, ...PACKAGES];
      const cure = "check that the machine reaches its package archive (apt-get update), then build again";
      const apart = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"];
      await run("unshare", [...apart, "sh", ...script], { cure, endBy: "SIGKILL" }); // unshare ignores SIGTERM while it waits
      await pick(stage, `${folder}/rootfs`);
      for (const name of ["stage", "stage.sources", "stage.debs"]) await rm(join(folder, name), { recursive: true, force: true });
    },
  };
}

async function pick(stage: string, root: string): Promise<void> {
  await skeleton(root, stage);
  const installed = parsePackages(await run("chroot", [stage, "dpkg-query", "-W", "-f", DPKG_FORMAT]));
  for (const name of closure(installed, PACKAGES)) {
    for (const path of await filesOf(stage, name)) await carry(stage, root, path);
  }
  await carryAlternatives(stage, root);
  await mkdir(join(root, "etc/ssl/certs"), { recursive: true });
  await copyFile(join(stage, "etc/ssl/certs/ca-certificates.crt"), join(root, "etc/ssl/certs/ca-certificates.crt"));
  await run("ldconfig", ["-r", root]);
  const loader = await loaderOf(root);
  for (const program of PROGRAMS) await run("chroot", [root, loader, "--list", `/usr/${program}`]);
}

/** The empty tree with a merged /usr, mount points, and the accounts and name service a static tree needs. */
async function skeleton(root: string, stage: string): Promise<void> {
  for (const name of ["usr", "etc", "proc", "sys", "dev", "tmp", "run", "var/lib", "var/tmp", "root", "host/run", "host/var/lib", "opt"]) {
    await mkdir(join(root, name), { recursive: true });
  }
  for (const name of ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]) {
    if (!existsSync(join(stage, "usr", name))) continue;
    await mkdir(join(root, "usr", name));
    await symlink(`usr/${name}`, join(root, name));
  }
  await symlink("/run", join(root, "var/run"));
  await chmod(join(root, "tmp"), 0o1777);
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
  await writeFile(join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
  await writeFile(join(root, "etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n");
}

/** ld.so(8): in /usr/lib64 on x64, in /usr/lib on arm64. */
async function loaderOf(root: string): Promise<string> {
  for (const folder of ["usr/lib64", "usr/lib"]) {
    const name = (await readdir(join(root, folder)).catch(() => [])).find((each) => /^ld-linux.*\.so\.\d+$/.test(each));
    if (name !== undefined) return `/${folder}/${name}`;
  }
  throw new Error("Cannot build the base: it has no program loader\n  Cure: report which distribution this is; packages of glibc are expected");
}

async function filesOf(stage: string, name: string): Promise<readonly string[]> {
  const info = join(stage, "var/lib/dpkg/info");
  const lists = (await readdir(info)).filter((file) => file === `${name}.list` || (file.startsWith(`${name}:`) && file.endsWith(".list")));
  const texts = await Promise.all(lists.map((file) => readFile(join(info, file), "utf8")));
  return texts.flatMap((text) => text.split("\n")).map(merged).filter(kept);
}

async function carry(stage: string, root: string, path: string): Promise<void> {
  const from = join(stage, path);
  if (!existsSync(dirname(from))) return;
  const entry = await lstat(from).catch(() => undefined);
  if (entry === undefined || entry.isDirectory()) return;
  const to = join(root, path);
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { verbatimSymlinks: true, preserveTimestamps: true, force: true });
}

/**
 * The names that install scripts make through /etc/alternatives, e.g. iptables → iptables-nft, as direct links. One hop only:
 * iptables-nft is itself a link to a program that looks at the name it was called by.
 */
async function carryAlternatives(stage: string, root: string): Promise<void> {
  for (const folder of ["usr/bin", "usr/sbin"]) {
    for (const name of await readdir(join(stage, folder))) {
      const middle = await readlink(join(stage, folder, name)).catch(() => "");
      if (!middle.startsWith("/etc/alternatives/")) continue;
      const target = merged(await readlink(join(stage, middle)));
      if (await present(join(root, target))) await symlink(target, join(root, folder, name));
    }
  }
}

async function present(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}
