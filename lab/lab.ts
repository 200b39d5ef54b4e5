/**
 * Keeps true: a lab is what its record says; making it again makes what is missing and touches nothing else.
 * In: a specification, or the id of a lab that is there. Out: a Lab with its nodes, etcd, outside host; or nothing left of it.
 * Rule: the record is written first, so that whatever dies half way can be finished by `raise` or removed by `removeLab`.
 */
import { basename, dirname } from "node:path";
import { boxImage } from "./box/image.ts";
import { LabError } from "./errors.ts";
import { LabEtcd } from "./etcd.ts";
import { prepareHost } from "./host.ts";
import { LabHost } from "./netns/bare-host.ts";
import { makeHost, makeSwitch, unplugTap } from "./netns/network.ts";
import { NetnsNode } from "./netns/node.ts";
import type { LabNode } from "./node.ts";
import { OUTSIDE, engineNamed, freeAddress, hostName, labId } from "./plan.ts";
import { ALIAS, ensurePlugin, pluginBuild, templateFor } from "./plugin.ts";
import type { PluginBuild } from "./plugin.ts";
import { removeLab } from "./remove.ts";
import { newestRootfs, rootfsOf } from "./rootfs/cache.ts";
import type { Rootfs } from "./rootfs/cache.ts";
import { must } from "./run.ts";
import { VmNode } from "./vm/node.ts";
import { kernelNamed } from "./vm/plan.ts";
import { nodeFolder, readRecord, runFolder, withLab, writeRecord } from "./state.ts";
import type { LabRecord, NodeRecord, PluginRecord } from "./state.ts";
import { ensureSwarm } from "./swarm.ts";

export interface NodeSpec {
  /** Default node1, node2, … */
  readonly name?: string;
  /** "20.10", "26" or "28" (default). */
  readonly engine?: string;
  /** Default: the first node a manager, the others workers; true means the same; false: in no swarm. */
  readonly swarm?: boolean | "manager" | "worker";
  /** Default true: the build in build/plugin as flannel-np:latest, etcd = the lab's. */
  readonly plugin?: boolean | { readonly alias?: string; readonly settings?: Readonly<Record<string, string>> };
  /** sh script, run in the node at each boot before containerd and dockerd start (sysctls, daemon.json, iptables flavour, resolv.conf). */
  readonly prepare?: string;
  /** Default: namespaces of this kernel; "vm": a virtual machine with Debian's kernel, on the same LAN. */
  readonly kind?: "netns" | "vm";
  /** Of a virtual machine: "6.1" (default) or "6.12". */
  readonly kernel?: string;
}

export interface LabSpec {
  readonly id: string;
  readonly nodes: readonly NodeSpec[];
  /** Lines about long steps; default: silence. */
  readonly progress?: (line: string) => void;
  /** Folder with config.json and rootfs; default build/plugin. */
  readonly pluginFolder?: string;
}

export class Lab {
  readonly id: string;
  readonly etcd: LabEtcd;
  /** The host beyond the router, 198.51.100.10. */
  readonly outside: LabHost;
  #record: LabRecord;
  #nodes: readonly LabNode[];
  readonly #build: PluginBuild | undefined;
  readonly #progress: (line: string) => void;

  constructor(record: LabRecord, build: PluginBuild | undefined, progress: (line: string) => void) {
    [this.id, this.#record, this.#build, this.#progress] = [record.id, record, build, progress];
    this.etcd = new LabEtcd(record.id);
    this.outside = new LabHost(record.id, "outside", OUTSIDE.host);
    this.#nodes = record.nodes.map((node) => nodeOf(record.id, node, progress));
  }

  get record(): LabRecord { return this.#record; }
  get nodes(): readonly LabNode[] { return this.#nodes; }
  /** The lab's static tool on this machine, for bare hosts: `host.exec([lab.box, "serve"])`. */
  get box(): string { return `${dirname(this.#record.image.archive)}/box`; }

  node(name: string): LabNode {
    const found = this.#nodes.find((node) => node.name === name);
    if (found) return found;
    throw new LabError(`Cannot find node "${name}" in lab ${this.id}: it has ${this.#nodes.map((node) => node.name).join(", ")}`, "name one of these");
  }

  /** Makes everything the record names and that is not there; returns the nodes whose plugin was (re)installed. */
  async raise(): Promise<readonly string[]> {
    await makeSwitch(this.id);
    const etcd = this.etcd.start();
    const [installed] = await Promise.all([Promise.all(this.#nodes.map((node) => this.#raiseNode(node, etcd))), etcd]);
    for (const host of this.#record.hosts) await makeHost(this.id, host.name, host.address);
    await ensureSwarm(this.#nodes);
    return installed.flat();
  }

  /** `etcd`: the plugin does not need it to start, but a lab's first minute should be a quiet one. */
  async #raiseNode(node: LabNode, etcd: Promise<void>): Promise<string[]> {
    if (!await node.find()) this.#progress(`booting ${node.name} (engine ${node.engine}${node.record.kind === "vm" ? `, kernel ${node.record.kernel}, about a minute` : ""})`);
    await node.start();
    await node.loadImage(this.#record.image);
    const { plugin } = node.record;
    if (plugin === null || this.#build === undefined) return [];
    await etcd;
    const changed = await ensurePlugin(node, this.id, basename(dirname(node.record.rootfs)), plugin, this.#build);
    if (changed) this.#progress(`plugin ${plugin.alias} is enabled on ${node.name}`);
    return changed ? [node.name] : [];
  }

  /** A further node, in the swarm if its specification says so. */
  async addNode(spec: NodeSpec): Promise<LabNode> {
    const record = await nodeRecord(spec, this.#record.nodes, this.#build, this.#progress);
    await this.#write({ ...this.#record, nodes: [...this.#record.nodes, record] });
    const node = nodeOf(this.id, record, this.#progress);
    this.#nodes = [...this.#nodes, node];
    await this.#raiseNode(node, Promise.resolve());
    await ensureSwarm(this.#nodes);
    return node;
  }

  /** Power cut, then everything of the node goes, its disk too. What the swarm remembers of it is the caller's. */
  async removeNode(name: string): Promise<void> {
    const node = this.node(name);
    if (await node.find()) await node.powerCut();
    if (node.record.kind === "vm") await unplugTap(this.id, name);
    await must(`remove the files of node ${name}`, "rm", ["-rf", "--one-file-system", nodeFolder(this.id, name), `${runFolder(this.id)}/${name}.pid`]);
    await this.#write({ ...this.#record, nodes: this.#record.nodes.filter((record) => record.name !== name) });
    this.#nodes = this.#nodes.filter((other) => other !== node);
  }

  /** A bare host on the LAN: a network namespace with address and default route. */
  async addHost(name: string): Promise<LabHost> {
    const known = this.#record.hosts.find((host) => host.name === hostName(name));
    const address = known?.address ?? freeAddress("host", this.#record.hosts.map((host) => host.address));
    if (!known) await this.#write({ ...this.#record, hosts: [...this.#record.hosts, { name, address }] });
    await makeHost(this.id, name, address);
    return new LabHost(this.id, name, address);
  }

  async #write(record: LabRecord): Promise<void> {
    await writeRecord(record);
    this.#record = record;
  }

  /** Removes everything of the lab. */
  async down(): Promise<void> { await withLab(this.id, this.#progress, () => removeLab(this.id)); }
}

const nodeOf = (lab: string, record: NodeRecord, progress: (line: string) => void): LabNode =>
  (record.kind === "vm" ? new VmNode(lab, record, progress) : new NetnsNode(lab, record));

function pluginRecord(given: NodeSpec["plugin"]): PluginRecord | null {
  if (given === false) return null;
  const { alias = ALIAS, settings = {} } = given === true || given === undefined ? {} : given;
  return { alias, settings: { ...settings } };
}

async function nodeRecord(spec: NodeSpec, before: readonly NodeRecord[], build: PluginBuild | undefined, progress: (line: string) => void): Promise<NodeRecord> {
  const name = hostName(spec.name ?? `node${before.length + 1}`);
  if (before.some((node) => node.name === name)) throw new LabError(`Cannot add node ${name}: the lab has one of that name`, "choose another name");
  const rootfs = await rootfsOf(engineNamed(spec.engine ?? "28"), progress);
  const role = before.some((node) => node.swarm === "manager") ? "worker" as const : "manager" as const;
  const swarm = spec.swarm === false ? "none" as const : spec.swarm === true || spec.swarm === undefined ? role : spec.swarm;
  const plugin = build === undefined ? null : pluginRecord(spec.plugin);
  const kind = spec.kind ?? "netns";
  const template = plugin === null || build === undefined ? "" : await templateOf(kind, rootfs, plugin.alias, build, progress);
  return {
    name, engine: rootfs.engine.name, address: freeAddress("node", before.map((node) => node.address)), swarm, rootfs: rootfs.folder,
    plugin, template, prepare: spec.prepare ?? "", kind, kernel: kind === "vm" ? kernelNamed(spec.kernel ?? "6.1").name : "",
  };
}

/** A virtual machine would compress the plugin for minutes: where no node has left a template yet, one in namespaces makes it first. */
async function templateOf(kind: "netns" | "vm", rootfs: Rootfs, alias: string, build: PluginBuild, progress: (line: string) => void): Promise<string> {
  const kept = await templateFor(rootfs.key, alias, build);
  if (kept !== "" || kind === "netns") return kept;
  progress("creating the plugin once, in a node without a machine");
  const maker = await openLab({ id: "template", nodes: [{ engine: rootfs.engine.name, swarm: false, plugin: { alias } }], pluginFolder: build.folder });
  await maker.down();
  return templateFor(rootfs.key, alias, build);
}

/** A fresh lab: whatever an earlier one of that id left is removed first. A few seconds when the caches are warm. */
export async function openLab(spec: LabSpec): Promise<Lab> {
  const progress = spec.progress ?? (() => undefined);
  await prepareHost(progress);
  return withLab(labId(spec.id), progress, async () => {
    await removeLab(spec.id);
    const lab = await createLab(spec, progress);
    await lab.raise();
    return lab;
  });
}

/** Writes the record of a new lab; makes nothing yet. */
async function createLab(spec: LabSpec, progress: (line: string) => void): Promise<Lab> {
  const build = spec.nodes.every((node) => node.plugin === false) ? undefined : await pluginBuild(spec.pluginFolder);
  let nodes: readonly NodeRecord[] = [];
  for (const node of spec.nodes) nodes = [...nodes, await nodeRecord(node, nodes, build, progress)];
  // Newer suites link less into curl and dig: an image half the size.
  const image = await boxImage(await newestRootfs(engineNamed(nodes[0]?.engine ?? "28"), progress), progress);
  const record: LabRecord = { schema: 1, id: spec.id, nodes, image, hosts: [] };
  await writeRecord(record);
  return new Lab(record, build, progress);
}

/** A lab that is there, running or not; undefined when there is none. `build`: what its nodes should run, for `raise`. */
export async function findLab(id: string, progress: (line: string) => void = () => undefined, build?: PluginBuild): Promise<Lab | undefined> {
  const record = await readRecord(labId(id));
  if (record === undefined) return undefined;
  const lab = new Lab(record, build, progress);
  await Promise.all(lab.nodes.map((node) => node.find()));
  return lab;
}

/** Makes the lab if it is not there, and finishes, repairs or extends it otherwise; nothing that runs is disturbed. */
export async function ensureLab(spec: LabSpec): Promise<{ readonly lab: Lab; readonly installed: readonly string[] }> {
  const progress = spec.progress ?? (() => undefined);
  await prepareHost(progress);
  return withLab(labId(spec.id), progress, async () => {
    const build = spec.nodes.every((node) => node.plugin === false) ? undefined : await pluginBuild(spec.pluginFolder);
    const lab = await findLab(spec.id, progress, build) ?? await createLab(spec, progress);
    const installed = await lab.raise();
    const added: string[] = [];
    for (const node of spec.nodes.slice(lab.nodes.length)) added.push((await lab.addNode(node)).name);
    return { lab, installed: [...installed, ...added] };
  });
}
