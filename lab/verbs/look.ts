/**
 * Keeps true: a user gets into a node and at its logs without knowing how it is made.
 * In: node, command or log. Out: the command's own streams and exit code; the log's lines. Rule: reads and passes through, changes nothing.
 */
import { spawn } from "node:child_process";
import { access } from "node:fs/promises";
import { createInterface } from "node:readline";
import { LabError } from "../errors.ts";
import { completePath, requireRoot } from "../host.ts";
import { findLab } from "../lab.ts";
import type { Lab } from "../lab.ts";
import { print } from "./output.ts";

export const LOGS = ["dockerd", "containerd", "plugin", "etcd"] as const;
export type LogName = (typeof LOGS)[number];

async function existing(id: string): Promise<Lab> {
  requireRoot();
  completePath();
  const lab = await findLab(id);
  if (lab) return lab;
  throw new LabError(`Cannot find lab ${id}`, `make it: ./flannel-np lab up${id === "demo" ? "" : ` --lab ${id}`}`);
}

/** Runs a command in a node (or on the bare hosts "outside" and "etcd"), with our streams; its exit code becomes ours. */
export async function exec(name: string, argv: readonly string[], options: { readonly lab: string }): Promise<void> {
  const lab = await existing(options.lab);
  if (argv.length === 0) throw new LabError("Cannot run nothing", `e.g. ./flannel-np lab exec ${name} -- docker ps`);
  // The whole terminal gets Ctrl-C; we wait for the command's own answer to it.
  process.on("SIGINT", () => undefined);
  const place = name === "outside" ? lab.outside : lab.node(name);
  process.exitCode = (await place.exec(argv, { interactive: true })).exitCode;
}

export async function logs(name: string, what: LogName, options: { readonly lab: string; readonly follow: boolean; readonly lines: string }): Promise<void> {
  const lab = await existing(options.lab);
  const node = name === "etcd" ? undefined : lab.node(name);
  const file = node === undefined || what === "etcd" ? lab.etcd.logFile : `${node.logFolder}/${what === "plugin" ? "dockerd" : what}.log`;
  await access(file).catch(() => { throw new LabError(`Cannot show the log of ${what} on ${name}: it has written none yet`, "start the lab: ./flannel-np lab up"); });
  const lines = /^(\d+|all)$/.exec(options.lines)?.[1];
  if (lines === undefined) throw new LabError(`Cannot show "${options.lines}" lines`, "give a number or 'all', e.g. -n 50");
  // The engine writes the plugin's output into its own log, tagged with the plugin's id: count lines after choosing them.
  const wanted = what === "plugin" ? "all" : lines;
  const tail = spawn("tail", [...(options.follow ? ["-F"] : []), "-n", wanted === "all" ? "+1" : wanted, "--", file], { stdio: ["ignore", "pipe", "inherit"] });
  const shown: string[] = [];
  for await (const line of createInterface({ input: tail.stdout })) {
    if (what === "plugin" && !line.includes(" plugin=")) continue;
    if (what === "plugin" && !options.follow && lines !== "all") shown.push(line);
    else print(line);
  }
  for (const line of shown.slice(-Number(lines))) print(line);
}
