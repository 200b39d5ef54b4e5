/**
 * Swarm's orchestrator, as far as stories need it: services, their tasks, where these run.
 *
 * Rule: slot n runs on the n-th of the nodes that swarm counts as ready; a task that is to stop is told first, then its container.
 */
import type { ContainerId, NetworkId, TaskId } from "../../src/core/ids.ts";
import type { Service } from "../../src/core/model.ts";
import { serviceId, type Cluster } from "./cluster.ts";
import type { Node } from "./node.ts";

export async function createService(cluster: Cluster, name: string, networks: readonly string[], mode: Service["mode"]): Promise<void> {
  const vips = mode === "vip" ? await vipsOn(cluster, networks) : [];
  put(cluster, {
    id: serviceId(name), name, mode, networks: networks.map((network) => ({ network: network as NetworkId, aliases: [] })), vips, labels: {}, index: 0,
  }, "create");
}

async function vipsOn(cluster: Cluster, networks: readonly string[]): Promise<Service["vips"]> {
  const vips = [];
  for (const network of networks) vips.push({ network: network as NetworkId, address: await cluster.address(network) });
  return vips;
}

function put(cluster: Cluster, service: Service, action: string): void {
  cluster.swarm.services.set(service.id, { ...service, index: cluster.swarm.next() });
  cluster.swarm.tell("service", action, service.id, { name: service.name });
}

export async function setMode(cluster: Cluster, name: string, mode: Service["mode"]): Promise<void> {
  const service = known(cluster, name);
  for (const { network, address } of service.vips) await cluster.call(cluster.leader, "IpamDriver.ReleaseAddress", { PoolID: `G:${network}`, Address: address });
  put(cluster, { ...service, mode, vips: mode === "vip" ? await vipsOn(cluster, service.networks.map(({ network }) => network)) : [] }, "update");
}

export async function removeService(cluster: Cluster, name: string): Promise<void> {
  const service = known(cluster, name);
  cluster.swarm.services.delete(service.id);
  cluster.swarm.tell("service", "remove", service.id, { name });
  for (const { network, address } of service.vips) await cluster.call(cluster.leader, "IpamDriver.ReleaseAddress", { PoolID: `G:${network}`, Address: address });
}

export function known(cluster: Cluster, name: string): Service {
  const found = cluster.swarm.services.get(serviceId(name));
  if (found === undefined) throw new Error(`there is no service ${name}`);
  return found;
}

const isReady = (cluster: Cluster, { docker, isUp }: Node): boolean => isUp && docker.node !== undefined && cluster.swarm.members.get(docker.node)?.state === "ready";
export const boxOf = (service: string, slot: number): string => `${service}-${slot}`;
const taskOf = (service: string, slot: number): TaskId => `task-${service}-${slot}` as TaskId;

export async function startTask(cluster: Cluster, service: Service, slot: number): Promise<void> {
  const ready = cluster.nodes.filter((node) => isReady(cluster, node));
  const node = ready[(slot - 1) % ready.length];
  if (node?.docker.node === undefined) throw new Error("no node is ready");
  const networks = service.networks.map(({ network }) => network);
  const id = taskOf(service.name, slot);
  for (const network of networks) cluster.placeholders.set(`${id} ${network}`, await cluster.address(network));
  const name = boxOf(service.name, slot);
  const task = (state: string): void => {
    cluster.swarm.tasks.set(id, { networks, record: { id, service: service.id, node: node.docker.node as NonNullable<typeof node.docker.node>, slot, state, desiredState: "running", container: `box-${name}` as ContainerId, index: cluster.swarm.next() } });
  };
  task("preparing");
  await cluster.startBox(node, { name, networks, service, task: id });
  task("running");
  node.docker.tell("container", "start", `box-${name}`, { "com.docker.swarm.task.id": id });
}

/** Swarm's wish first, then the signal. */
export function shutDown(cluster: Cluster, service: string, slot: number): Node | undefined {
  const id = taskOf(service, slot);
  const task = cluster.swarm.tasks.get(id);
  if (task === undefined) return undefined;
  cluster.swarm.tasks.set(id, { ...task, record: { ...task.record, desiredState: "shutdown", index: cluster.swarm.next() } });
  const node = cluster.nodes.find(({ docker }) => docker.node === task.record.node);
  if (node !== undefined) cluster.signal(node, boxOf(service, slot));
  return node;
}

export async function endTask(cluster: Cluster, service: string, slot: number): Promise<void> {
  const id = taskOf(service, slot);
  const task = cluster.swarm.tasks.get(id);
  const node = cluster.nodes.find(({ docker }) => docker.node === task?.record.node);
  if (node?.isUp === true) await cluster.endBox(node, boxOf(service, slot));
  cluster.swarm.tasks.delete(id);
  for (const network of task?.networks ?? []) {
    await cluster.call(cluster.leader, "IpamDriver.ReleaseAddress", { PoolID: `G:${network}`, Address: cluster.placeholders.get(`${id} ${network}`) ?? "" });
    cluster.placeholders.delete(`${id} ${network}`);
  }
  node?.docker.tell("container", "destroy", `box-${boxOf(service, slot)}`, { "com.docker.swarm.task.id": id });
}

export const slotsOf = (cluster: Cluster, name: string): readonly number[] =>
  [...cluster.swarm.tasks.values()].filter(({ record }) => record.service === serviceId(name)).map(({ record }) => record.slot).sort((a, b) => a - b);
