/** Two nodes on a switch with an etcd, all in network namespaces of their own; and what a test asks of them from outside. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { EventName } from "../../src/core/events.ts";
import type { Cidr, FlannelId, Ipv4, Mac, NetnsPath, Vni } from "../../src/core/ids.ts";
import { vtepMac } from "../../src/core/names.ts";
import { runCommand, startProcess } from "../../src/sinks/exec.ts";
import { flanneldSink, type FlanneldOptions, type FlanneldSink, type FlanneldSpec } from "../../src/sinks/flanneld.ts";

const run = promisify(execFile);
export const SWITCH_IP = "10.99.0.1";
const SIGNAL = new AbortController().signal;

export async function sh(file: string, ...args: string[]): Promise<string> {
  return (await run(file, args, { maxBuffer: 64 * 2 ** 20 })).stdout;
}

/** The program of the newest build. */
export function flanneldProgram(): string {
  const cache = join(process.env["FLANNEL_NP_CACHE"] ?? "/var/cache/flannel-np", "plugin");
  const entries = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith("flanneld-")).map((name) => join(cache, name, "flanneld")) : [];
  const found = [process.env["FLANNELD"] ?? "", ...entries].find((path) => path !== "" && existsSync(path));
  if (found === undefined) throw new Error("Cannot find flanneld: run ./flannel-np build, or name a program in FLANNELD");
  return found;
}

export interface SaidEvent { readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> }
export interface Node {
  readonly ns: string;
  readonly ip: Ipv4;
  readonly directory: string;
  readonly said: SaidEvent[];
  readonly changed: FlannelId[];
  sink: FlanneldSink;
}

export class Bed {
  readonly id: string;
  readonly folder: string;
  readonly nodes: Node[] = [];
  #etcd: ChildProcess | undefined;

  static async make(): Promise<Bed> {
    const bed = new Bed(`fb${process.pid.toString(36)}`, await mkdtemp(join(tmpdir(), "flanneld-bed-")));
    await sh("ip", "netns", "add", bed.id);
    await bed.ip(bed.id, "link add sw type bridge", `address add ${SWITCH_IP}/24 dev sw`, "link set sw up", "link set lo up");
    for (const n of [1, 2]) await bed.#addNode(n);
    await bed.startEtcd();
    return bed;
  }

  constructor(id: string, folder: string) {
    this.id = id;
    this.folder = folder;
  }

  async ip(ns: string, ...lines: string[]): Promise<void> {
    for (const line of lines) await sh("ip", "-n", ns, ...line.split(" "));
  }

  async #addNode(n: number): Promise<void> {
    const ns = `${this.id}n${n}`;
    await sh("ip", "netns", "add", ns);
    await this.ip(ns, "link set lo up", `link add eth0 type veth peer name p${n} netns ${this.id}`, `address add 10.99.0.1${n}/24 dev eth0`, "link set eth0 up");
    await this.ip(this.id, `link set p${n} master sw`, `link set p${n} up`);
    await sh("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    const node = { ns, ip: `10.99.0.1${n}` as Ipv4, directory: join(this.folder, `node${n}`), said: [], changed: [] };
    this.nodes.push({ ...node, sink: this.sinkFor(node) });
  }

  sinkFor(node: Omit<Node, "sink">, over: Partial<FlanneldOptions> = {}): FlanneldSink {
    return flanneldSink({
      file: flanneldProgram(), directory: node.directory, etcd: { endpoints: [`http://${SWITCH_IP}:2379`] }, etcdPrefix: (id) => `/t/networks/${id}`,
      exec: runCommand, startProcess, netns: `/run/netns/${node.ns}` as NetnsPath,
      emit: (event, fields) => { node.said.push({ event, fields }); }, changed: (id) => { node.changed.push(id); }, ...over,
    });
  }

  async startEtcd(): Promise<void> {
    const url = `http://${SWITCH_IP}:2379`;
    this.#etcd = spawn("ip", ["netns", "exec", this.id, "etcd", "--data-dir", join(this.folder, "etcd"), "--listen-client-urls", url,
      "--advertise-client-urls", url, "--listen-peer-urls", "http://127.0.0.1:0", "--log-level", "error"], { stdio: "ignore" });
    await until(() => this.etcdctl("endpoint", "health").then(() => true, () => false));
  }

  async stopEtcd(): Promise<void> {
    const etcd = this.#etcd;
    if (etcd === undefined || etcd.exitCode !== null) return;
    const ended = new Promise((resolve) => etcd.once("exit", resolve));
    etcd.kill("SIGKILL");
    await ended;
  }

  etcdctl(...args: string[]): Promise<string> {
    return sh("ip", "netns", "exec", this.id, "env", "ETCDCTL_API=3", "etcdctl", `--endpoints=http://${SWITCH_IP}:2379`, ...args);
  }

  /** A network of its own number: config, and both nodes' pre-written leases. */
  async network(n: number, type = "vxlan", backend: Readonly<Record<string, unknown>> = {}): Promise<(node: number) => FlanneldSpec> {
    const flannelId = `net${n}` as FlannelId;
    const vni = 6_500 + n as Vni;
    const network = `10.${100 + n}.0.0/16` as Cidr;
    await this.etcdctl("put", `/t/networks/${flannelId}/config`, JSON.stringify({ Network: network, SubnetLen: 24, Backend: { Type: type, VNI: vni, ...backend } }));
    for (const { ip } of this.nodes) {
      const subnet = `10.${100 + n}.${ip.slice(-2)}.0-24`;
      await this.etcdctl("put", `/t/networks/${flannelId}/subnets/${subnet}`, JSON.stringify({ PublicIP: ip }));
    }
    return (node) => {
      const publicIp = `10.99.0.1${node}` as Ipv4;
      return { flannelId, vni, network, subnet: `10.${100 + n}.1${node}.0/24` as Cidr, publicIp, link: "eth0", mtuBytes: 1_500, backendType: type,
        mac: vtepMac(publicIp, vni) as Mac, extraFlags: [] };
    };
  }

  /** The first address of a node's subnet, answering on a bridge of the node. */
  async gateway(node: number, spec: FlanneldSpec): Promise<string> {
    const address = spec.subnet.replace(/0\/24$/, "1");
    const { ns } = this.node(node);
    await this.ip(ns, `link add gw${spec.vni} type bridge`, `address add ${address}/24 dev gw${spec.vni}`, `link set gw${spec.vni} up`);
    return address;
  }

  node(n: number): Node {
    const node = this.nodes[n - 1];
    if (node === undefined) throw new Error(`no node ${n}`);
    return node;
  }

  /** Packets lost of `count`, sent every 10 ms. */
  async lost(from: number, source: string, target: string, count: number): Promise<number> {
    const args = ["netns", "exec", this.node(from).ns, "ping", "-q", "-n", "-i", "0.01", "-c", String(count), "-W", "1", "-I", source, target];
    const out = await run("ip", args).then(({ stdout }) => stdout, (error: { stdout?: string }) => error.stdout ?? "");
    const received = Number(/(\d+) received/.exec(out)?.[1] ?? 0);
    return count - received;
  }

  async tearDown(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.sink.close()));
    await this.stopEtcd();
    for (const ns of [this.id, ...this.nodes.map((node) => node.ns)]) await sh("ip", "netns", "del", ns).catch(() => "");
    await rm(this.folder, { recursive: true, force: true });
  }
}

export const carry = (node: Node, spec: FlanneldSpec, op: "create" | "update" = "create"): Promise<void> =>
  node.sink.apply([{ op, kind: "network", key: spec.flannelId, why: "test", spec }], SIGNAL);
export const drop = (node: Node, { flannelId }: FlanneldSpec): Promise<void> =>
  node.sink.apply([{ op: "delete", kind: "network", key: flannelId, why: "test", flannelId }], SIGNAL);
export const seen = async (node: Node, { flannelId }: FlanneldSpec) => (await node.sink.observe(SIGNAL)).get(flannelId);

export async function until(condition: () => boolean | Promise<boolean>, deadlineMs = 20_000): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`Not so within ${deadlineMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
