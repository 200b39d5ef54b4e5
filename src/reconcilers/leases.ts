/**
 * Keeps pools, VNIs and node subnets in etcd in step with the networks Docker has.
 *
 * In:  snapshot: pools, leases, networks, endpoints; observed entries, and which networks this node still has kernel state of.
 * Out: EtcdChange[] for sinks/etcd.ts; keys as in core/names.ts.
 * Rule: a pool goes in two steps: released (Docker's own complete listing lacks its network), then collected (no node holds a
 * lease). A node gives its lease back only when nothing of the network is left on it (design D4, flannel.md §10.6); of a node that
 * is dead, or that nobody has heard of, the leader takes it.
 */
import { fieldOf } from "../core/field.ts";
import type { Pool, Snapshot, SubnetLease } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { withhold } from "../core/plan.ts";
import { values } from "../core/precedence.ts";
import type { Reconciler } from "../core/reconciler.ts";
import { encodePool, encodeSubnetLease } from "../core/records.ts";
import { inUseHere, leasesByNetwork, ownLease, type LeasesByNetwork } from "../core/select.ts";
import type { Compare } from "../core/store.ts";
import type { EtcdChange, EtcdTable } from "../sinks/etcd.ts";
import type { ObservedLeases } from "../sinks/leases.ts";

/** Docker commits a network this long after its pool was claimed, at the latest. */
const COMMIT_GRACE_MS = 60_000;
/** A pool whose network never came, as when a create failed half-way. */
const UNBOUND_GRACE_MS = 600_000;

/** A node that did not give its lease back within this time, and of which nobody knows, will not. One in doubt is still known (D15). */
const DEAD_GRACE_MS = 60_000;

export interface WantedLeases {
  readonly release: readonly Pool[];
  readonly collect: readonly Pool[];
  readonly keep: readonly { readonly lease: SubnetLease; readonly pool: Pool }[];
  readonly giveBack: readonly SubnetLease[];
  /** Leases of dead nodes on released pools. */
  readonly bury: readonly SubnetLease[];
  readonly nowMs: number;
  readonly owner: string;
}

export const leasesWith = (keys: Keys): Reconciler<WantedLeases, ObservedLeases, EtcdChange> => ({
  name: "leases",
  desire(snapshot) {
    const pools = values(snapshot.pools).sort((a, b) => a.cidr.localeCompare(b.cidr));
    const leases = leasesByNetwork(snapshot);
    const release = pools.filter((pool) => pool.releasedAtMs === undefined && isGone(pool, snapshot));
    const collect = pools.filter((pool) => pool.releasedAtMs !== undefined && snapshot.node.leader && !leases.has(pool.flannelId));
    return {
      value: {
        release, collect, bury: buried(pools, snapshot, leases), ...ownLeases(pools, snapshot, leases), owner: snapshot.node.id ?? snapshot.node.hostname,
        nowMs: release.length > 0 ? snapshot.nowMs : 0,
      },
      settled: snapshot.pools.settled && snapshot.subnets.settled && snapshot.endpoints.settled, blocked: [],
    };
  },
  plan({ value, settled }, { entries, carried }) {
    return withhold([
      ...value.keep.flatMap((kept) => keepLease(keys, kept, entries)),
      ...value.release.flatMap((pool) => releasePool(keys, pool, value, entries)),
      ...value.giveBack.filter(({ flannelId }) => !carried.has(flannelId)).flatMap((lease) => removeLease(keys, lease, entries, "the network is gone and nothing of it is left here")),
      ...value.bury.flatMap((lease) => removeLease(keys, lease, entries, "its node is dead and the network is gone")),
      ...value.collect.flatMap((pool) => collectPool(keys, pool, entries)),
    ], settled);
  },
});

/** Only the leader declares a network gone, and only on Docker's own complete listing. */
function isGone(pool: Pool, { node, networksListed, networks, nowMs }: Snapshot): boolean {
  if (!node.leader || !networksListed) return false;
  if (pool.network === undefined) return nowMs - pool.claimedAtMs > UNBOUND_GRACE_MS;
  return !networks.facts.has(pool.network) && nowMs - pool.claimedAtMs > COMMIT_GRACE_MS;
}

function ownLeases(pools: readonly Pool[], snapshot: Snapshot, leases: LeasesByNetwork): Pick<WantedLeases, "keep" | "giveBack"> {
  const keep: WantedLeases["keep"][number][] = [];
  const giveBackList: SubnetLease[] = [];
  for (const pool of pools) {
    const own = ownLease(snapshot, pool, leases);
    if (own === undefined) continue;
    const lease = { flannelId: own.flannelId, subnet: own.subnet, publicIp: own.publicIp };
    if (pool.releasedAtMs === undefined) keep.push({ lease, pool });
    else if (pool.network === undefined || !inUseHere(snapshot, pool.network)) giveBackList.push(lease);
  }
  return { keep, giveBack: giveBackList };
}

/** Only where every node that lives or may live is known. */
function buried(pools: readonly Pool[], { node, nodes, nowMs }: Snapshot, leases: LeasesByNetwork): readonly SubnetLease[] {
  if (!node.leader || !nodes.settled || node.underlay === undefined) return [];
  const known = new Set([node.underlay.address, ...values(nodes).map(({ publicIp }) => publicIp)]);
  return pools.filter(({ releasedAtMs }) => releasedAtMs !== undefined && nowMs - releasedAtMs > DEAD_GRACE_MS)
    .flatMap(({ flannelId }) => leases.get(flannelId) ?? []).filter(({ publicIp }) => !known.has(publicIp));
}

const at = (key: string, revision: bigint): Compare => ({ key, target: "mod", op: "=", value: revision });

/** The key may be gone while we hold the subnet: expired while the node was off, or an etcd restored from a backup. */
function keepLease(keys: Keys, { lease, pool }: WantedLeases["keep"][number], entries: EtcdTable): EtcdChange[] {
  const key = keys.subnet(lease.flannelId, lease.subnet);
  const record = entries.get(keys.pool(pool.cidr))?.value ?? "";
  // A pool that only memory still knows has been collected: a lease in it would belong to nothing.
  if (entries.has(key) || fieldOf(record, "flannelId") !== lease.flannelId) return [];
  return [{ op: "create", key, why: "this node holds the subnet, its key is gone", compare: [at(key, 0n)], ops: [{ do: "put", key, value: encodeSubnetLease(lease) }] }];
}

function releasePool(keys: Keys, pool: Pool, { nowMs, owner }: WantedLeases, entries: EtcdTable): EtcdChange[] {
  const key = keys.pool(pool.cidr);
  const entry = entries.get(key);
  // The record may be ahead of the snapshot: bound, released or another's by now. Then the next snapshot decides.
  if (entry === undefined || fieldOf(entry.value, "flannelId") !== pool.flannelId) return [];
  if (fieldOf(entry.value, "network") !== pool.network || fieldOf(entry.value, "releasedAtMs") !== undefined) return [];
  const why = pool.network === undefined ? "no network was made of it" : `Docker has no network ${pool.network} any more`;
  return [{ op: "update", key, why, compare: [at(key, entry.modRevision)], ops: [{ do: "put", key, value: encodePool({ ...pool, releasedAtMs: nowMs }, owner) }] }];
}

function removeLease(keys: Keys, lease: SubnetLease, entries: EtcdTable, why: string): EtcdChange[] {
  const key = keys.subnet(lease.flannelId, lease.subnet);
  const entry = entries.get(key);
  if (entry === undefined || fieldOf(entry.value, "PublicIP") !== lease.publicIp) return [];
  return [{ op: "delete", key, why, compare: [at(key, entry.modRevision)], ops: [{ do: "delete", key }] }];
}

/** Pool, VNI, config and service range go together, and only while no lease exists. */
function collectPool(keys: Keys, pool: Pool, entries: EtcdTable): EtcdChange[] {
  const key = keys.pool(pool.cidr);
  const entry = entries.get(key);
  const leases = keys.subnets(pool.flannelId);
  // A lease that nobody can read is one too; trying would only fail, and the rest of the transaction with it.
  if (entry === undefined || [...entries.keys()].some((other) => other.startsWith(leases))) return [];
  const nobody: Compare = { key: leases, prefix: true, target: "create", op: "=", value: 0 };
  return [{
    op: "delete", key, why: "no node holds a lease of it", compare: [at(key, entry.modRevision), nobody],
    ops: [
      { do: "delete", key }, { do: "delete", key: keys.config(pool.flannelId) },
      { do: "deletePrefix", key: `${keys.serviceRanges}${pool.flannelId}/` },
      ...(pool.vni === undefined ? [] : [{ do: "delete", key: keys.vni(pool.vni) } as const]),
    ],
  }];
}
