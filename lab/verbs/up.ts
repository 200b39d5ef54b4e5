/**
 * Keeps true: after `lab up` the lab is there, runs the present build, and has just been seen to work.
 * In: options. Out: the proof on stdout. Rule: repeating it changes nothing that is as it should be.
 */
import { spawn } from "node:child_process";
import { release } from "node:os";
import { fileURLToPath } from "node:url";
import { LabError } from "../errors.ts";
import { prepareHost } from "../host.ts";
import { ensureLab } from "../lab.ts";
import type { Lab, NodeSpec } from "../lab.ts";
import { cgroupVersion } from "../netns/cgroups.ts";
import { LAN, OUTSIDE, enginesPerNode, labId, nodeCount } from "../plan.ts";
import { proveLab } from "../proof.ts";
import type { Proof } from "../proof.ts";
import { readRecord } from "../state.ts";
import type { LabRecord } from "../state.ts";
import { print, progress, table } from "./output.ts";
import type { Format } from "./output.ts";

export interface UpOptions {
  readonly lab: string;
  /** Undefined: as the lab is, or the default for a new one. */
  readonly nodes?: string;
  readonly engine?: string;
  readonly kind?: "netns" | "vm";
  readonly kernel?: string;
  readonly plugin: boolean;
  readonly set: readonly string[];
  readonly output: Format;
}

/** "NAME=value" of --set → record; a LabError that shows the form. */
export function settingsOf(pairs: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(pairs.map((pair) => {
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/s.exec(pair) ?? [];
    if (name === undefined || value === undefined) throw new LabError(`Cannot set "${pair}" on the plugin: it is no NAME=value`, "e.g. --set NETWORK_SUBNET_SIZE=22");
    return [name, value];
  }));
}

/** What is asked for, beside what is there: more nodes may be added, nothing is taken away or changed. */
export function nodesFor(options: Pick<UpOptions, "lab" | "nodes" | "engine" | "kind" | "kernel" | "plugin" | "set">, record: LabRecord | undefined): readonly NodeSpec[] {
  const have = record?.nodes ?? [];
  const count = options.nodes === undefined ? Math.max(have.length, record ? 0 : 2) : nodeCount(options.nodes);
  const anew = `make it anew: ./flannel-np lab down --lab ${options.lab}; or take another id: --lab demo2`;
  if (count < have.length) throw new LabError(`Cannot shrink lab ${options.lab} from ${have.length} nodes to ${count}`, anew);
  const engines = enginesPerNode(options.engine ?? "28", count);
  const other = options.engine === undefined ? undefined : have.find((node, index) => node.engine !== engines[index]?.name);
  if (other) throw new LabError(`Cannot change the engine of ${other.name} in lab ${options.lab}: it is ${other.engine}`, anew);
  const kind = options.kind ?? have[0]?.kind ?? "netns";
  const kernel = options.kernel ?? have[0]?.kernel ?? "";
  if (kind === "netns" && kernel !== "") throw new LabError("Cannot choose a kernel for nodes in namespaces: they run on this machine's", "add --kind vm");
  if (options.kernel !== undefined && have.some((node) => node.kernel !== options.kernel)) throw new LabError(`Cannot change the kernel of lab ${options.lab}`, anew);
  if (options.kind !== undefined && have.some((node) => node.kind !== options.kind)) throw new LabError(`Cannot change the kind of the nodes of lab ${options.lab}`, anew);
  const bare = have.length > 0 && have.every((node) => node.plugin === null);
  if (bare && options.plugin && record) throw new LabError(`Cannot add the plugin to lab ${options.lab}: it was made with --no-plugin`, `add --no-plugin, or ${anew}`);
  const settings = settingsOf(options.set);
  if (record && options.set.length > 0 && have.some((node) => Object.entries(settings).some(([name, value]) => node.plugin?.settings[name] !== value))) {
    throw new LabError(`Cannot change the plugin's settings in lab ${options.lab}`, anew);
  }
  const inherited = have[0]?.plugin?.settings ?? settings;
  return engines.map((engine) => ({ engine: engine.name, plugin: options.plugin ? { settings: inherited } : false, kind, ...(kernel === "" ? {} : { kernel }) }));
}

export async function up(options: UpOptions): Promise<void> {
  const record = await readRecord(labId(options.lab));
  const nodes = nodesFor(options, record);
  await prepareHost(progress);
  progress(`cgroup ${await cgroupVersion()}, kernel ${release()}`);
  if (options.plugin) await buildPlugin();
  const { lab, installed } = await ensureLab({ id: options.lab, nodes, progress });
  const proof = options.plugin ? await proveLab(lab, progress) : undefined;
  if (options.output === "json") {
    print(JSON.stringify({ lab: lab.id, nodes: lab.nodes.map(({ name, engine, address }) => ({ name, engine, address })), installed, ...proof }));
  } else {
    print(described(lab, proof));
  }
}

/** The project's own build: does nothing when build/plugin is what the sources make. */
async function buildPlugin(): Promise<void> {
  const launcher = fileURLToPath(new URL("../../flannel-np", import.meta.url));
  const child = spawn(launcher, ["build", "-o", "json"], { stdio: ["ignore", "ignore", "inherit"] });
  const code = await new Promise<number | null>((resolve, reject) => { child.once("error", reject).once("close", resolve); });
  if (code !== 0) throw new LabError("Cannot build the plugin: './flannel-np build' failed, its own words are above", "mend that, or try the engines alone: --no-plugin");
}

function described(lab: Lab, proof: Proof | undefined): string {
  const nodes = table(["NODE", "ENGINE", "ADDRESS", "SWARM"], lab.nodes.map((node) => [node.name, node.engine, node.address, node.record.swarm]));
  const parts = [`Lab ${lab.id} is up. Its LAN is ${LAN.prefix}0/${LAN.bits}, etcd ${LAN.etcd}, the host outside ${OUTSIDE.host}.`, nodes];
  if (proof) parts.push(provenText(proof));
  parts.push(`Try: ./flannel-np lab exec${lab.id === "demo" ? "" : ` --lab ${lab.id}`} node1 -- docker service ls`);
  return parts.join("\n\n");
}

function provenText(proof: Proof): string {
  const subnet = (node: string): string => proof.subnets.filter((one) => one.node === node).map((one) => one.subnet).join(" ") || "-";
  const tasks = table(["TASK ON", "ADDRESS", "NODE'S SUBNET", "CONTAINER"], proof.tasks.map((task) => [task.node, task.address, subnet(task.node), task.container]));
  const crossings = table(["FROM", "TO", "PING", "TCP: THE OTHER SIDE SAYS"],
    proof.crossings.map((one) => [one.from, `${one.to} ${one.address}`, `${one.pingMs} ms`, one.tcp.trim()]));
  return `${tasks}\n\n${crossings}`;
}
