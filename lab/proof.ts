/**
 * Keeps true: what `lab up` says works has been seen to work just now, from inside the containers.
 * In: a lab with the plugin. Out: tasks, their nodes, addresses and subnets, and each direction's ping and TCP result.
 * Rule: the network and the service are made once and left alone afterwards; nothing is read from the plugin's own log.
 */
import { z } from "zod";
import { LabError } from "./errors.ts";
import type { Lab } from "./lab.ts";
import type { LabNode } from "./node.ts";
import { VM_SCALE } from "./node.ts";
import { IMAGE } from "./box/image.ts";
import { until } from "./wait.ts";

export const DEMO = "demo";

export interface DemoTask {
  readonly node: string;
  readonly container: string;
  readonly address: string;
}

export interface Crossing {
  readonly from: string;
  readonly to: string;
  readonly address: string;
  readonly pingMs: number;
  /** What the other side's HTTP server answered: its name and the client's address as it saw it. */
  readonly tcp: string;
}

export interface Proof {
  readonly tasks: readonly DemoTask[];
  /** Each node's own part of the network, as flannel's lease in etcd says. */
  readonly subnets: readonly { readonly node: string; readonly subnet: string }[];
  readonly crossings: readonly Crossing[];
}

/** Makes network and service `demo` where they are missing. `driver` is the plugin's alias. */
async function ensureDemo(manager: LabNode, driver: string): Promise<void> {
  if ((await manager.exec(["docker", "network", "inspect", DEMO])).exitCode !== 0) {
    await manager.docker("network", "create", "-d", driver, "--ipam-driver", driver, "--attachable", DEMO);
  }
  if ((await manager.exec(["docker", "service", "inspect", DEMO])).exitCode !== 0) {
    await manager.docker("service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", DEMO, "--mode", "global", "--network", DEMO, IMAGE);
  }
}

const networks = z.record(z.string(), z.object({ IPAddress: z.string() }));

/** The running task of a node, undefined while there is none with an address. */
async function taskOn(node: LabNode): Promise<DemoTask | undefined> {
  const container = (await node.docker("ps", "-q", "--filter", `label=com.docker.swarm.service.name=${DEMO}`)).split("\n")[0] ?? "";
  if (container === "") return undefined;
  const found = networks.parse(JSON.parse(await node.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)));
  const address = found[DEMO]?.IPAddress ?? "";
  return address === "" ? undefined : { node: node.name, container, address };
}

/** One container reaches another: ping and HTTP, each tried until it works or the time is over. */
async function cross(node: LabNode, from: DemoTask, to: DemoTask): Promise<Crossing> {
  const waiting = { what: `reach ${to.address} on ${to.node} from the task on ${from.node}`, timeoutMs: 20_000 * (node.record.kind === "vm" ? VM_SCALE : 1), cure: "look at './flannel-np lab logs NODE plugin'" };
  return until(waiting, async () => {
    const ping = await node.docker("exec", from.container, "ping", "-c", "1", "-W", "1", to.address);
    const tcp = await node.docker("exec", from.container, "curl", "-sS", "--max-time", "5", `http://${to.address}/`);
    return { from: from.node, to: to.node, address: to.address, pingMs: Number(/time=([\d.]+)/.exec(ping)?.[1] ?? NaN), tcp };
  });
}

const bitsOf = (address: string): number => address.split(".").reduce((bits, byte) => bits * 256 + Number(byte), 0);

/** Is the address in the subnet ("10.0.2.0/25")? */
function isIn(subnet: string, address: string): boolean {
  const [base = "", length = "32"] = subnet.split("/");
  const size = 2 ** (32 - Number(length));
  return Math.floor(bitsOf(base) / size) === Math.floor(bitsOf(address) / size);
}

const lease = z.object({ PublicIP: z.string() });

/** flannel's leases of all networks → subnet per node. Keys end in "10.0.2.0-24". */
export function subnetsOf(listing: readonly string[], nodes: readonly { readonly name: string; readonly address: string }[]): Proof["subnets"] {
  const found = listing.flatMap((key, index) => {
    const subnet = /\/subnets\/([\d.]+)-(\d+)/.exec(key);
    const value = listing[index + 1];
    if (!subnet || value === undefined) return [];
    const node = nodes.find((candidate) => candidate.address === lease.parse(JSON.parse(value)).PublicIP);
    return node ? [{ node: node.name, subnet: `${subnet[1]}/${subnet[2]}` }] : [];
  });
  return found.sort((a, b) => a.node.localeCompare(b.node));
}

/** Shows that tasks on all nodes reach each other; a LabError that names the first pair that does not. */
export async function proveLab(lab: Lab, progress: (line: string) => void): Promise<Proof> {
  const members = lab.nodes.filter((node) => node.record.swarm !== "none" && node.record.plugin !== null);
  const manager = members.find((node) => node.record.swarm === "manager");
  const driver = manager?.record.plugin?.alias;
  if (!manager || driver === undefined) throw new LabError("Cannot prove anything: no manager of this lab has the plugin", "make one: ./flannel-np lab up");
  progress(`network and service "${DEMO}", a task on each node`);
  await ensureDemo(manager, driver);
  const tasks = await Promise.all(members.map((node) => until(
    { what: `start a task on ${node.name}`, timeoutMs: 90_000 * (node.record.kind === "vm" ? VM_SCALE : 1), everyMs: 200, cure: `look at 'docker service ps --no-trunc ${DEMO}' on ${manager.name}` },
    () => taskOn(node))));
  const crossings: Crossing[] = [];
  for (const from of tasks) {
    for (const to of tasks.filter((task) => task !== from)) crossings.push(await cross(lab.node(from.node), from, to));
  }
  const listing = await lab.etcd.ctl(["get", "--prefix", `${manager.record.plugin?.settings["ETCD_PREFIX"] ?? "/flannel"}/networks/`]);
  const subnets = subnetsOf(listing.stdout.split("\n"), lab.nodes).filter(({ subnet }) => tasks.some((task) => isIn(subnet, task.address)));
  return { tasks, subnets, crossings };
}
