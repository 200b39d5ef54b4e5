/**
 * Keeps true: every process of a lab host sits below one cgroup folder per hierarchy, so all of them can be found and ended after any crash.
 * In: lab and host. Out: folders made, process lists, folders gone.
 * Rule: nothing outside `flannel-np-lab/<lab>` is read or changed, but the controllers a v2 parent has to hand down.
 */
import { mkdir, readFile, readdir, rmdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

export type CgroupVersion = "v1" | "v2" | "none";

interface Hierarchies {
  readonly version: CgroupVersion;
  /** Mount points: one per v1 hierarchy, or the one of v2. */
  readonly mounts: readonly string[];
}

/** /proc/mounts → where cgroups are; v1 wins on hybrid hosts, since its controllers cannot be in v2 as well. */
export function hierarchiesOf(mounts: string): Hierarchies {
  const lines = mounts.split("\n").map((line) => line.split(" "));
  const of = (type: string): string[] => [...new Set(lines.filter(([, , kind]) => kind === type).map(([, point]) => point ?? ""))];
  const v1 = of("cgroup");
  if (v1.length > 0) return { version: "v1", mounts: v1 };
  const v2 = of("cgroup2").filter((point) => point === "/sys/fs/cgroup");
  return v2.length > 0 ? { version: "v2", mounts: v2 } : { version: "none", mounts: [] };
}

const hierarchies = async (): Promise<Hierarchies> => hierarchiesOf(await readFile("/proc/mounts", "utf8"));

export async function cgroupVersion(): Promise<CgroupVersion> {
  return (await hierarchies()).version;
}

/** Makes the host's folders and returns their cgroup.procs files. */
export async function makeCgroups(lab: string, host: string): Promise<readonly string[]> {
  const { version, mounts } = await hierarchies();
  const folders = mounts.map((mount) => `${mount}/flannel-np-lab/${lab}/${host}`);
  for (const folder of folders) {
    const parents = [dirname(dirname(folder)), dirname(folder), folder];
    if (version === "v2") await handDown(dirname(dirname(dirname(folder))));
    for (const made of parents) {
      await mkdir(made, { recursive: true });
      if (version === "v1") await copyCpuset(made);
      else if (made !== folder) await handDown(made);
    }
  }
  return folders.map((folder) => `${folder}/cgroup.procs`);
}

/** cpuset v1: a new group has no processors and takes no process. The shared parent may just have gone with another lab and come anew. */
async function copyCpuset(folder: string): Promise<void> {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    const inherited = async (): Promise<string | undefined> => readFile(`${dirname(folder)}/${file}`, "utf8").catch(() => undefined);
    const first = await inherited();
    if (first === undefined) return;
    if (first.trim() === "") await copyCpuset(dirname(folder));
    await writeFile(`${folder}/${file}`, await inherited() ?? "");
  }
}

/** v2: children get only the controllers their parent hands down; one that is refused is left out. */
async function handDown(folder: string): Promise<void> {
  const names = await readFile(`${folder}/cgroup.controllers`, "utf8").catch(() => "");
  for (const name of names.trim().split(/\s+/).filter(Boolean)) {
    await writeFile(`${folder}/cgroup.subtree_control`, `+${name}`).catch(() => undefined);
  }
}

/** All folders below one, deepest first, itself last. */
async function tree(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return [];
  const below = await Promise.all(entries.filter((entry) => entry.isDirectory()).map((entry) => tree(`${folder}/${entry.name}`)));
  return [...below.flat(), folder];
}

async function folders(lab: string, host: string | undefined): Promise<string[]> {
  const { mounts } = await hierarchies();
  const tail = host === undefined ? lab : `${lab}/${host}`;
  return (await Promise.all(mounts.map((mount) => tree(`${mount}/flannel-np-lab/${tail}`)))).flat();
}

/** Host pids in the cgroups of a lab host (of the whole lab without `host`); `below` keeps groups whose path contains it. */
export async function cgroupPids(lab: string, host?: string, below = ""): Promise<readonly number[]> {
  const found = new Set<number>();
  for (const folder of (await folders(lab, host)).filter((path) => path.includes(below))) {
    const text = await readFile(`${folder}/cgroup.procs`, "utf8").catch(() => "");
    // 0: a process that this pid namespace cannot name.
    for (const pid of text.split("\n").map(Number)) if (pid > 1) found.add(pid);
  }
  return [...found].sort((a, b) => a - b);
}

/** Removes the empty folders; one that still holds a process stays, and false is returned. */
export async function removeCgroups(lab: string, host?: string): Promise<boolean> {
  let clean = true;
  for (const folder of await folders(lab, host)) await rmdir(folder).catch((error: NodeJS.ErrnoException) => { clean &&= error.code === "ENOENT"; });
  if (host === undefined) {
    // The folder all labs share goes with the last of them.
    for (const mount of (await hierarchies()).mounts) await rmdir(`${mount}/flannel-np-lab`).catch(() => undefined);
  }
  return clean;
}
