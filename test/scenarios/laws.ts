/**
 * What may never happen, whatever fails: looked at before each change is made, against what is true in the cluster.
 *
 * Nothing goes that Docker still has. Nothing of a network goes while a source that could name it is away. No address is held twice.
 */
import { contains, type Cidr, type Ipv4 } from "../../src/core/ids.ts";
import type { Change } from "../../src/core/plan.ts";
import type { BalancerChange } from "../../src/sinks/balancer.ts";
import type { FirewallChange } from "../../src/sinks/firewall.ts";
import type { FlanneldChange } from "../../src/sinks/flanneld.ts";
import type { EndpointChange, GatewayChange } from "../../src/sinks/links.ts";
import type { VipChange } from "../../src/sinks/vip-table.ts";
import type { Cluster } from "./cluster.ts";
import { keys, type Node } from "./node.ts";

export class Laws {
  readonly broken: string[] = [];
  /** Changes seen, so that a law that saw none can be told from one that held. */
  deletes = 0;
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    for (const node of cluster.nodes) node.onApply = (facility, changes) => this.#judge(node, facility, changes);
    cluster.etcd.onDelete = (key) => this.#key(key);
  }

  async #judge(node: Node, facility: string, changes: readonly Change[]): Promise<void> {
    for (const change of changes) {
      const lost = await this.#lost(node, facility, change);
      if (lost.length === 0) continue;
      this.deletes += 1;
      for (const { what, isAlive } of lost) {
        if (isAlive) this.#break(node, `${facility} took ${what} away (${change.why}), and Docker has it`);
        if (OF_NETWORKS.has(facility) && node.cut.size > 0) this.#break(node, `${facility} took ${what} away (${change.why}) while ${[...node.cut].join(" and ")} could not be asked`);
      }
    }
  }

  #break(node: Node, what: string): void { this.broken.push(`${node.name}: ${what}`); }

  /** What a change takes away, and whether Docker still has it. */
  async #lost(node: Node, facility: string, change: Change): Promise<readonly Lost[]> {
    if (facility === "firewall") return this.#isolation(node, change as FirewallChange);
    if (change.op !== "delete") return [];
    switch (facility) {
      case "endpoints": return this.#link(node, change as EndpointChange);
      case "flannel": return this.#tunnel(change as FlanneldChange);
      case "gateways": return this.#gateway(node, change as GatewayChange);
      case "vips": return this.#vip(node, change as VipChange);
      case "balancer": return this.#balancer(change as BalancerChange);
      default: return [{ what: `the names of ${change.key}`, isAlive: running(node).some(({ sandbox }) => sandbox === change.key) }];
    }
  }

  async #isolation(node: Node, change: FirewallChange): Promise<readonly Lost[]> {
    if (change.target !== "table") return [];
    const { networks } = await node.nft.table.observe(new AbortController().signal);
    const left = change.op === "delete" ? [] : change.table.networks.map(({ cidr }) => cidr);
    return networks.filter(({ cidr }) => !left.includes(cidr)).map(({ cidr }) => ({ what: `the isolation of ${cidr}`, isAlive: this.#isNetwork(cidr) }));
  }

  async #link(node: Node, change: EndpointChange): Promise<readonly Lost[]> {
    const alias = (await node.host.endpoints.observe(new AbortController().signal)).get(change.key)?.alias;
    if (alias === undefined) return [];
    return [{ what: `the link of ${alias}`, isAlive: running(node).some(({ attachments }) => attachments.some(({ endpoint }) => endpoint === alias)) }];
  }

  #tunnel(change: FlanneldChange): readonly Lost[] {
    if (change.kind === "network") return [{ what: `flanneld ${change.key}`, isAlive: this.#cluster.swarm.networks.has(change.key as never) }];
    if (change.op !== "delete") return [];
    return [{ what: `the peer ${change.key}`, isAlive: change.rows.subnet !== undefined && this.#cluster.etcd.items.has(keys.subnet(change.flannelId, change.rows.subnet)) }];
  }

  #gateway(node: Node, { key, entry }: GatewayChange): readonly Lost[] {
    const isAlive = entry.kind === "address" ? [...this.#ranges()].some((cidr) => contains(cidr, entry.address))
      : entry.kind === "service-range" || entry.kind === "unreachable" ? this.#isNetwork(entry.cidr) : running(node).length > 0;
    return [{ what: `${key}`, isAlive }];
  }

  #vip(node: Node, { key, entry }: VipChange): readonly Lost[] {
    const isAlive = entry.kind === "network" ? this.#isNetwork(entry.network.range)
      : entry.kind === "loop" ? addresses(node).includes(entry.address) : running(node).length > 0;
    return [{ what: key, isAlive }];
  }

  #balancer({ key, entry }: BalancerChange): readonly Lost[] {
    const { services, tasks } = this.#cluster.swarm;
    if (entry.kind === "service") return [{ what: `the VIP ${key}`, isAlive: [...services.values()].some(({ vips, mode }) => mode === "vip" && vips.some(({ address }) => address === entry.vip)) }];
    const box = this.#cluster.nodes.flatMap(running).find(({ attachments }) => attachments.some(({ address }) => address === entry.address));
    const task = [...tasks.values()].find(({ record }) => record.id === box?.task)?.record;
    const isServed = [...services.values()].some(({ id, vips, mode }) => id === box?.service && mode === "vip" && vips.some(({ address }) => address === entry.vip));
    return [{ what: `the server ${key}`, isAlive: isServed && task?.desiredState === "running" && task.state === "running" }];
  }

  /** Keys of etcd: what managers tell, what nodes tell of themselves, what networks are made of. */
  #key(key: string): void {
    const [, kind = "", id = "", part = "", box = ""] = key.slice(keys.prefix.length).split("/");
    const { networks, services, members } = this.#cluster.swarm;
    const on = (ids: readonly string[]): boolean => ids.some((network) => networks.has(network as never));
    const isTold = id === "networks" ? on([part])
      : id === "services" ? on(services.get(part as never)?.networks.map(({ network }) => network) ?? [])
        // No event tells of tasks: the leader may have read them later than another manager, and tells what it took away again.
        : id !== "tasks" && members.has(part as never);
    const isAlive = kind === "docker" ? isTold
      : kind === "nodes" && part === "containers" ? this.#cluster.nodes.some((node) => node.docker.node === id && running(node).some((one) => one.id === box))
        : kind === "networks" ? networks.has(id as never)
          : kind === "pools" && this.#isNetwork(id.replace("-", "/") as Cidr);
    this.deletes += 1;
    if (isAlive) this.broken.push(`etcd: ${key} was deleted, and Docker has it`);
  }

  #ranges(): ReadonlySet<Cidr> { return new Set([...this.#cluster.swarm.networks.values()].map(({ record }) => record.cidr)); }
  #isNetwork(cidr: Cidr): boolean { return [...this.#ranges()].some((range) => contains(range, cidr.slice(0, cidr.indexOf("/")) as Ipv4)); }

  /** After each step. */
  check(): readonly string[] {
    const { services } = this.#cluster.swarm;
    // A task's placeholder is no address that anybody uses: swarm holds on to it, and it may be given again (design D2).
    const held = [...this.#cluster.nodes.flatMap(addresses), ...[...services.values()].flatMap(({ vips }) => vips.map(({ address }) => address))];
    const twice = held.filter((address, n) => held.indexOf(address) !== n).map((address) => `${address} is held twice`);
    return [...this.broken.splice(0), ...twice];
  }
}

interface Lost { readonly what: string; readonly isAlive: boolean }
const OF_NETWORKS: ReadonlySet<string> = new Set(["firewall", "gateways", "flannel", "vips"]);

const running = ({ docker }: Node) => [...docker.boxes.values()].filter((box) => box.running);
const addresses = (node: Node): readonly Ipv4[] => running(node).flatMap(({ attachments }) => attachments.map(({ address }) => address));
