/**
 * Docker's API bodies as the few fields we use (docker-plugin-protocol.md §7.2), engines 20.10 to 29.
 *
 * In:  parsed JSON.  Out: typed records, and for each body that cannot be read its key and the reason.
 * Rule: pure; nothing undecoded passes, and one odd body never hides the others. `IPAMConfig.IPv4Address` is swarm's
 *       placeholder; the real address of an attachment is `IPAddress`.
 */
import * as z from "zod/mini";
import {
  parseCidr, parseIpv4,
  type ContainerId, type EndpointId, type Ipv4, type NetworkId, type NodeId, type ServiceId, type TaskId,
} from "../core/ids.ts";
import type { Health, Member, Network, NodeFacts, Service, ServicePort, Task } from "../core/model.ts";
import { reasonOf } from "./reason.ts";

export interface SwarmStanding {
  readonly node?: NodeId;
  readonly role: NodeFacts["role"];
  /** Swarm's address of this node. */
  readonly address?: Ipv4;
}
export interface DockerNetwork { readonly driver: string; readonly record: Network }
export interface DockerNode { readonly record: Member; readonly leader: boolean }
export interface DockerTask { readonly record: Task; readonly networks: readonly NetworkId[] }
export interface DockerAttachment {
  readonly network: NetworkId;
  readonly endpoint: EndpointId;
  readonly address: Ipv4;
  readonly aliases: readonly string[];
  readonly links?: readonly string[];
  readonly gatewayPriority?: number;
}
export interface DockerContainer {
  readonly id: ContainerId;
  readonly name: string;
  readonly hostname: string;
  readonly running: boolean;
  /** Docker's time of the last start: tells one life of a container from the next. */
  readonly startedAt: string;
  readonly health: Health;
  /** As configured; absent means SIGTERM. */
  readonly stopSignal?: string;
  readonly service?: ServiceId;
  readonly task?: TaskId;
  readonly sandbox: string;
  /** On all networks, ours or not, that have given it an address. */
  readonly attachments: readonly DockerAttachment[];
}
/** From the list call: enough to see that an inspection from before is still right. */
export interface ContainerSummary { readonly id: ContainerId; readonly networks: readonly NetworkId[]; readonly fingerprint: string }

export interface Garbage { readonly key: string; readonly reason: string }
export interface Found<T> { readonly items: readonly T[]; readonly garbage: readonly Garbage[] }

const text = z.string();
const maybe = <T extends z.ZodMiniType>(type: T) => z.nullish(type);
const textMap = z.record(text, text);
const version = maybe(z.object({ Index: z.number() }));

const info = z.object({ Swarm: maybe(z.object({
  NodeID: maybe(text), NodeAddr: maybe(text), LocalNodeState: maybe(text), ControlAvailable: maybe(z.boolean()),
})) });
const network = z.object({
  Id: text, Name: text, Driver: text, Internal: maybe(z.boolean()), Options: maybe(textMap),
  IPAM: maybe(z.object({ Config: maybe(z.array(z.object({ Subnet: maybe(text) }))) })),
});
const attachment = z.object({
  NetworkID: maybe(text), EndpointID: maybe(text), IPAddress: maybe(text),
  Aliases: maybe(z.array(text)), Links: maybe(z.array(text)), GwPriority: maybe(z.number()),
});
const networkSettings = z.object({ SandboxKey: maybe(text), Networks: maybe(z.record(text, maybe(attachment))) });
const summary = z.object({
  Id: text, State: maybe(text), Status: maybe(text), Names: maybe(z.array(text)), NetworkSettings: maybe(networkSettings),
});
const container = z.object({
  Id: text, Name: text,
  State: z.object({ Status: text, StartedAt: maybe(text), Health: maybe(z.object({ Status: maybe(text) })) }),
  Config: z.object({ Hostname: maybe(text), Labels: maybe(textMap), StopSignal: maybe(text) }),
  NetworkSettings: maybe(networkSettings),
});
const serviceNetworks = maybe(z.array(z.object({ Target: text, Aliases: maybe(z.array(text)) })));
const port = z.object({ Name: maybe(text), Protocol: maybe(text), TargetPort: maybe(z.number()) });
const service = z.object({
  ID: text, Version: version,
  Spec: z.object({
    Name: text, Labels: maybe(textMap), EndpointSpec: maybe(z.object({ Mode: maybe(text), Ports: maybe(z.array(port)) })),
    TaskTemplate: maybe(z.object({ Networks: serviceNetworks })), Networks: serviceNetworks,
  }),
  Endpoint: maybe(z.object({ VirtualIPs: maybe(z.array(z.object({ NetworkID: text, Addr: maybe(text) }))) })),
});
const task = z.object({
  ID: text, Version: version, ServiceID: maybe(text), NodeID: maybe(text), Slot: maybe(z.number()), DesiredState: maybe(text),
  Status: maybe(z.object({ State: maybe(text), ContainerStatus: maybe(z.object({ ContainerID: maybe(text) })) })),
  NetworksAttachments: maybe(z.array(z.object({ Network: maybe(z.object({ ID: text })) }))),
});
const swarmNode = z.object({
  ID: text, Version: version, Description: maybe(z.object({ Hostname: maybe(text) })), Status: maybe(z.object({ State: maybe(text) })),
  ManagerStatus: maybe(z.object({ Leader: maybe(z.boolean()) })),
});

/** Throws ZodError; only the list decoders below turn that into garbage, a single body is its caller's error. */
export function infoOf(body: unknown): SwarmStanding {
  const { NodeID, NodeAddr, LocalNodeState, ControlAvailable } = z.parse(info, body).Swarm ?? {};
  const address = parseIpv4(NodeAddr ?? "");
  return {
    role: roleOf(LocalNodeState ?? "", ControlAvailable ?? false),
    ...(NodeID ? { node: NodeID as NodeId } : {}), ...(address === undefined ? {} : { address }),
  };
}

function roleOf(state: string, manager: boolean): NodeFacts["role"] {
  if (state === "active") return manager ? "manager" : "worker";
  return state === "inactive" ? "none" : "unknown";
}

export const nodesOf = (body: unknown): Found<DockerNode> => each(body, swarmNode, "ID", (found) => ({
  leader: found.ManagerStatus?.Leader ?? false,
  record: { id: found.ID as NodeId, hostname: found.Description?.Hostname ?? "", state: found.Status?.State ?? "unknown", index: found.Version?.Index ?? 0 },
}));

/** Networks without an IPv4 block (host, none, IPv6 only) are none of ours and no garbage either. */
export const networksOf = (body: unknown): Found<DockerNetwork> => each(body, network, "Id", (found) => {
  const cidr = parseCidr(found.IPAM?.Config?.find(({ Subnet }) => parseCidr(Subnet ?? "") !== undefined)?.Subnet ?? "");
  if (cidr === undefined) return undefined;
  return { driver: found.Driver, record: {
    id: found.Id as NetworkId, name: found.Name, cidr, internal: found.Internal ?? false, options: found.Options ?? {}, index: 0,
  } };
});

export const servicesOf = (body: unknown): Found<Service> => each(body, service, "ID", ({ ID, Version, Spec, Endpoint }) => ({
  id: ID as ServiceId, name: Spec.Name, mode: Spec.EndpointSpec?.Mode === "dnsrr" ? "dnsrr" : "vip",
  networks: (Spec.TaskTemplate?.Networks ?? Spec.Networks ?? []).map(({ Target, Aliases }) => ({ network: Target as NetworkId, aliases: Aliases ?? [] })),
  vips: (Endpoint?.VirtualIPs ?? []).flatMap(({ NetworkID, Addr }) => {
    const address = parseIpv4((Addr ?? "").split("/", 1).join(""));
    return address === undefined ? [] : [{ network: NetworkID as NetworkId, address }];
  }),
  labels: Spec.Labels ?? {}, index: Version?.Index ?? 0, ...portsOf(Spec.EndpointSpec?.Ports ?? []),
}));

function portsOf(ports: readonly z.infer<typeof port>[]): { readonly ports?: readonly ServicePort[] } {
  const known = ports.flatMap(({ Name, Protocol, TargetPort }): readonly ServicePort[] =>
    (TargetPort ? [{ port: TargetPort, protocol: Protocol ?? "tcp", ...(Name ? { name: Name } : {}) }] : []));
  return known.length === 0 ? {} : { ports: known };
}

/** States a task never leaves (swarmkit api/types.proto): swarm keeps such tasks as history only. */
const ENDED = new Set(["complete", "shutdown", "failed", "rejected", "remove", "orphaned"]);

export const tasksOf = (body: unknown): Found<DockerTask> => each(body, task, "ID", (found) => {
  const state = found.Status?.State ?? "";
  if (ENDED.has(state)) return undefined;
  const containerId = found.Status?.ContainerStatus?.ContainerID;
  return {
    networks: (found.NetworksAttachments ?? []).flatMap(({ Network }) => (Network ? [Network.ID as NetworkId] : [])),
    record: {
      id: found.ID as TaskId, slot: found.Slot ?? 0, state, desiredState: found.DesiredState ?? "", index: found.Version?.Index ?? 0,
      ...(found.ServiceID ? { service: found.ServiceID as ServiceId } : {}), ...(found.NodeID ? { node: found.NodeID as NodeId } : {}),
      ...(containerId ? { container: containerId as ContainerId } : {}),
    },
  };
});

export const summariesOf = (body: unknown): Found<ContainerSummary> => each(body, summary, "Id", (found) => {
  const networks = Object.values(found.NetworkSettings?.Networks ?? {}).flatMap((one) => (one ? [one] : []));
  return {
    id: found.Id as ContainerId,
    networks: networks.flatMap(({ NetworkID }) => (NetworkID ? [NetworkID as NetworkId] : [])),
    fingerprint: JSON.stringify([
      found.State, /\((.*)\)$/.exec(found.Status ?? "")?.[1] ?? "", found.Names, networks.map(({ EndpointID, IPAddress }) => [EndpointID, IPAddress]),
    ]),
  };
});

const HEALTH: ReadonlySet<string> = new Set<Health>(["starting", "healthy", "unhealthy"]);

/** Throws ZodError. */
export function containerOf(body: unknown): DockerContainer {
  const { Id, Name, State, Config, NetworkSettings } = z.parse(container, body);
  const labels = Config.Labels ?? {};
  const service = labels["com.docker.swarm.service.id"];
  const task = labels["com.docker.swarm.task.id"];
  const name = Name.replace(/^\//, "");
  const health = State.Health?.Status ?? "none";
  const names = [name, Id.slice(0, 12), Config.Hostname ?? ""];
  return {
    id: Id as ContainerId, name, hostname: Config.Hostname ?? "",
    running: State.Status === "running" || State.Status === "paused", startedAt: State.StartedAt ?? "",
    health: HEALTH.has(health) ? (health as Health) : "none", sandbox: (NetworkSettings?.SandboxKey ?? "").split("/").at(-1) ?? "",
    attachments: Object.values(NetworkSettings?.Networks ?? {}).flatMap((one) => (one ? attachmentOf(one, names) : [])),
    ...(Config.StopSignal ? { stopSignal: Config.StopSignal } : {}),
    ...(service ? { service: service as ServiceId } : {}), ...(task ? { task: task as TaskId } : {}),
  };
}

/** Not from `DNSNames` (engine 25 and later): after a rename it still holds the old name (28.5, networks of swarm). */
function attachmentOf(one: z.infer<typeof attachment>, names: readonly string[]): DockerAttachment[] {
  const address = parseIpv4(one.IPAddress ?? "");
  if (address === undefined || !one.NetworkID || !one.EndpointID) return [];
  const aliases = [names[0] ?? "", ...(one.Aliases ?? []), ...names.slice(1)];
  return [{
    network: one.NetworkID as NetworkId, endpoint: one.EndpointID as EndpointId, address,
    aliases: [...new Set(aliases)].filter((alias) => alias !== ""),
    ...(one.Links?.length ? { links: one.Links } : {}), ...(one.GwPriority ? { gatewayPriority: one.GwPriority } : {}),
  }];
}

function each<B, T>(body: unknown, decoder: z.ZodMiniType<B>, idField: string, make: (found: B) => T | undefined): Found<T> {
  const items: T[] = [];
  const garbage: Garbage[] = [];
  for (const [n, one] of z.parse(z.array(z.unknown()), body ?? []).entries()) {
    const found = z.safeParse(decoder, one);
    const item = found.success ? make(found.data) : undefined;
    if (item !== undefined) items.push(item);
    if (found.success) continue;
    const id: unknown = typeof one === "object" && one !== null ? Reflect.get(one, idField) : undefined;
    garbage.push({ key: typeof id === "string" ? id : `#${n}`, reason: reasonOf(found.error) });
  }
  return { items, garbage };
}
