/**
 * Records as text for etcd (design §6): one key, one JSON record that names its owner.
 *
 * Out:  JSON with keys in alphabetical order, so equal records are equal text and a writer can compare before it writes.
 * Rule: pure; sources/etcd-records.ts reads what is written here, and a test holds the two together.
 */
import type { Grant } from "./addresses.ts";
import type { Vni } from "./ids.ts";
import type { Container, Member, Network, NodeRecord, Pool, Service, SubnetLease, Task } from "./model.ts";

/** Version of the layout below the prefix; a store that says more is not touched. */
export const SCHEMA_VERSION = 1;

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** JSON with sorted keys at every level; absent fields stay absent. */
export function stableJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: Json | undefined) => {
    if (part === null || typeof part !== "object" || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  });
}

/** `owner`: the node id or host name that wrote the record. */
const encode = <T extends object>(record: T, owner: string): string => stableJson({ ...record, owner });

export const encodeNetwork = (network: Network, owner: string): string => encode(network, owner);
export const encodeService = (service: Service, owner: string): string => encode(service, owner);
export const encodeTask = (task: Task, owner: string): string => encode(task, owner);
export const encodeContainer = (container: Container, owner: string): string => encode(container, owner);
export const encodePool = (pool: Pool, owner: string): string => encode(pool, owner);
export const encodeGrant = (grant: Grant): string => stableJson(grant);
export const encodeMember = (member: Member, owner: string): string => encode(member, owner);
export const encodeNode = (node: NodeRecord, owner: string): string => encode(node, owner);
export const encodeSchema = (owner: string): string => stableJson({ owner, version: SCHEMA_VERSION });

/**
 * flannel's own lease record (flannel.md §2.2), so it names no owner but PublicIP. Without a VTEP MAC it is the
 * reservation that flanneld adopts.
 */
export function encodeSubnetLease(lease: SubnetLease, vni?: Vni): string {
  if (lease.vtepMac === undefined) return JSON.stringify({ PublicIP: lease.publicIp });
  return JSON.stringify({
    PublicIP: lease.publicIp, PublicIPv6: null, BackendType: "vxlan",
    BackendData: { ...(vni === undefined ? {} : { VNI: vni }), VtepMAC: lease.vtepMac },
  });
}
