/** Records and snapshots for planner tests: everything has a default, a test names only what it is about. */
import type {
  Cidr, ContainerId, EndpointId, FlannelId, Ipv4, Mac, NetworkId, NodeId, ServiceId, TaskId, Vni,
} from "../../src/core/ids.ts";
import type {
  Container, Endpoint, Member, Network, NodeFacts, NodeRecord, Pool, Service, Snapshot, SubnetLease, Task,
} from "../../src/core/model.ts";
import type { Grant } from "../../src/core/addresses.ts";
import type { Authority, Resolved } from "../../src/core/precedence.ts";

export const cidr = (text: string): Cidr => text as Cidr;
export const ip = (text: string): Ipv4 => text as Ipv4;
export const NODE = "node-a" as NodeId;
export const OTHER = "node-b" as NodeId;
export const MY_IP = ip("172.16.0.1");
export const NOW = 1_000_000_000;

/** Network n: 10.n.0.0/16, VNI 100 + n; service range 10.n.0.0/22, node subnets /24 from 10.n.4.0 on. */
export const networkId = (n: number): NetworkId => `net-${n}` as NetworkId;
export const flannelId = (n: number): FlannelId => `flannel-${n}` as FlannelId;
export const range = (n: number): Cidr => cidr(`10.${n}.0.0/16`);
export const subnetOf = (n: number, node: number): Cidr => cidr(`10.${n}.${node + 3}.0/24`);
export const addressOf = (n: number, host: number, node = 1): Ipv4 => ip(`10.${n}.${node + 3}.${host}`);
export const publicIp = (node: number): Ipv4 => ip(`172.16.0.${node}`);

export const pool = (n: number, more: Partial<Pool> = {}): Pool => ({
  flannelId: flannelId(n), cidr: range(n), hostSubnetLength: 24, serviceRange: cidr(`10.${n}.0.0/22`), claimedAtMs: 0,
  network: networkId(n), vni: (100 + n) as Vni, backend: { Type: "vxlan", VNI: 100 + n }, ...more,
});
/** A pool whose network was never made. */
export function unbound(n: number, more: Partial<Pool> = {}): Pool {
  const { network: _network, vni: _vni, backend: _backend, ...rest } = pool(n);
  return { ...rest, ...more };
}
export const mac = (n: number, node: number): Mac => `0e:00:00:00:0${n % 10}:0${node % 10}` as Mac;
/** Node 1 is this node. */
export const lease = (n: number, node = 1, more: Partial<SubnetLease> = {}): SubnetLease =>
  ({ flannelId: flannelId(n), subnet: subnetOf(n, node), publicIp: publicIp(node), vtepMac: mac(n, node), ...more });
export const endpoint = (n: number, host: number, more: Partial<Endpoint> = {}): Endpoint =>
  ({ id: `ep-${n}-${host}` as EndpointId, network: networkId(n), address: addressOf(n, host), stage: "created", ...more });
export const network = (n: number, more: Partial<Network> = {}): Network =>
  ({ id: networkId(n), name: `web${n}`, cidr: range(n), internal: false, options: {}, index: 5, ...more });
export const service = (n: number, more: Partial<Service> = {}): Service => ({
  id: `svc-${n}` as ServiceId, name: `svc${n}`, mode: "vip", networks: [{ network: networkId(n), aliases: [] }],
  vips: [{ network: networkId(n), address: ip(`10.${n}.0.9`) }], labels: {}, index: 5, ...more,
});
export const task = (n: number, more: Partial<Task> = {}): Task =>
  ({ id: `task-${n}` as TaskId, service: `svc-${n}` as ServiceId, node: NODE, slot: 1, state: "running", desiredState: "running", index: 5, ...more });
export const container = (n: number, more: Partial<Container> = {}): Container => ({
  id: `box-${n}` as ContainerId, node: NODE, name: `box${n}`, hostname: `h${n}`, state: "running", health: "none", sandbox: `s${n}`,
  networks: {}, ...more,
});
/** Node 1 is this node. */
export const nodeRecord = (n: number): NodeRecord =>
  ({ id: ([NODE, OTHER][n - 1] ?? `node-${n}`) as NodeId, hostname: `box-${n}`, publicIp: publicIp(n), role: "worker" });

export interface Kind<T> { readonly items: readonly T[]; readonly settled?: boolean; readonly from?: Authority }
export interface World {
  readonly node?: Partial<NodeFacts>;
  readonly nowMs?: number;
  readonly networks?: Kind<Network>;
  readonly services?: Kind<Service>;
  readonly tasks?: Kind<Task>;
  readonly containers?: Kind<Container>;
  readonly endpoints?: Kind<Endpoint>;
  readonly pools?: Kind<Pool>;
  readonly subnets?: Kind<SubnetLease>;
  readonly members?: Kind<Member>;
  readonly nodes?: Kind<NodeRecord>;
  readonly ended?: readonly string[];
  readonly networksListed?: boolean;
  readonly servicesListed?: boolean;
}

function resolved<T>(kind: Kind<T> | undefined, from: Authority, keyOf: (item: T) => string): Resolved<T> {
  const { items = [], settled = true } = kind ?? {};
  return { settled, facts: new Map(items.map((value) => [keyOf(value), { value, from: kind?.from ?? from }])) };
}

const byId = ({ id }: { readonly id: string }): string => id;

/** The leading manager, everything listed, nothing there – but for what the world says. */
export function snapshotOf(world: World = {}): Snapshot {
  return {
    revision: 1, nowMs: world.nowMs ?? NOW,
    node: {
      id: NODE, hostname: "box-a", role: "manager", leader: true, address: MY_IP,
      underlay: { link: "eth0", address: MY_IP, mtuBytes: 1500 }, dockerSeen: true, ...world.node,
    },
    networks: resolved(world.networks, "docker", byId), services: resolved(world.services, "docker", byId),
    tasks: resolved(world.tasks, "docker", byId), containers: resolved(world.containers, "docker", byId),
    endpoints: resolved(world.endpoints, "docker", byId), ended: new Set(world.ended),
    pools: resolved(world.pools, "etcd", (item) => item.cidr),
    subnets: resolved(world.subnets, "etcd", (item) => `${item.flannelId}/${item.subnet}`),
    members: resolved(world.members, "docker", byId), nodes: resolved(world.nodes, "etcd", byId),
    grants: resolved<Grant>(undefined, "etcd", ({ address }) => address), ownGrants: new Map(),
    servicesListed: world.servicesListed ?? world.services?.settled ?? true,
    networksListed: world.networksListed ?? world.networks?.settled ?? true,
  };
}
