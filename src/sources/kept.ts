/**
 * What the state file holds, between texts and views (design D21).
 *
 * In:  a snapshot, or the opaque content of the file.  Out: the content, or the views and ledgers it held.
 * Rule: records are kept as they stand in etcd, so one pair of encoder and decoder serves both; what cannot be read is left out
 * and said. Kept views are "unknown": they serve until a source speaks, and delete nothing.
 */
import * as z from "zod/mini";
import type { Grant } from "../core/addresses.ts";
import type { LedgerState } from "../core/address-book.ts";
import type { Emit } from "../core/events.ts";
import { parseIpv4, type EndpointId, type Ipv4, type NodeId } from "../core/ids.ts";
import type { Standings } from "../core/liveness.ts";
import type { Container, Endpoint, NodeFacts, Snapshot, Views } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { unknownView, values } from "../core/precedence.ts";
import { encodeContainer, encodeNetwork, encodeNode, encodePool, encodeSubnetLease } from "../core/records.ts";
import { EtcdBook } from "./etcd-book.ts";

const grant = z.object({ address: z.string(), owner: z.string(), grantedAtMs: z.number(), releasedAtMs: z.exactOptional(z.number()) });
const content = z.object({
  records: z.record(z.string(), z.string()),
  ledger: z.record(z.string(), z.array(grant)),
  node: z.object({
    id: z.exactOptional(z.string()), address: z.exactOptional(z.string()), publicIp: z.exactOptional(z.string()), role: z.enum(["manager", "worker", "none", "unknown"]),
  }),
});
export type KeptContent = z.infer<typeof content>;

export interface Kept {
  readonly views: Views;
  readonly ledger: LedgerState;
  readonly node: Pick<NodeFacts, "id" | "address" | "role">;
  /** The underlay address it had. */
  readonly publicIp?: Ipv4;
}

/** Pools, leases, networks and own containers: what a start without etcd and without Docker's API needs. */
export function keep(snapshot: Snapshot, ledger: LedgerState, keys: Keys): KeptContent {
  const records: Record<string, string> = {};
  const { node } = snapshot;
  const owner = node.id ?? node.hostname;
  for (const pool of values(snapshot.pools)) records[keys.pool(pool.cidr)] = encodePool(pool, owner);
  for (const lease of values(snapshot.subnets)) records[keys.subnet(lease.flannelId, lease.subnet)] = encodeSubnetLease(lease);
  for (const network of values(snapshot.networks)) records[keys.dockerNetwork(network.id)] = encodeNetwork(network, owner);
  for (const container of values(snapshot.containers)) {
    if (container.node === node.id) records[keys.nodeContainer(container.node, container.id)] = encodeContainer(container, owner);
  }
  return {
    records, ledger: Object.fromEntries(Object.entries(ledger).map(([key, grants]) => [key, [...grants]])),
    node: { role: node.role, ...(node.id === undefined ? {} : { id: node.id }), ...(node.address === undefined ? {} : { address: node.address }),
      ...(node.underlay === undefined ? {} : { publicIp: node.underlay.address }) },
  };
}

/** Whatever of the content is readable; a file of another shape is an empty one. */
export function recall(raw: unknown, keys: Keys, emit: Emit): Kept {
  const parsed = z.safeParse(content, raw ?? { records: {}, ledger: {}, node: { role: "unknown" } });
  if (!parsed.success) emit("source.garbage", { source: "memory", key: "state file", reason: "its content has another shape" });
  const { records, ledger, node } = parsed.success ? parsed.data : { records: {}, ledger: {}, node: { role: "unknown" as const } };
  const book = bookOf(records, keys, emit);
  const [address, publicIp] = [node.address, node.publicIp].map((text) => (text === undefined ? undefined : parseIpv4(text)));
  return {
    views: {
      networks: unknownView(book.all("networks")), services: unknownView(), tasks: unknownView(),
      containers: unknownView(book.all("containers")), endpoints: unknownView(endpointsOf(book.all("containers"))),
      pools: unknownView(book.all("pools")), subnets: unknownView(book.all("subnets")),
      members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
    },
    ledger: Object.fromEntries(Object.entries(ledger).map(([key, grants]) => [key, grants.map(grantOf)])),
    node: { role: node.role, ...(node.id === undefined ? {} : { id: node.id as NodeId }), ...(address === undefined ? {} : { address }) },
    ...(publicIp === undefined ? {} : { publicIp }),
  };
}

/** Leases are owned by address: one kept under an address that this node has only now is the lease of whoever had it before. */
export function leasesKept(subnets: Views["subnets"], before: Ipv4 | undefined, now: Ipv4 | undefined): Views["subnets"] {
  if (before === undefined || before === now) return subnets;
  return { ...subnets, items: new Map([...subnets.items].filter(([, { publicIp }]) => publicIp !== now)) };
}

const grantOf = (raw: z.infer<typeof grant>): Grant => ({ ...raw, address: raw.address as Ipv4 });

/** Endpoints of containers that ran when the file was written. */
function endpointsOf(containers: ReadonlyMap<string, Container>): ReadonlyMap<string, Endpoint> {
  const endpoints = new Map<string, Endpoint>();
  for (const { networks, state, sandbox } of containers.values()) {
    if (state === "exited") continue;
    for (const [network, { endpoint, address }] of Object.entries(networks)) {
      const id: EndpointId = endpoint;
      endpoints.set(id, { id, network: network as Endpoint["network"], address, stage: "joined", ...(sandbox === "" ? {} : { sandbox }) });
    }
  }
  return endpoints;
}

/** The other nodes and their containers as last known: what a restart with etcd absent goes on with. */
export function keepOthers(standings: Standings, keys: Keys): unknown {
  const records: Record<string, string> = {};
  for (const [id, { state, record, containers }] of standings) {
    if (state === "dead" || record === undefined) continue;
    records[keys.node(id)] = encodeNode(record, id);
    for (const container of containers.values()) records[keys.nodeContainer(id, container.id)] = encodeContainer(container, id);
  }
  return { records };
}

export function recallOthers(raw: unknown, keys: Keys, emit: Emit): Standings {
  const { success, data } = z.safeParse(z.object({ records: z.record(z.string(), z.string()) }), raw ?? { records: {} });
  if (!success) emit("source.garbage", { source: "memory", key: "file of the other nodes", reason: "its content has another shape" });
  const book = bookOf(data?.records ?? {}, keys, emit);
  const containers = [...book.all("containers")];
  return new Map([...book.all("nodes").values()].map((record) => [record.id, {
    state: "present", record, containers: new Map(containers.filter(([, { node }]) => node === record.id)),
  }]));
}

function bookOf(records: Readonly<Record<string, string>>, keys: Keys, emit: Emit): EtcdBook {
  const book = new EtcdBook(keys, ({ key, reason }) => emit("source.garbage", { source: "memory", key, reason }));
  book.replaceAll(Object.entries(records).map(([key, value]) => ({ key, value, modRevision: 0n, createRevision: 0n, version: 1n })));
  return book;
}
