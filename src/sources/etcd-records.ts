/**
 * etcd's records back into the core's types; what core/records.ts writes, this reads.
 *
 * In:  one key below the prefix and its text.  Out: the kind, the key inside its kind and the record, or why it is unreadable.
 * Rule: pure; nothing undecoded passes; unknown fields are dropped, so a newer writer may add some. Keys of other kinds
 *       (vnis, flannel's config) are nobody's garbage: they are skipped.
 */
import * as z from "zod/mini";
import {
  parseCidr, parseFlannelId, parseIpv4, parseMac,
  type Cidr, type ContainerId, type EndpointId, type FlannelId, type NetworkId, type NodeId, type ServiceId, type TaskId, type Vni,
} from "../core/ids.ts";
import type { Grant } from "../core/addresses.ts";
import type { Container, Member, Network, NodeRecord, Pool, Service, SubnetLease, Task } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { reasonOf } from "./reason.ts";

/** A text that `parse` understands. */
const read = <T>(what: string, parse: (text: string) => T | undefined) => z.pipe(z.string(), z.transform((text, context): T => {
  const value = parse(text);
  if (value !== undefined) return value;
  context.issues.push({ code: "custom", message: `${JSON.stringify(text)} is not ${what}`, input: text });
  return z.NEVER;
}));
const id = <T extends string>() => z.pipe(z.string().check(z.minLength(1)), z.transform((text) => text as T));
export const ipv4 = read("an IPv4 address", parseIpv4);
const cidr = read("an IPv4 block", parseCidr);
const mac = read("a MAC address", parseMac);
const flannelId = read("a flannel-id", parseFlannelId);
const count = z.number().check(z.gte(0));
const vni = z.pipe(z.int().check(z.gte(1), z.lt(2 ** 24)), z.transform((value) => value as Vni));
const strings = z.array(z.string());
const labels = z.record(z.string(), z.string());

const network = z.object({
  id: id<NetworkId>(), name: z.string(), cidr, internal: z.boolean(), options: labels, index: count,
});
const service = z.object({
  id: id<ServiceId>(), name: z.string(), mode: z.enum(["vip", "dnsrr"]),
  networks: z.array(z.object({ network: id<NetworkId>(), aliases: strings })),
  vips: z.array(z.object({ network: id<NetworkId>(), address: ipv4 })),
  labels, index: count, ports: z.exactOptional(z.array(z.object({ port: count, protocol: z.string(), name: z.exactOptional(z.string()) }))),
});
const task = z.object({
  id: id<TaskId>(), service: z.exactOptional(id<ServiceId>()), node: z.exactOptional(id<NodeId>()), slot: count,
  state: z.string(), desiredState: z.string(), container: z.exactOptional(id<ContainerId>()), index: count,
});
const attachment = z.object({
  endpoint: id<EndpointId>(), address: ipv4, aliases: strings, links: z.exactOptional(strings), gatewayPriority: z.exactOptional(z.number()),
});
const container = z.object({
  id: id<ContainerId>(), node: id<NodeId>(), name: z.string(), hostname: z.string(),
  state: z.enum(["running", "stopping", "exited"]), health: z.enum(["none", "starting", "healthy", "unhealthy"]),
  service: z.exactOptional(id<ServiceId>()), task: z.exactOptional(id<TaskId>()), sandbox: z.string(),
  networks: z.record(z.string(), attachment),
});
const pool = z.object({
  flannelId, cidr, hostSubnetLength: z.int().check(z.gte(1), z.lte(32)), serviceRange: cidr, claimedAtMs: count,
  network: z.exactOptional(id<NetworkId>()), vni: z.exactOptional(vni),
  backend: z.exactOptional(z.looseObject({ Type: z.string() })), releasedAtMs: z.exactOptional(count),
});
const node = z.object({
  id: id<NodeId>(), hostname: z.string(), publicIp: ipv4, role: z.enum(["manager", "worker", "none", "unknown"]),
  maintenance: z.exactOptional(z.literal(true)),
});
const member = z.object({ id: id<NodeId>(), hostname: z.string(), state: z.string(), index: count });
const grant = z.object({ address: ipv4, owner: z.string(), grantedAtMs: count, releasedAtMs: z.exactOptional(count) });
/** flannel's lease value (flannel.md §2.2); BackendData is null or absent while a lease is only reserved. */
const subnet = z.object({
  PublicIP: ipv4, BackendData: z.nullish(z.looseObject({ VtepMAC: z.nullish(mac) })),
});
const schema = z.object({ version: z.int() });

export interface RecordOf {
  readonly networks: Network;
  readonly services: Service;
  readonly tasks: Task;
  readonly containers: Container;
  readonly pools: Pool;
  readonly subnets: SubnetLease;
  readonly nodes: NodeRecord;
  readonly members: Member;
  readonly grants: Grant;
  readonly schema: number;
}
export type RecordKind = keyof RecordOf;
export type Decoded = { readonly [K in RecordKind]: { readonly kind: K; readonly key: string; readonly value: RecordOf[K] } }[RecordKind];
export type Read = Decoded | { readonly garbage: string };

/** What a key is about, from its shape alone. */
export interface Place {
  readonly kind: RecordKind;
  readonly key: string;
  /** The key names nothing of its kind, whatever the record says: a stranger's, so its absence from the items is right. */
  readonly stray?: boolean;
}

/** Undefined for keys of no interest here. */
export function placeOf(keys: Keys, key: string): Place | undefined {
  if (key === keys.schema) return { kind: "schema", key: "version" };
  if (!key.startsWith(`${keys.prefix}/`)) return undefined;
  const [kind, a, b, c, ...rest] = key.slice(keys.prefix.length + 1).split("/");
  if (a === undefined || a === "" || rest.length > 0) return undefined;
  if (kind === "pools" && b === undefined) return block("pools", "", a);
  if (kind === "networks" && b === "subnets" && c !== undefined) return block("subnets", `${a}/`, c);
  if (kind === "docker" && b !== undefined && c === undefined && (a === "networks" || a === "services" || a === "tasks")) return { kind: a, key: b };
  if (kind === "docker" && a === "nodes" && b !== undefined && c === undefined) return { kind: "members", key: b };
  if (kind === "service-range" && b !== undefined && c === undefined) return { kind: "grants", key: `${a}/${b}` };
  if (kind === "nodes" && b === undefined) return { kind: "nodes", key: a };
  if (kind === "nodes" && b === "containers" && c !== undefined) return { kind: "containers", key: c };
  return undefined;
}

/** What lies below our prefix as design §6 has it; the rest is somebody else's. */
const KINDS: readonly string[] = ["schema", "pools", "vnis", "networks", "docker", "service-range", "nodes"];
export const isForeign = ({ prefix }: Keys, key: string): boolean =>
  key.startsWith(`${prefix}/`) && !KINDS.includes(key.slice(prefix.length + 1).split("/", 1).join(""));

/** `10.1.0.0-20` → `10.1.0.0/20`; of a dual-stack key `10.78.20.0-24&fd00:78:0:3d::-64` the IPv4 part. */
const slashed = (segment: string): string => segment.split("&", 1).join("").replace("-", "/");

/** A key that ends in a block; flannel itself forgets all its peers over one that does not (flannel.md §2). */
function block(kind: "pools" | "subnets", start: string, segment: string): Place {
  const text = slashed(segment);
  const stray = parseCidr(text) !== text || (start !== "" && parseFlannelId(start.slice(0, -1)) === undefined);
  return { kind, key: `${start}${text}`, ...(stray ? { stray } : {}) };
}

/** The record at a place. Its own key must agree with where it lies: a misplaced record is garbage. */
export function readRecord(place: Place, text: string): Read {
  let json: unknown;
  try { json = JSON.parse(text); } catch { return { garbage: "it is not JSON" }; }
  const { kind, key, stray } = place;
  if (stray === true) return { garbage: "its key names no IPv4 block" };
  switch (kind) {
    case "schema": return judge(schema, json, ({ version }) => ({ kind, key, value: version }));
    case "subnets": return judge(subnet, json, (value) => subnetAt(key, value));
    case "pools": return judge(pool, json, (value) => (value.cidr === key ? { kind, key, value } : misplaced(value.cidr)));
    case "networks": return judge(network, json, (value) => (value.id === key ? { kind, key, value } : misplaced(value.id)));
    case "services": return judge(service, json, (value) => (value.id === key ? { kind, key, value } : misplaced(value.id)));
    case "tasks": return judge(task, json, (value) => (value.id === key ? { kind, key, value } : misplaced(value.id)));
    case "containers": return judge(container, json, (value) => (value.id === key ? { kind, key, value } : misplaced(value.id)));
    case "members": return judge(member, json, (value) => (value.id === key ? { kind, key, value } : misplaced(value.id)));
    case "grants": return judge(grant, json, (value) => (key.endsWith(`/${value.address}`) ? { kind, key, value } : misplaced(value.address)));
    case "nodes": return judge(node, json, (value) => (value.id === key ? { kind, key, value } : misplaced(value.id)));
  }
}

const misplaced = (key: string): Read => ({ garbage: `it is the record of ${key}` });

function subnetAt(key: string, value: z.infer<typeof subnet>): Read {
  const [flannel = "", ...block] = key.split("/");
  const owner: FlannelId | undefined = parseFlannelId(flannel);
  const at: Cidr | undefined = parseCidr(block.join("/"));
  if (owner === undefined || at === undefined) return { garbage: "its key names no subnet" };
  const vtepMac = value.BackendData?.VtepMAC;
  return { kind: "subnets", key, value: { flannelId: owner, subnet: at, publicIp: value.PublicIP, ...(vtepMac ? { vtepMac } : {}) } };
}

function judge<T>(decoder: z.ZodMiniType<T>, json: unknown, found: (value: T) => Read): Read {
  const result = z.safeParse(decoder, json);
  return result.success ? found(result.data) : { garbage: reasonOf(result.error) };
}
