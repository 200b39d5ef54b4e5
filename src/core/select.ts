/**
 * Questions that several reconcilers ask of a snapshot, answered in one place.
 *
 * Rule: pure; lists come out in a fixed order.
 */
import { cidrOf, nth, type Cidr, type FlannelId, type Ipv4, type NetworkId, type Vni } from "./ids.ts";
import type { NodeRecord, Pool, Snapshot, SubnetLease, Underlay } from "./model.ts";
import { values } from "./precedence.ts";
import { fitsPool } from "./subnets.ts";

/** Bytes that each backend adds in front of a packet (flannel.md §4.5). */
const OVERHEAD: Readonly<Record<string, number>> = { "vxlan": 50, "host-gw": 0, "alloc": 0, "ipip": 20, "udp": 28, "wireguard": 80 };
const DEFAULT_OVERHEAD_BYTES = 50;

/** A network that this node takes part in: it holds a lease of it. */
export interface CarriedNetwork {
  readonly pool: Pool;
  readonly network: NetworkId;
  readonly vni: Vni;
  readonly lease: SubnetLease;
  readonly underlay: Underlay;
  readonly gateway: Ipv4;
  /** MTU of container links. */
  readonly mtuBytes: number;
}

export const poolByFlannelId = (snapshot: Snapshot, id: FlannelId): Pool | undefined =>
  values(snapshot.pools).find((pool) => pool.flannelId === id);

export const poolByCidr = (snapshot: Snapshot, cidr: Cidr): Pool | undefined => snapshot.pools.facts.get(cidr)?.value;

export const poolByNetwork = (snapshot: Snapshot, id: NetworkId): Pool | undefined =>
  values(snapshot.pools).find((pool) => pool.network === id);

export type LeasesByNetwork = ReadonlyMap<FlannelId, readonly SubnetLease[]>;

/** All nodes' leases, per network. */
export function leasesByNetwork(snapshot: Snapshot): LeasesByNetwork {
  const grouped = new Map<FlannelId, SubnetLease[]>();
  for (const lease of values(snapshot.subnets)) {
    const leases = grouped.get(lease.flannelId);
    if (leases === undefined) grouped.set(lease.flannelId, [lease]);
    else leases.push(lease);
  }
  return grouped;
}

/** This node's lease in a network: found by PublicIP, as flannel does, so none while that address is a rival's; else by the containers that live in it. */
export function ownLease(snapshot: Snapshot, pool: Pool, all: LeasesByNetwork = leasesByNetwork(snapshot)): SubnetLease | undefined {
  const mine = snapshot.node.underlay?.address;
  if (mine === undefined || rivalOf(snapshot) !== undefined) return undefined;
  const leases = all.get(pool.flannelId) ?? [];
  const [held] = leases
    .filter((lease) => lease.publicIp === mine && fitsPool(pool, lease.subnet))
    .sort((a, b) => a.subnet.localeCompare(b.subnet));
  return held ?? livedIn(snapshot, pool, leases, mine);
}

/** A subnet whose key is gone (expired while the node was off, an etcd set back in time) is ours as long as containers use it. */
function livedIn(snapshot: Snapshot, pool: Pool, leases: readonly SubnetLease[], publicIp: Ipv4): SubnetLease | undefined {
  const held = new Set(leases.map(({ subnet }) => subnet));
  const [subnet] = values(snapshot.endpoints)
    .filter(({ network }) => network === pool.network)
    .map(({ address }) => cidrOf(address, pool.hostSubnetLength))
    .filter((candidate) => fitsPool(pool, candidate) && !held.has(candidate))
    .sort();
  return subnet === undefined ? undefined : { flannelId: pool.flannelId, subnet, publicIp };
}

/**
 * Another node that has this node's underlay address and said so first: peers could not tell the two apart. Of two that have said
 * it already the one with the smaller id stays. What this very machine left behind under another id, at rest, is no rival.
 */
export function rivalOf({ node, nodes }: Snapshot): NodeRecord | undefined {
  const { id, underlay, hostname } = node;
  if (id === undefined || underlay === undefined) return undefined;
  const told = nodes.facts.get(id)?.value.publicIp === underlay.address;
  return values(nodes).find((other) => other.publicIp === underlay.address && other.id !== id
    && (other.maintenance !== true || other.hostname !== hostname) && (!told || other.id < id));
}

/** `.1` of a subnet, as flannel's subnet file names it. */
export const gatewayOf = (subnet: Cidr): Ipv4 => nth(subnet, 1);

/** True while a container of this node hangs on the network: nothing of it may go. */
export const inUseHere = (snapshot: Snapshot, network: NetworkId): boolean =>
  values(snapshot.endpoints).some((endpoint) => endpoint.network === network);

/** Networks that this node carries: leased, bound, and not released (or released with a container still stopping). */
export function carriedNetworks(snapshot: Snapshot): readonly CarriedNetwork[] {
  const { underlay } = snapshot.node;
  if (underlay === undefined) return [];
  const leases = leasesByNetwork(snapshot);
  const carried: CarriedNetwork[] = [];
  for (const pool of values(snapshot.pools).sort((a, b) => a.cidr.localeCompare(b.cidr))) {
    const { network, vni } = pool;
    if (network === undefined || vni === undefined) continue;
    if (pool.releasedAtMs !== undefined && !inUseHere(snapshot, network)) continue;
    const lease = ownLease(snapshot, pool, leases);
    if (lease === undefined) continue;
    carried.push({ pool, network, vni, lease, underlay, gateway: gatewayOf(lease.subnet), mtuBytes: mtuOf(pool, underlay) });
  }
  return carried;
}

/** flannel's `Backend.MTU` speaks of the underlay; the container gets what is left behind the encapsulation. */
export function mtuOf(pool: Pool, underlay: Underlay): number {
  const { MTU, Type } = pool.backend ?? { Type: "vxlan" };
  const outer = typeof MTU === "number" && MTU > 0 ? Math.min(MTU, underlay.mtuBytes) : underlay.mtuBytes;
  return outer - (OVERHEAD[Type] ?? DEFAULT_OVERHEAD_BYTES);
}

/**
 * True when every source that could name another carried network has listed, and none of them forgot one that a container
 * here hangs on: an etcd that lost its data must not take the data plane along (design D15). Nor must another node's mistake.
 */
export function carriedSettled(snapshot: Snapshot, carried: readonly CarriedNetwork[]): boolean {
  const { pools, subnets, endpoints, node } = snapshot;
  if (!pools.settled || !subnets.settled || !endpoints.settled || node.underlay === undefined || rivalOf(snapshot) !== undefined) return false;
  const known = new Set(carried.map(({ network }) => network));
  return values(endpoints).every(({ network }) => known.has(network));
}
