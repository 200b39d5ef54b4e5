/**
 * The records every part of the operator speaks of, and the snapshot that holds them all.
 *
 * Rule: one kind, one record type, one owner per field; no field-level merging. Records are immutable.
 */
import type {
  Cidr, ContainerId, EndpointId, FlannelId, Ipv4, Mac, NetworkId, NodeId, ServiceId, TaskId, Vni,
} from "./ids.ts";
import type { Grant } from "./addresses.ts";
import type { Resolved, View } from "./precedence.ts";

/** A Docker network of our driver. Owner: Docker (swarm); copied to etcd for workers. Key: network id. */
export interface Network {
  readonly id: NetworkId;
  readonly name: string;
  readonly cidr: Cidr;
  readonly internal: boolean;
  readonly options: Readonly<Record<string, string>>;
  /** Swarm's `Version.Index`; writers to etcd never replace a newer one. 0 where Docker shows none. */
  readonly index: number;
}

/** How flannel carries a network: flannel's own `Backend` object (flannel.md §2.1). */
export interface Backend { readonly Type: string; readonly [parameter: string]: unknown }

/**
 * The allocation behind a network. Owner: etcd (`pools/<cidr>`). Key: CIDR.
 * claimed (RequestPool) → bound (AllocateNetwork sets network, vni) → released (Docker no longer has the network;
 * every node gives its lease back, then the record goes).
 */
export interface Pool {
  readonly flannelId: FlannelId;
  readonly cidr: Cidr;
  /** Prefix length of one node's subnet. */
  readonly hostSubnetLength: number;
  /** First blocks of the network: VIPs, placeholders, the manager's gateway; never a node's subnet. */
  readonly serviceRange: Cidr;
  readonly claimedAtMs: number;
  readonly network?: NetworkId;
  readonly vni?: Vni;
  readonly backend?: Backend;
  readonly releasedAtMs?: number;
}

/** One node's part of a network. Owner: etcd (flannel's `networks/<id>/subnets/<subnet>`). Key: `<flannel-id>/<subnet>`. */
export interface SubnetLease {
  readonly flannelId: FlannelId;
  readonly subnet: Cidr;
  readonly publicIp: Ipv4;
  /** Absent until that node's flanneld has completed the lease. */
  readonly vtepMac?: Mac;
}

export type Health = "none" | "starting" | "healthy" | "unhealthy";

/** A container's place in one of our networks. */
export interface Attachment {
  readonly endpoint: EndpointId;
  readonly address: Ipv4;
  readonly aliases: readonly string[];
  /** `--link` as the user wrote it: `name:alias`; of this container alone. */
  readonly links?: readonly string[];
  /** Docker ≥ 28; the highest comes first. Absent: 0. */
  readonly gatewayPriority?: number;
}

/** Owner: the node's Docker for its own, etcd (`nodes/<node>/containers/<id>`) for others'. Key: container id. */
export interface Container {
  readonly id: ContainerId;
  readonly node: NodeId;
  readonly name: string;
  readonly hostname: string;
  readonly state: "running" | "stopping" | "exited";
  readonly health: Health;
  readonly service?: ServiceId;
  readonly task?: TaskId;
  /** Last path segment of Docker's SandboxKey. */
  readonly sandbox: string;
  /** By network id; only networks of ours. */
  readonly networks: Readonly<Record<string, Attachment>>;
}

/** One container's link on this node. Owner: Docker (driver calls, then its listing). Key: endpoint id. */
export interface Endpoint {
  readonly id: EndpointId;
  readonly network: NetworkId;
  readonly address: Ipv4;
  /** created: link may be made; joined: the container end is (or is about to be) inside the sandbox. */
  readonly stage: "created" | "joined";
  /** Last path segment of Docker's SandboxKey, once the endpoint is joined. */
  readonly sandbox?: string;
}

export interface ServiceNetwork { readonly network: NetworkId; readonly aliases: readonly string[] }
/** A port that a service publishes. */
export interface ServicePort { readonly port: number; readonly protocol: string; readonly name?: string }
export interface ServiceVip { readonly network: NetworkId; readonly address: Ipv4 }

/** Owner: swarm. Key: service id. */
export interface Service {
  readonly id: ServiceId;
  readonly name: string;
  readonly mode: "vip" | "dnsrr";
  readonly networks: readonly ServiceNetwork[];
  readonly vips: readonly ServiceVip[];
  readonly labels: Readonly<Record<string, string>>;
  readonly ports?: readonly ServicePort[];
  readonly index: number;
}

/** Owner: swarm. Key: task id. */
export interface Task {
  readonly id: TaskId;
  readonly service?: ServiceId;
  readonly node?: NodeId;
  readonly slot: number;
  readonly state: string;
  readonly desiredState: string;
  readonly container?: ContainerId;
  readonly index: number;
}

/** A node as swarm's managers list it. Owner: swarm. Key: node id. */
export interface Member {
  readonly id: NodeId;
  readonly hostname: string;
  /** Swarm's word: `ready`, `down`, `unknown`, `disconnected`. */
  readonly state: string;
  readonly index: number;
}

/** What a node tells the others about itself. Owner: that node, under its lease. Key: node id. */
export interface NodeRecord {
  readonly id: NodeId;
  readonly hostname: string;
  /** Address of its VXLAN endpoint. */
  readonly publicIp: Ipv4;
  readonly role: NodeFacts["role"];
  /** Its process was told to stop; the record waits for the next one under a longer lease. */
  readonly maintenance?: true;
}

/** The interface that carries VXLAN. */
export interface Underlay { readonly link: string; readonly address: Ipv4; readonly mtuBytes: number }

/** This node as it knows itself. */
export interface NodeFacts {
  readonly id?: NodeId;
  readonly hostname: string;
  readonly role: "manager" | "worker" | "none" | "unknown";
  /** True on the swarm leader only: it alone deletes shared keys. */
  readonly leader: boolean;
  /** Swarm's address of this node. */
  readonly address?: Ipv4;
  readonly underlay?: Underlay;
  /** True once Docker's API has answered in this life of the process: Docker has set up its own firewall by then. */
  readonly dockerSeen: boolean;
}

/** What one source knows, per kind. */
export interface Views {
  readonly networks: View<Network>;
  readonly services: View<Service>;
  readonly tasks: View<Task>;
  /** This node's containers (docker, memory) or the other nodes' (etcd). */
  readonly containers: View<Container>;
  readonly endpoints: View<Endpoint>;
  readonly pools: View<Pool>;
  readonly subnets: View<SubnetLease>;
  readonly members: View<Member>;
  /** etcd only: what managers granted of service ranges (design D2). Key: `<flannel-id>/<address>`. */
  readonly grants: View<Grant>;
  /** etcd only: nodes that told of themselves. */
  readonly nodes: View<NodeRecord>;
  /** Single key "self". */
  readonly node: View<NodeFacts>;
}

/** What this process knows before its source shows it: driver calls (Docker speaking), own writes to etcd not yet echoed. */
export interface Intents {
  /** Endpoints that Docker's listing may not show yet. */
  readonly begun: ReadonlyMap<string, Endpoint>;
  /** Endpoint ids that Docker's listing may still show. */
  readonly ended: ReadonlySet<string>;
  readonly pools: ReadonlyMap<string, Pool>;
  readonly subnets: ReadonlyMap<string, SubnetLease>;
  /** This process's grants of service ranges, to be mirrored. Key: `<flannel-id>/<address>`. */
  readonly grants: ReadonlyMap<string, Grant>;
}

export interface Snapshot {
  readonly revision: number;
  readonly nowMs: number;
  readonly node: NodeFacts;
  readonly networks: Resolved<Network>;
  readonly services: Resolved<Service>;
  readonly tasks: Resolved<Task>;
  readonly containers: Resolved<Container>;
  readonly endpoints: Resolved<Endpoint>;
  /** Endpoint ids that Docker told us are over: their links may go even while nothing is settled. */
  readonly ended: ReadonlySet<string>;
  readonly pools: Resolved<Pool>;
  readonly subnets: Resolved<SubnetLease>;
  readonly members: Resolved<Member>;
  /** Service range grants as etcd shows them, and as this process made them. */
  readonly grants: Resolved<Grant>;
  readonly ownGrants: ReadonlyMap<string, Grant>;
  readonly nodes: Resolved<NodeRecord>;
  /** True when Docker itself, not a copy of it, has listed all swarm networks: only then may a network be declared gone. */
  readonly networksListed: boolean;
  /** The same for services: only then may an address be in none of their VIPs. */
  readonly servicesListed: boolean;
}
