/**
 * Keeps true: kernels, disks and the emulator of virtual machines are made once per recipe on this machine, complete or absent.
 * In: a kernel, an engine's root file system, a plugin template. Out: files that QEMU reads and never writes.
 * Rule: Debian's packages come by this machine's own apt sources; everything is built beside its place and renamed into it.
 */
import { access, cp, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { recipeHash } from "../plan.ts";
import { KEYRING, builtRoot, debianMirror } from "../rootfs/cache.ts";
import { must } from "../run.ts";
import { cacheFolder, lockFile } from "../state.ts";
import { FILE, FOLDER, PROGRAM, cpio } from "./cpio.ts";
import type { Packed } from "./cpio.ts";
import { EARLY_MODULES, EMULATOR, KERNEL_PACKAGE, loadOrder } from "./plan.ts";
import type { Kernel } from "./plan.ts";

type Progress = (line: string) => void;
const WIRE = fileURLToPath(new URL("wire", import.meta.url));
const INITRD = fileURLToPath(new URL("inside/initrd", import.meta.url));

const there = (path: string): Promise<boolean> => access(path).then(() => true, () => false);

/** Finds a folder or file of the cache or makes it, under a lock. */
async function cached(name: string, says: string, progress: Progress, make: (half: string) => Promise<void>): Promise<string> {
  const place = `${cacheFolder()}/vm/${name}`;
  const lock = await lockFile(`${cacheFolder()}/vm/${name}.lock`, () => progress(`waiting for another command: ${says}`));
  try {
    if (!await there(place)) {
      progress(says);
      await rm(`${place}.half`, { recursive: true, force: true });
      await make(`${place}.half`);
      await rename(`${place}.half`, place);
    }
  } finally {
    await lock.release();
  }
  return place;
}

/** How to start a program out of a foreign root on this machine's kernel, without entering that root. */
export function programOf(root: string, name: string, path: string): readonly string[] {
  return [`${root}/lib64/ld-linux-x86-64.so.2`, "--argv0", name, "--library-path", `${root}/usr/lib/x86_64-linux-gnu`, `${root}${path}`];
}

/** The emulator's root: QEMU and the tools that make images. */
export async function emulatorRoot(progress: Progress): Promise<string> {
  return builtRoot({ label: "the emulator", suite: EMULATOR.suite, packages: EMULATOR.packages }, progress);
}

async function tool(root: string, what: string, name: string, path: string, ...args: readonly string[]): Promise<string> {
  const [file = "", ...rest] = programOf(root, name, path);
  return must(what, file, [...rest, ...args], { timeoutMs: 600_000 });
}

/** An ext4 image with a folder's content; `spareMb` beyond it. */
async function ext4(tools: string, folder: string | undefined, image: string, sizeMb: number, journal: boolean): Promise<void> {
  await tool(tools, `make the disk ${image}`, "mke2fs", "/usr/sbin/mke2fs", "-q", "-t", "ext4", "-m", "0", ...(journal ? [] : ["-O", "^has_journal"]),
    "-E", "root_owner=0:0,lazy_itable_init=1,nodiscard", ...(folder === undefined ? [] : ["-d", folder]), image, `${sizeMb}M`);
}

async function megabytes(folder: string): Promise<number> {
  return Math.ceil(Number((await must(`measure ${folder}`, "du", ["-s", "--apparent-size", "-m", folder])).split("\t")[0]));
}

/** A read-only disk of a folder. */
async function diskOf(tools: string, folder: string, image: string): Promise<void> {
  await ext4(tools, folder, image, Math.ceil(await megabytes(folder) * 1.4) + 64, false);
}

/** An empty disk for a machine: sparse, it grows as it is written to. */
export async function ownDisk(file: string, progress: Progress): Promise<void> {
  await ext4(await emulatorRoot(progress), undefined, file, 8192, true);
}

export async function rootDisk(rootfs: { readonly key: string; readonly folder: string }, progress: Progress): Promise<string> {
  const tools = await emulatorRoot(progress);
  return cached(`root-${rootfs.key}.img`, `making the disk of Debian ${rootfs.key.split("-")[0] ?? ""} for virtual machines (10 s, once)`, progress,
    (half) => diskOf(tools, rootfs.folder, half));
}

/** A plugin template (see lab/plugin.ts) as a disk. It lies beside the template and goes with it. */
export async function templateDisk(template: string, progress: Progress): Promise<string> {
  const image = `${template}.img`;
  if (await there(image)) return image;
  const half = `${image}.half-${process.pid}`;
  await diskOf(await emulatorRoot(progress), template, half);
  await rename(half, image);
  return image;
}

export interface KernelFiles { readonly vmlinuz: string; readonly initrd: string; readonly modules: string }

/** Debian's kernel, its modules as a disk, and an initrd that mounts a machine's root. */
export async function kernelFiles(kernel: Kernel, busybox: string, progress: Progress): Promise<KernelFiles> {
  const tools = await emulatorRoot(progress);
  const recipe = recipeHash([kernel.suite, await readFile(INITRD, "utf8"), ...EARLY_MODULES]);
  const place = await cached(`kernel-${kernel.name}-${recipe}`, `fetching kernel ${kernel.name} (Debian ${kernel.suite}, 20 s, once)`, progress, async (half) => {
    await mkdir(half, { recursive: true });
    await fetchKernel(kernel, half);
    await packKernel(tools, busybox, half);
    await rm(`${half}/apt`, { recursive: true, force: true });
  });
  return { vmlinuz: `${place}/vmlinuz`, initrd: `${place}/initrd`, modules: `${place}/modules.img` };
}

/** With sources and lists of its own: nothing of this machine's apt is changed. */
async function fetchKernel(kernel: Kernel, half: string): Promise<void> {
  const apt = `${half}/apt`;
  for (const folder of ["lists/partial", "archives/partial"]) await mkdir(`${apt}/${folder}`, { recursive: true });
  await writeFile(`${apt}/sources.list`, `deb [signed-by=${KEYRING}] ${await debianMirror()} ${kernel.suite} main\n`);
  await writeFile(`${apt}/status`, "");
  const options = [`Dir::Etc::sourcelist=${apt}/sources.list`, "Dir::Etc::sourceparts=/dev/null", `Dir::State::lists=${apt}/lists`, `Dir::State::status=${apt}/status`,
    `Dir::Cache=${apt}`, `Dir::Cache::archives=${apt}/archives`, "APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::Retries=5"].flatMap((option) => ["-o", option]);
  const what = `fetch kernel ${kernel.name}`;
  await must(what, "apt-get", [...options, "-q", "update"], { timeoutMs: 600_000 });
  const needs = await must(what, "apt-cache", [...options, "depends", KERNEL_PACKAGE]);
  const name = /Depends: (linux-image-\S+)/.exec(needs)?.[1] ?? KERNEL_PACKAGE;
  await must(what, "apt-get", [...options, "-q", "download", name], { cwd: apt, timeoutMs: 600_000 });
  const deb = (await readdir(apt)).find((file) => file.endsWith(".deb")) ?? "";
  await must(what, "dpkg-deb", ["-x", `${apt}/${deb}`, `${apt}/x`]);
}

async function packKernel(tools: string, busybox: string, half: string): Promise<void> {
  const tree = `${half}/apt/x`;
  const above = await there(`${tree}/lib/modules`) ? tree : `${tree}/usr`;
  const [release = ""] = await readdir(`${above}/lib/modules`);
  const modules = `${above}/lib/modules/${release}`;
  await must("unpack the kernel's modules", "sh", ["-c", 'find "$0" -name "*.ko.xz" -exec "$@" {} +', modules, ...programOf(tools, "xz", "/usr/bin/xz"), "-d"]);
  await tool(tools, "list the kernel's modules", "depmod", "/usr/bin/kmod", "-b", above, release);
  const files = loadOrder(await readFile(`${modules}/modules.dep`, "utf8"), EARLY_MODULES);
  const early = await Promise.all(files.map(async (file, index): Promise<Packed> =>
    ({ name: `modules/${String(index).padStart(2, "0")}.ko`, mode: FILE, content: await readFile(`${modules}/${file}`) })));
  await writeFile(`${half}/initrd`, cpio([
    { name: "bin", mode: FOLDER }, { name: "bin/busybox", mode: PROGRAM, content: await readFile(busybox) },
    { name: "init", mode: PROGRAM, content: await readFile(INITRD) }, { name: "modules", mode: FOLDER }, ...early]));
  await ext4(tools, `${above}/lib/modules`, `${half}/modules.img`, await megabytes(modules) + 48, false);
  await cp(`${tree}/boot/vmlinuz-${release}`, `${half}/vmlinuz`);
}

/** The static program at both ends of a machine's wire. */
export async function wireTool(progress: Progress): Promise<string> {
  const sources = (await readdir(WIRE)).filter((name) => /\.(go|mod)$/.test(name)).sort();
  const texts = await Promise.all(sources.map((name) => readFile(`${WIRE}/${name}`, "utf8")));
  return cached(`wire-${recipeHash(texts)}`, "compiling the wire of virtual machines", progress, async (half) => {
    await must("compile the wire of virtual machines", "go", ["build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", half, "."],
      { cwd: WIRE, env: { CGO_ENABLED: "0", GOFLAGS: "", GOTOOLCHAIN: "local" }, timeoutMs: 600_000 });
  });
}
