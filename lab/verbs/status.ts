/**
 * Keeps true: `lab status` shows what is, as the engines and the kernel say it. In: a lab's id. Out: a table or JSON; exit code 1 when something is off.
 * Rule: reads only; a dead node is a line, not an error.
 */
import { z } from "zod";
import { askDocker } from "../docker-api.ts";
import { LabError } from "../errors.ts";
import { findLab } from "../lab.ts";
import type { LabNode } from "../node.ts";
import { labIds } from "../state.ts";
import { print, table } from "./output.ts";
import type { Format } from "./output.ts";

export interface NodeStatus {
  readonly node: string;
  readonly engine: string;
  readonly address: string;
  readonly state: "ready" | "off" | "no answer";
  readonly swarm: string;
  readonly plugin: string;
  readonly pid: number | null;
  readonly dockerHost: string | null;
}

const info = z.object({ ServerVersion: z.string(), Swarm: z.object({ LocalNodeState: z.string(), ControlAvailable: z.boolean().nullish() }) });
const plugins = z.array(z.object({ Name: z.string(), Enabled: z.boolean() }));

async function statusOf(node: LabNode): Promise<NodeStatus> {
  const off = { node: node.name, engine: node.engine, address: node.address, swarm: "-", plugin: "-", pid: null, dockerHost: null };
  if (!await node.find()) return { ...off, state: "off" };
  const known = { ...off, pid: node.pid, dockerHost: node.dockerHost };
  try {
    const call = { socket: node.socket, method: "GET" as const, timeoutMs: 3_000 };
    const { ServerVersion, Swarm } = info.parse(await askDocker("ask the engine", { ...call, path: "/info" }));
    const list = plugins.parse(await askDocker("ask for plugins", { ...call, path: "/plugins" }));
    return {
      ...known, engine: ServerVersion, state: "ready", swarm: Swarm.ControlAvailable ? "manager" : Swarm.LocalNodeState,
      plugin: list.map((plugin) => `${plugin.Name} ${plugin.Enabled ? "enabled" : "disabled"}`).join(", ") || "none",
    };
  } catch {
    return { ...known, state: "no answer" };
  }
}

export async function status(options: { readonly lab: string; readonly output: Format }): Promise<void> {
  const [lab, labs] = [await findLab(options.lab), await labIds()];
  if (!lab) {
    const others = labs.length > 0 ? `there are: ${labs.join(", ")} (--lab ID)` : "make one: ./flannel-np lab up";
    throw new LabError(`Cannot show lab ${options.lab}: there is none of that id`, others);
  }
  const nodes = await Promise.all(lab.nodes.map(statusOf));
  const etcdPid = await lab.etcd.pid();
  const healthy = etcdPid !== undefined && nodes.every((node) => node.state === "ready");
  if (!healthy) process.exitCode = 1;
  if (options.output === "json") {
    print(JSON.stringify({ lab: lab.id, labs, healthy, etcd: { url: lab.etcd.url, pid: etcdPid ?? null }, nodes }));
    return;
  }
  print(table(["NODE", "STATE", "ENGINE", "ADDRESS", "SWARM", "PLUGIN"],
    nodes.map((node) => [node.node, node.state, node.engine, node.address, node.swarm, node.plugin])));
  print(`\netcd: ${etcdPid === undefined ? "off" : `${lab.etcd.url} on the lab's LAN`}`);
  if (labs.length > 1) print(`labs on this machine: ${labs.join(", ")}`);
}
