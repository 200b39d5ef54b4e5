/**
 * flannelds that a former life of the operator started and could not stop.
 *
 * In:  the process table.  Out: their pids by network, and their end.
 * Rule: ours is who writes a subnet file into our directory, from our network namespace; two on one network would fight
 *       over one device unseen.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseFlannelId, type FlannelId } from "../../core/ids.ts";

const TERM_MS = 4_000;
const POLL_MS = 20;

/** `netns`: the namespace our flannelds work in; a process of another node's operator may show the same path. */
export async function findStrays(directory: string, netns: string): Promise<Map<FlannelId, number[]>> {
  const found = new Map<FlannelId, number[]>();
  const home = await stat(netns);
  for (const name of await readdir("/proc")) {
    const id = /^\d+$/.test(name) ? ownerOf(await commandLine(Number(name)), directory) : undefined;
    const place = id === undefined ? undefined : await stat(`/proc/${name}/ns/net`).catch(() => undefined);
    if (id !== undefined && place?.ino === home.ino && place.dev === home.dev) found.set(id, [...found.get(id) ?? [], Number(name)]);
  }
  return found;
}

/** Empty for a process that is gone, or gone but for its parent's question. */
async function commandLine(pid: number): Promise<string[]> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
  } catch {
    return [];
  }
}

export function ownerOf(args: readonly string[], directory: string): FlannelId | undefined {
  const start = `--subnet-file=${directory}/`;
  const flag = args.findLast((arg) => arg.startsWith(start) && arg.endsWith(".env"));
  return flag === undefined ? undefined : parseFlannelId(flag.slice(start.length, -".env".length));
}

/** Resolves when the process has ended; a pid that meanwhile means another program is left alone. */
export async function endStray(pid: number, id: FlannelId, directory: string): Promise<void> {
  const alive = async (): Promise<boolean> => ownerOf(await commandLine(pid), directory) === id;
  for (const [signal, patienceMs] of [["SIGTERM", TERM_MS], ["SIGKILL", TERM_MS]] as const) {
    if (!await alive()) return;
    signalTo(pid, signal);
    for (let waitedMs = 0; waitedMs < patienceMs && await alive(); waitedMs += POLL_MS) await sleep(POLL_MS);
  }
}

function signalTo(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended in between, which is what we want.
  }
}
