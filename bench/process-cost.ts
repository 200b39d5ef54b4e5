/**
 * Keeps true: what the plugin costs is read from the kernel, for its process and all it starts.
 * In: the plugin's first pid as this machine sees it. Out: CPU time, memory, number of processes started.
 */
import { readFile, readdir } from "node:fs/promises";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export interface ProcessMemory {
  readonly command: string;
  readonly rssMiB: number;
  readonly pssMiB: number;
}

/** USER_HZ, the unit of /proc/PID/stat; 100 on every architecture Debian has. */
const TICKS_PER_SECOND = 100;

interface Stat { readonly pid: number; readonly parent: number; readonly command: string; readonly ticks: number }

/** proc(5): fields 14 to 17 are own and waited-for children's time in user and kernel mode. */
async function statOf(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const found = text === undefined ? null : /^\d+ \((.*)\) (.*)$/s.exec(text);
  if (found === null) return undefined;
  const fields = (found[2] ?? "").split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, value) => sum + Number(value), 0);
  return { pid, parent: Number(fields[1]), command: found[1] ?? "", ticks };
}

/** The process and everything below it that runs now. */
async function familyOf(pid: number): Promise<readonly Stat[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const stats = (await Promise.all(pids.map(statOf))).filter((stat) => stat !== undefined);
  const family = new Set([pid]);
  for (let before = 0; before !== family.size;) {
    before = family.size;
    for (const stat of stats) if (family.has(stat.parent)) family.add(stat.pid);
  }
  return stats.filter((stat) => family.has(stat.pid));
}

/** CPU time so far of the process, of its running children and of those that have ended, in milliseconds; steps of 10. */
export async function cpuMilliseconds(pid: number): Promise<number> {
  return (await familyOf(pid)).reduce((sum, { ticks }) => sum + ticks, 0) * 1_000 / TICKS_PER_SECOND;
}

export async function memoryOf(pid: number): Promise<readonly ProcessMemory[]> {
  return Promise.all((await familyOf(pid)).map(async ({ pid: one, command }) => {
    const rollup = await readFile(`/proc/${one}/smaps_rollup`, "utf8").catch(() => "");
    const mebibytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0) / 1_024;
    return { command, rssMiB: mebibytes("Rss"), pssMiB: mebibytes("Pss") };
  }));
}

const runFile = promisify(execFile);

/**
 * A counter of the processes and threads begun in the plugin's pid namespace: the kernel numbers them one by one.
 * Each reading adds one of its own.
 */
export async function processCounter(pid: number): Promise<number> {
  const { stdout } = await runFile("nsenter", ["-t", String(pid), "-p", "--", "sh", "-c", "echo $$"]);
  return Number(stdout.trim());
}

/** The process called `command` below a node's first process. */
export async function daemonPid(nodePid: number, command: string): Promise<number> {
  return (await familyOf(nodePid)).find((stat) => stat.command === command)?.pid ?? 0;
}
