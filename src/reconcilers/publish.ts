/**
 * Copies what only some nodes can see into etcd for the others: swarm's objects (from managers), this node's containers.
 *
 * In:  snapshot: facts that Docker itself told.  Out: EtcdChange[] for sinks/etcd.ts, one per key.
 * Rule: several managers write the same keys; a newer `Version.Index` is never replaced by an older one, and only the leader
 * deletes. This node's own keys hang on its lease (design D15).
 */
import type { NodeId } from "../core/ids.ts";
import type { Container, NodeRecord, Snapshot } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { fieldOf } from "../core/field.ts";
import { diff, withhold } from "../core/plan.ts";
import { values, type Resolved } from "../core/precedence.ts";
import { rivalOf } from "../core/select.ts";
import type { Reconciler } from "../core/reconciler.ts";
import { encodeContainer, encodeMember, encodeNetwork, encodeNode, encodeSchema, encodeService, encodeTask } from "../core/records.ts";
import type { Compare } from "../core/store.ts";
import type { EtcdChange, EtcdEntry, EtcdTable } from "../sinks/etcd.ts";

/** `once`: written when missing, never replaced. */
export interface WantedEntry { readonly value: string; readonly leased: boolean; readonly index: number; readonly once?: boolean }
export interface WantedEntries {
  readonly entries: ReadonlyMap<string, WantedEntry>;
  /** Prefixes whose surplus keys we may delete. */
  readonly sweep: readonly string[];
}

export const publishWith = (keys: Keys): Reconciler<WantedEntries, EtcdTable, EtcdChange> => ({
  name: "publish",
  desire(snapshot) {
    const { node } = snapshot;
    const entries = new Map<string, WantedEntry>();
    const sweep: string[] = [];
    const owner = node.id ?? node.hostname;
    const rival = rivalOf(snapshot);
    if (node.id !== undefined && node.underlay !== undefined && rival === undefined && othersKnown(snapshot)) {
      entries.set(keys.schema, { value: encodeSchema("flannel-np"), leased: false, index: 0, once: true });
      const record = { id: node.id, hostname: node.hostname, publicIp: node.underlay.address, role: node.role };
      entries.set(keys.node(node.id), { value: encodeNode(record, owner), leased: true, index: 0 });
      for (const container of ownContainers(snapshot, node.id)) {
        entries.set(keys.nodeContainer(node.id, container.id), { value: encodeContainer(container, owner), leased: true, index: 0 });
      }
      // Of its own containers this node knows all when Docker has listed them; a record of others that nobody can read changes nothing.
      if (snapshot.endpoints.settled) sweep.push(keys.nodeContainers(node.id));
    }
    if (node.role === "manager" && snapshot.networksListed) {
      swarmEntries(snapshot, keys, entries);
      if (node.leader) sweep.push(...swarmSweep(snapshot, keys));
    }
    return { value: { entries, sweep }, settled: true, blocked: rival === undefined ? [] : [sameAddress(rival)] };
  },
  plan({ value: { entries, sweep }, settled }, observed) {
    const { create, update, remove } = diff(entries, observed, same);
    const surplus = remove.filter(([key]) => sweep.some((prefix) => key.startsWith(prefix)));
    return withhold([
      ...create.map(([key, entry]) => put("create", key, entry, undefined, "missing")),
      ...update.map(([key, entry, was]) => put("update", key, entry, was, was.value === entry.value ? "hangs on an old lease" : "changed")),
      ...surplus.map(([key, was]): EtcdChange =>
        ({ op: "delete", key, why: "Docker has it no more", compare: [unchanged(key, was)], ops: [{ do: "delete", key }] })),
    ], settled);
  },
});

/** Before etcd has listed anything, another node of our address may already be there. */
const othersKnown = ({ nodes, pools, subnets }: Snapshot): boolean => nodes.settled || pools.settled || subnets.settled;

const sameAddress = ({ hostname, id, publicIp }: NodeRecord): string => `node ${hostname} (${id}) has this node's underlay address ${publicIp}`;

/** `owner` says who wrote it; the next leader writing the same facts must not count as a change. */
function swarmEntries(snapshot: Snapshot, keys: Keys, entries: Map<string, WantedEntry>): void {
  const owner = "swarm";
  for (const network of fromDocker(snapshot.networks)) {
    entries.set(keys.dockerNetwork(network.id), { value: encodeNetwork(network, owner), leased: false, index: network.index });
  }
  for (const service of fromDocker(snapshot.services)) {
    entries.set(keys.dockerService(service.id), { value: encodeService(service, owner), leased: false, index: service.index });
  }
  for (const member of fromDocker(snapshot.members)) {
    entries.set(keys.dockerNode(member.id), { value: encodeMember(member, owner), leased: false, index: member.index });
  }
  for (const task of fromDocker(snapshot.tasks)) {
    entries.set(keys.dockerTask(task.id), { value: encodeTask(task, owner), leased: false, index: task.index });
  }
}

/** A kind may be swept only when Docker listed that very kind: a copy out of etcd would declare itself complete. */
function swarmSweep({ services, tasks, members }: Snapshot, { docker }: Keys): readonly string[] {
  const told = ({ facts, settled }: Resolved<unknown>): boolean => settled && [...facts.values()].every(({ from }) => from === "docker");
  return [`${docker}networks/`, ...(told(services) ? [`${docker}services/`] : []), ...(told(tasks) ? [`${docker}tasks/`] : []), ...(told(members) ? [`${docker}nodes/`] : [])];
}

const fromDocker = <T>(resolved: Resolved<T>): T[] =>
  [...resolved.facts.values()].filter(({ from }) => from === "docker").map(({ value }) => value);

const ownContainers = (snapshot: Snapshot, id: NodeId): readonly Container[] =>
  values(snapshot.containers).filter(({ node }) => node === id);

function same(want: WantedEntry, is: EtcdEntry): boolean {
  if (want.once === true) return true;
  if (want.leased !== is.leased) return false;
  return want.value === is.value || (want.index > 0 && indexOf(is.value) > want.index);
}

/** The index inside a record somebody wrote; 0 when it is not readable: then ours is better. */
function indexOf(value: string): number {
  const index = fieldOf(value, "index");
  return typeof index === "number" ? index : 0;
}

const unchanged = (key: string, was: EtcdEntry | undefined): Compare =>
  ({ key, target: "mod", op: "=", value: was?.modRevision ?? 0n });

const put = (op: "create" | "update", key: string, entry: WantedEntry, was: EtcdEntry | undefined, why: string): EtcdChange => ({
  op, key, why, compare: [unchanged(key, was)], ops: [{ do: entry.leased ? "putLeased" : "put", key, value: entry.value }],
});
