/**
 * Keeps true: no figure is shown without the machine it was measured on.
 * In: /proc, the lab's nodes. Out: facts. Rule: load is read before and after, since others may use the machine.
 */
import { readFile } from "node:fs/promises";
import { cpus, loadavg, release, totalmem } from "node:os";
import { askDocker } from "../lab/docker-api.ts";
import type { Lab } from "../lab/lab.ts";
import { field } from "./bed.ts";

export interface MachineFacts {
  readonly date: string;
  readonly kernel: string;
  readonly cores: number;
  readonly processor: string;
  readonly memoryGiB: number;
  /** Of the last minute, before the first benchmark and after the last. */
  readonly load: readonly [before: number, after: number];
  /** Engine version per node. */
  readonly engines: Readonly<Record<string, string>>;
  readonly node: string;
}

export const loadNow = (): number => Math.round((loadavg()[0] ?? 0) * 100) / 100;

export async function machineFacts(lab: Lab, loadBefore: number): Promise<MachineFacts> {
  const versions = await Promise.all(lab.nodes.map(async (node) =>
    [node.name, String(field(await askDocker(`ask ${node.name} for its version`, { socket: node.socket, method: "GET", path: "/version" }), "Version"))] as const));
  const named = /^model name\s*:\s*(.*)$/m.exec(await readFile("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown";
  return {
    date: new Date().toISOString().slice(0, 10), kernel: release(), cores: cpus().length, processor: named, memoryGiB: Math.round(totalmem() / 2 ** 30),
    load: [loadBefore, loadNow()], engines: Object.fromEntries(versions), node: process.version,
  };
}
