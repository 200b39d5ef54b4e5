/**
 * What Docker does around the operator: swarm's allocator on the leader, one engine per node, each asking its plugin.
 *
 * Rule: calls come in Docker's order (docker-plugin-protocol.md §2, §4). A call that fails is made again with what it was made
 * with, so that faults cost time and change nothing; one that fails for good is a refusal, told in the transcript.
 */
import type { ContainerId, EndpointId, Ipv4, NetworkId, NodeId, ServiceId, TaskId } from "../../src/core/ids.ts";
import type { Service } from "../../src/core/model.ts";
import { vethPeer } from "../../src/core/names.ts";
import { parseCidr } from "../../src/core/ids.ts";
import { FakeEtcd } from "../fakes/etcd.ts";
import { Swarm } from "../fakes/swarm.ts";
import { Node } from "./node.ts";

const DRIVER = "flannel-np:latest";
const TRIES = 20;
const PAUSE_MS = 500;
const GATEWAY = { RequestAddressType: "com.docker.network.gateway" };
const REPLAY = { "com.docker.network.ipam.serial": "true" };
const MAC = "com.docker.network.endpoint.macaddress";

type Answer = Readonly<Record<string, string>>;
/** What Docker tells the user: the call's own message. */
export class Refusal extends Error {}
export interface BoxWish { readonly name: string; readonly networks: readonly string[]; readonly service?: Service; readonly task?: TaskId }

export const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });

export class Cluster {
  readonly etcd = new FakeEtcd();
  readonly swarm = new Swarm();
  readonly nodes: readonly Node[];
  /** Network → address of its gateway on the manager's side. */
  readonly gateways = new Map<string, string>();
  /** Task and network → the address that the allocator took for it. */
  readonly placeholders = new Map<string, string>();
  #serial = 0;

  constructor(roles: readonly ("manager" | "worker")[], faults: { readonly seed: number; readonly rate: number }) {
    this.nodes = roles.map((role, n) => new Node(`node${n + 1}`, `172.16.0.${n + 1}` as Ipv4, role, { etcd: this.etcd, swarm: this.swarm, seed: faults.seed + 1_000 * n, rate: faults.rate }));
    for (const node of this.nodes) {
      node.probes = (address) => this.nodes.some(({ publicIp, isUp }) => publicIp === address && isUp);
      this.member(node, "ready");
    }
    this.swarm.leader = "node1" as NodeId;
  }

  node(name: string): Node {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found;
  }

  member({ name, docker }: Node, state: string): void {
    const id = docker.node;
    if (id === undefined) return;
    this.swarm.members.set(id, { id, hostname: name, state, index: this.swarm.next() });
    this.swarm.tell("node", "update", id, { name });
  }

  get leader(): Node {
    const found = this.nodes.find(({ docker }) => docker.node === this.swarm.leader);
    if (found === undefined) throw new Error("there is no leader");
    return found;
  }

  serial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  async call(node: Node, method: string, body: object): Promise<Answer> {
    let last = "its plugin does not run";
    for (let n = 0; n < TRIES; n += 1) {
      const call = node.life?.calls[method];
      if (call === undefined) break;
      try { return (await call(body) ?? {}) as Answer; } catch (error) { last = (error as Error).message; }
      await pause(PAUSE_MS);
    }
    throw new Refusal(`${node.name} ${method}: ${last}`);
  }

  /** On the manager's side; `again`: as a new leader asks for what there is. */
  async allocate(name: string, again: Readonly<Record<string, string>> = {}): Promise<void> {
    const known = this.swarm.networks.get(name as NetworkId)?.record;
    const at = (method: string, body: object): Promise<Answer> => this.call(this.leader, method, body);
    const pool = await at("IpamDriver.RequestPool", { AddressSpace: "fnp-global", Pool: known?.cidr ?? "", SubPool: "", Options: { "flannel-id": name, ...again }, V6: false });
    const before = this.gateways.get(name)?.split("/")[0] ?? "";
    const gateway = await at("IpamDriver.RequestAddress", { PoolID: `G:${name}`, Address: before, Options: { ...GATEWAY, ...again } });
    await at("NetworkDriver.AllocateNetwork", { NetworkID: name, Options: {}, IPv6Data: null, IPv4Data: [{ AddressSpace: "", Gateway: gateway["Address"], Pool: pool["Pool"] }] });
    const cidr = parseCidr(pool["Pool"] ?? "");
    if (cidr === undefined || (known !== undefined && (known.cidr !== cidr || this.gateways.get(name) !== gateway["Address"]))) throw new Error(`${name}: ${pool["Pool"]}, ${gateway["Address"]}`);
    this.gateways.set(name, gateway["Address"] ?? "");
    if (known !== undefined) return;
    this.swarm.networks.set(name as NetworkId, { driver: DRIVER, record: { id: name as NetworkId, name, cidr, internal: false, options: {}, index: 0 } });
    this.swarm.tell("network", "create", name, { name });
  }

  async free(name: string): Promise<void> {
    this.swarm.networks.delete(name as NetworkId);
    this.swarm.tell("network", "remove", name, { name });
    await this.call(this.leader, "NetworkDriver.FreeNetwork", { NetworkID: name });
    await this.call(this.leader, "IpamDriver.ReleaseAddress", { PoolID: `G:${name}`, Address: this.gateways.get(name)?.split("/")[0] ?? "" });
    await this.call(this.leader, "IpamDriver.ReleasePool", { PoolID: `G:${name}` });
    this.gateways.delete(name);
  }

  /** A VIP or a task's placeholder; `wanted` when a new leader asks for what was given before. */
  async address(network: string, wanted = ""): Promise<Ipv4> {
    const answer = await this.call(this.leader, "IpamDriver.RequestAddress", { PoolID: `G:${network}`, Address: wanted, Options: wanted === "" ? {} : REPLAY });
    return (answer["Address"] ?? "").split("/")[0] as Ipv4;
  }

  async replay(): Promise<void> {
    for (const name of this.swarm.networks.keys()) await this.allocate(name, REPLAY);
    const held = [...[...this.swarm.services.values()].flatMap(({ vips }) => vips.map(({ network, address }) => [network as string, address as string] as const)),
      ...[...this.placeholders].map(([key, address]) => [key.split(" ")[1] ?? "", address] as const)];
    for (const [network, address] of held) {
      const answer = await this.address(network, address);
      if (answer !== address) throw new Error(`replay of ${address} was answered ${answer}`);
    }
  }

  async startBox(node: Node, { name, networks, service, task }: BoxWish): Promise<void> {
    const sandbox = `sandbox-${name}`;
    for (const network of networks) await this.#open(node, network);
    node.dns.appear(sandbox);
    node.engine?.poke("dns");
    const attachments = [];
    for (const network of networks) attachments.push(await this.#attach(node, name, network, sandbox));
    const id = `box-${name}` as ContainerId;
    node.docker.boxes.set(id, {
      id, name, hostname: name, running: true, startedAt: `start ${this.serial()}`, health: "none", sandbox, attachments,
      ...(service === undefined ? {} : { service: service.id }), ...(task === undefined ? {} : { task }),
    });
    for (const network of networks) node.docker.tell("network", "connect", network, { name: network, type: DRIVER, container: id });
    node.docker.tell("container", "start", id, labels(task));
  }

  async #open(node: Node, network: string): Promise<void> {
    const id = network as NetworkId;
    if (node.docker.local.has(id)) return;
    const cidr = this.swarm.networks.get(id)?.record.cidr ?? "";
    await this.call(node, "IpamDriver.RequestPool", { AddressSpace: "fnp-local", Pool: cidr, SubPool: "", Options: { "flannel-id": network }, V6: false });
    const gateway = await this.call(node, "IpamDriver.RequestAddress", { PoolID: `L:${network}`, Address: "", Options: GATEWAY });
    await this.call(node, "NetworkDriver.CreateNetwork", {
      NetworkID: network, IPv6Data: [], Options: { "com.docker.network.generic": {} },
      IPv4Data: [{ AddressSpace: "fnp-local", Pool: cidr, Gateway: gateway["Address"] }],
    });
    node.docker.local.add(id);
    node.docker.tell("network", "create", network, { name: network, type: DRIVER });
  }

  async #attach(node: Node, name: string, network: string, sandbox: string): Promise<{ network: NetworkId; endpoint: EndpointId; address: Ipv4; aliases: readonly string[] }> {
    const endpoint = `endpoint-${name}-${network}-${this.serial()}` as EndpointId;
    const mac = `02:42:00:00:00:${(this.serial() % 256).toString(16).padStart(2, "0")}`;
    const given = await this.call(node, "IpamDriver.RequestAddress", { PoolID: `L:${network}`, Address: "", Options: { [MAC]: mac } });
    const address = given["Address"] ?? "";
    const both = { NetworkID: network, EndpointID: endpoint };
    await this.call(node, "NetworkDriver.CreateEndpoint", { ...both, Interface: { Address: address, AddressIPv6: "", MacAddress: mac }, Options: {} });
    await this.call(node, "NetworkDriver.Join", { ...both, SandboxKey: `/run/docker/netns/${sandbox}`, Options: {} });
    node.host.movePeer(vethPeer(endpoint));
    return { network: network as NetworkId, endpoint, address: address.split("/")[0] as Ipv4, aliases: [name] };
  }

  /** The stop signal: the container is on its way out. */
  signal(node: Node, name: string): void {
    node.docker.tell("container", "kill", `box-${name}`, { signal: "15", ...labels(node.docker.boxes.get(`box-${name}` as ContainerId)?.task) });
  }

  /** The container's end. Without a plugin the engine logs what it could not tell and goes on. */
  async endBox(node: Node, name: string): Promise<void> {
    const id = `box-${name}` as ContainerId;
    const box = node.docker.boxes.get(id);
    if (box === undefined) return;
    node.docker.boxes.set(id, { ...box, running: false });
    node.dns.namespaces.delete(box.sandbox);
    node.engine?.poke("dns");
    for (const { network, endpoint, address } of box.attachments) {
      const both = { NetworkID: network, EndpointID: endpoint };
      await this.#tell(node, "NetworkDriver.Leave", both);
      await this.#tell(node, "NetworkDriver.DeleteEndpoint", both);
      await this.#tell(node, "IpamDriver.ReleaseAddress", { PoolID: `L:${network}`, Address: address });
      // A veth pair goes with its sandbox.
      for (const [link, { alias }] of await node.host.endpoints.observe(new AbortController().signal)) if (alias === endpoint) node.host.linkGone(link);
    }
    node.docker.boxes.delete(id);
    node.docker.tell("container", "die", id, labels(box.task));
    node.docker.tell("container", "destroy", id, labels(box.task));
    for (const { network } of box.attachments) await this.#close(node, network);
  }

  async #close(node: Node, network: NetworkId): Promise<void> {
    if ([...node.docker.boxes.values()].some(({ attachments }) => attachments.some((other) => other.network === network))) return;
    node.docker.local.delete(network);
    await this.#tell(node, "NetworkDriver.DeleteNetwork", { NetworkID: network });
    await this.#tell(node, "IpamDriver.ReleasePool", { PoolID: `L:${network}` });
    node.docker.tell("network", "destroy", network, { name: network, type: DRIVER });
  }

  #tell(node: Node, method: string, body: object): Promise<unknown> {
    return node.life === undefined ? Promise.resolve() : this.call(node, method, body).catch(() => undefined);
  }
}

const labels = (task: TaskId | undefined): Readonly<Record<string, string>> => (task === undefined ? {} : { "com.docker.swarm.task.id": task });
export const serviceId = (name: string): ServiceId => `service-${name}` as ServiceId;
