/**
 * Keeps true: one record per lab says what belongs to it; it is written before anything is made, so a lab half made can be finished or removed.
 * In: the lab's id. Out: the record, its folders, one holder at a time.
 * Rule: the record lies on disk (it survives a reboot of the machine), process ids lie in /run (they do not).
 */
import { spawn } from "node:child_process";
import { mkdir, readFile, readdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { LabError } from "./errors.ts";

const RUN = "/run/flannel-np-lab";
const STATE = "/var/lib/flannel-np-lab";

export const runFolder = (lab: string): string => `${RUN}/${lab}`;
export const stateFolder = (lab: string): string => `${STATE}/${lab}`;
export const nodeFolder = (lab: string, node: string): string => `${STATE}/${lab}/${node}`;
/** Finished artefacts that many labs share; FLANNEL_NP_CACHE overrides the place. */
export const cacheFolder = (): string => process.env["FLANNEL_NP_CACHE"] || "/var/cache/flannel-np";

const pluginRecord = z.object({ alias: z.string(), settings: z.record(z.string(), z.string()) });
const nodeRecord = z.object({
  name: z.string(), engine: z.string(), address: z.string(), swarm: z.enum(["manager", "worker", "none"]),
  rootfs: z.string(), plugin: pluginRecord.nullable(), template: z.string(), prepare: z.string(), kind: z.enum(["netns", "vm"]).default("netns"), kernel: z.string().default(""),
});
const labRecord = z.object({
  schema: z.literal(1), id: z.string(), nodes: z.array(nodeRecord), image: z.object({ archive: z.string(), id: z.string() }),
  hosts: z.array(z.object({ name: z.string(), address: z.string() })),
});

/** How the plugin is installed on a node: its name:tag and what `docker plugin set` gets. */
export type PluginRecord = Readonly<z.infer<typeof pluginRecord>>;
/** `rootfs` and `template` are the folders below the node's own layers; `prepare` is a sh script run before containerd at each boot; `kernel` is a virtual machine's. */
export type NodeRecord = Readonly<z.infer<typeof nodeRecord>>;
export interface LabRecord {
  readonly schema: 1;
  readonly id: string;
  readonly nodes: readonly NodeRecord[];
  /** Archive and id of the image lab/box all nodes have. */
  readonly image: { readonly archive: string; readonly id: string };
  /** Bare LAN hosts, added by tests. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
}

/** @returns undefined when there is no such lab; throws a LabError when its record cannot be read. */
export async function readRecord(lab: string): Promise<LabRecord | undefined> {
  const path = `${stateFolder(lab)}/lab.json`;
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new LabError(`Cannot read the record of lab ${lab}: ${error.message}`, "run this as root");
  });
  if (text === undefined) return undefined;
  try {
    return labRecord.parse(JSON.parse(text));
  } catch (error) {
    throw new LabError(`Cannot read the record of lab ${lab}: ${path} is damaged`, `remove it: ./flannel-np lab down --lab ${lab}`, error);
  }
}

export async function writeRecord(record: LabRecord): Promise<void> {
  const path = `${stateFolder(record.id)}/lab.json`;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, `${JSON.stringify(record, null, 2)}\n`);
  await rename(`${path}.new`, path);
}

/** Ids of all labs that left anything on this machine. */
export async function labIds(): Promise<readonly string[]> {
  const lists = await Promise.all([RUN, STATE].map((folder) => readdir(folder).catch(() => [])));
  return [...new Set(lists.flat())].filter((name) => !name.includes(".")).sort();
}

/** The host's pid of a node's pid 1 or of etcd, as its start script noted it; it may be dead. */
export async function notedPid(lab: string, name: string): Promise<number | undefined> {
  const text = await readFile(`${runFolder(lab)}/${name}.pid`, "utf8").catch(() => "");
  const pid = Number(text.trim());
  return Number.isInteger(pid) && pid > 1 ? pid : undefined;
}

/** Runs the work while no other command works on this lab. */
export async function withLab<T>(lab: string, progress: (line: string) => void, work: () => Promise<T>): Promise<T> {
  const lock = await lockFile(`/run/lock/flannel-np-lab-${lab}`, () => progress(`waiting for another command on lab ${lab}`));
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

export interface Held {
  release(): Promise<void>;
}

/**
 * Takes an exclusive lock on a file; `waiting` is told once when another process holds it.
 * The holder is a child that ends when our end of its pipe closes: the lock cannot outlive a killed process.
 */
export async function lockFile(path: string, waiting: () => void): Promise<Held> {
  await mkdir(dirname(path), { recursive: true });
  const child = spawn("flock", ["--exclusive", path, "sh", "-c", "echo held; exec cat >/dev/null"], { stdio: ["pipe", "pipe", "ignore"] });
  const patience = setTimeout(waiting, 300);
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`flock ended with exit code ${code}`)));
      child.stdout.once("data", () => resolve());
    });
  } catch (error) {
    throw new LabError(`Cannot lock ${path}: ${String(error)}`, "install util-linux and run this as root", error);
  } finally {
    clearTimeout(patience);
  }
  child.removeAllListeners("exit");
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return { release: async () => { child.stdin.end(); await gone; } };
}
