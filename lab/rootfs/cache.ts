/**
 * Keeps true: each engine has one finished root file system on this machine, built once, complete or absent.
 * In: an engine. Out: the folder of its root file system.
 * Rule: keyed by a hash of the recipe; built beside its place under a lock and renamed into it; the engine's version is checked, never assumed.
 */
import { access, mkdir, readFile, readdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { LabError } from "../errors.ts";
import { ENGINES, PACKAGES, isEngine, packageVersion, recipeHash } from "../plan.ts";
import type { Engine } from "../plan.ts";
import { must, run } from "../run.ts";
import { cacheFolder, labIds, lockFile, readRecord } from "../state.ts";

const SCRIPT = fileURLToPath(new URL("build.sh", import.meta.url));
export const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

export interface Rootfs {
  readonly engine: Engine;
  /** Recipe key: suite and hash. */
  readonly key: string;
  readonly folder: string;
  /** docker.io's full version, e.g. "28.5.2+dfsg4-5". */
  readonly version: string;
}

type Progress = (line: string) => void;

async function placeOf(engine: Engine): Promise<{ readonly key: string; readonly place: string; readonly packages: readonly string[] }> {
  const packages = [...engine.extra, ...PACKAGES];
  const key = `${engine.suite}-${recipeHash([engine.suite, await readFile(SCRIPT, "utf8"), ...packages])}`;
  return { key, place: `${cacheFolder()}/rootfs/${key}`, packages };
}

const finished = (place: string): Promise<boolean> => access(`${place}/packages`).then(() => true, () => false);

/** The newest engine's root file system that is built already; `otherwise` is the engine to build when none is. */
export async function newestRootfs(otherwise: Engine, progress: Progress): Promise<Rootfs> {
  for (const engine of [...ENGINES].reverse()) if (await finished((await placeOf(engine)).place)) return rootfsOf(engine, progress);
  return rootfsOf(otherwise, progress);
}

/** Finds or builds an engine's root file system (1–2 min and 0.5 GB the first time). */
export async function rootfsOf(engine: Engine, progress: Progress): Promise<Rootfs> {
  const { key, place, packages } = await placeOf(engine);
  const lock = await lockFile(`${cacheFolder()}/rootfs/${engine.suite}.lock`, () => progress(`waiting for another build of Debian ${engine.suite}`));
  try {
    if (!await finished(place)) await build(engine, place, packages, progress);
  } finally {
    await lock.release();
  }
  return { engine, key, folder: `${place}/rootfs`, version: await checkedVersion(engine, place) };
}

async function build(engine: Engine, place: string, packages: readonly string[], progress: Progress): Promise<void> {
  const half = `${place}.half`;
  await debootstrap(`engine ${engine.name}`, engine.suite, half, packages, progress);
  await checkedVersion(engine, half);
  await rename(half, place);
  await pruneOlder(engine, place);
}

async function debootstrap(label: string, suite: string, half: string, packages: readonly string[], progress: Progress): Promise<void> {
  progress(`building the root file system of ${label} (Debian ${suite}, 1 to 2 minutes, once)`);
  await rm(half, { recursive: true, force: true });
  await mkdir(half, { recursive: true });
  // A build must not outlive us: the lock goes with us, and the next one would work in the same folder.
  await must(`build the root file system of ${label}`, "setpriv",
    ["--pdeathsig", "KILL", "sh", SCRIPT, suite, await debianMirror(), KEYRING, half, `${cacheFolder()}/archives/${suite}`, ...packages], { timeoutMs: 1_800_000 });
}

/** A root that is no engine's: programs for this machine, e.g. the emulator. Returns its folder. */
export async function builtRoot(wanted: { readonly label: string; readonly suite: string; readonly packages: readonly string[] }, progress: Progress): Promise<string> {
  const place = `${cacheFolder()}/rootfs/tools-${wanted.suite}-${recipeHash([wanted.suite, await readFile(SCRIPT, "utf8"), ...wanted.packages])}`;
  if (await finished(place)) return `${place}/rootfs`;
  const lock = await lockFile(`${cacheFolder()}/rootfs/${wanted.suite}.lock`, () => progress(`waiting for another build of Debian ${wanted.suite}`));
  try {
    if (!await finished(place)) {
      await debootstrap(wanted.label, wanted.suite, `${place}.half`, wanted.packages, progress);
      await rename(`${place}.half`, place);
    }
  } finally {
    await lock.release();
  }
  return `${place}/rootfs`;
}

/** A rolling suite's engine moves on one day; then this says so, instead of testing another engine under the old name. */
async function checkedVersion(engine: Engine, place: string): Promise<string> {
  const version = packageVersion(await readFile(`${place}/packages`, "utf8"), "docker.io") ?? "absent";
  if (isEngine(version, engine.name)) return version;
  throw new LabError(`Cannot use Debian ${engine.suite} as engine ${engine.name}: its docker.io is ${version}`,
    "choose another engine, or name the suite that has this one in ENGINES in lab/plan.ts");
}

/** Where this machine gets Debian from; FLANNEL_NP_DEBIAN_MIRROR overrides it (needed where its own system is not Debian). */
export async function debianMirror(): Promise<string> {
  const given = process.env["FLANNEL_NP_DEBIAN_MIRROR"];
  if (given) return given;
  const targets = await run("apt-get", ["indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(RELEASE) $(REPO_URI)", "Created-By: Packages"]);
  const mirror = mirrorOf(targets.stdout);
  if (mirror) return mirror;
  throw new LabError("Cannot build a root file system: this machine's apt sources name no Debian mirror",
    "run 'apt-get update', or name one: FLANNEL_NP_DEBIAN_MIRROR=<its address> ./flannel-np lab up");
}

/** apt's "origin component release address" lines → the address of Debian's own main archive. */
export function mirrorOf(targets: string): string | undefined {
  const line = targets.split("\n").map((text) => text.split(" "))
    .find(([origin, component, release]) => origin === "Debian" && component === "main" && !(release ?? "").includes("-"));
  return line?.[3];
}

/** Removes root file systems of older recipes that no lab stands on. */
async function pruneOlder(engine: Engine, place: string): Promise<void> {
  const records = await Promise.all((await labIds()).map((id) => readRecord(id).catch(() => undefined)));
  const inUse = records.flatMap((record) => record?.nodes.map((node) => dirname(node.rootfs)) ?? []);
  for (const name of await readdir(dirname(place))) {
    const older = `${dirname(place)}/${name}`;
    if (name.startsWith(`${engine.suite}-`) && older !== place && !inUse.includes(older)) await rm(older, { recursive: true, force: true });
  }
}
