/**
 * What the debug endpoint answers, shared by the process that speaks and the command line that reads.
 *
 * Rule: types only; within one major version fields are only added, so an older `flannel-np` reads a newer answer.
 */
import type { Cidr, FlannelId, Ipv4, NetworkId, NodeId, Vni } from "./ids.ts";
import type { ErrorCode } from "./errors.ts";
import type { NodeFacts, Underlay, Views } from "./model.ts";
import type { Op } from "./plan.ts";
import type { Authority, Coverage } from "./precedence.ts";
import type { BalancerEngine } from "./service-labels.ts";

export interface NodeState {
  readonly id?: NodeId;
  readonly hostname: string;
  readonly role: NodeFacts["role"];
  readonly leader: boolean;
  /** Swarm's address of this node. */
  readonly address?: string;
  readonly underlay?: Underlay;
}

/** Coverage by kind, of the kinds this source can know. */
export type SourceState = Readonly<Partial<Record<keyof Views, Coverage>>>;

export interface NetworkState {
  readonly id: NetworkId;
  readonly name: string;
  readonly cidr: Cidr;
  readonly flannelId?: FlannelId;
  readonly vni?: Vni;
  /** This node's part; absent until it holds one. */
  readonly subnet?: Cidr;
  /** One word, e.g. `ready`, `pending`, `refused`. */
  readonly state: string;
  /** Containers of this node attached to it. */
  readonly containers: number;
  readonly problem?: string;
  readonly cure?: string;
}

/** Another node, as this one judges it. */
export interface PeerState {
  readonly id: NodeId;
  readonly hostname: string;
  readonly publicIp?: string;
  /** doubtful: its word has expired; what was known of it stays. */
  readonly state: "present" | "doubtful" | "dead";
  readonly containers: number;
  /** Why it counts as dead. */
  readonly sign?: string;
}

/** Something a person must act on: a setting, a refused network, a facility that fails. */
export interface Problem { readonly what: string; readonly reason: string; readonly cure: string }

export interface ErrorState { readonly code: ErrorCode; readonly message: string; readonly cure?: string }

/** The last run of one reconciler. */
export interface ReconcilerState {
  readonly reconciler: string;
  /** `never` before the first run. */
  readonly result: "idle" | "held" | "converged" | "diverged" | "unobserved" | "never";
  /** End of the run, milliseconds since 1970; absent before the first. */
  readonly atMs?: number;
  /** Number of changes applied, or left over when diverged. */
  readonly changes: number;
  /** Number of deletes held back. */
  readonly held: number;
  /** Why something wanted cannot be had yet, one sentence each. */
  readonly blocked: readonly string[];
  readonly error?: ErrorState;
}

export interface BalancerChoice { readonly engine: BalancerEngine | "off"; readonly why: string }

/** `GET /state`. */
export interface StateAnswer {
  readonly node: NodeState;
  /** Revision of the snapshot the answer was made from. */
  readonly revision: number;
  readonly sources: Readonly<Record<Authority, SourceState>>;
  /** The other nodes that told of themselves. */
  readonly nodes: readonly PeerState[];
  readonly networks: readonly NetworkState[];
  /** What spreads connections to VIPs, and why this one. */
  readonly balancer: BalancerChoice;
  readonly problems: readonly Problem[];
  /** In run order. */
  readonly engine: readonly ReconcilerState[];
  readonly version: string;
  readonly boot: string;
}

/** One range of one network: the service range (`node` is "services") or a node's subnet. */
export interface IpamRange {
  /** Docker's name; empty while there is no network. */
  readonly network: string;
  readonly flannelId: FlannelId;
  readonly cidr: Cidr;
  readonly node: string;
  readonly range: string;
  readonly capacity: number;
  readonly used: number;
  /** Given back; comes again after its rest. Known only of this node's own. */
  readonly resting: number;
  /** Nothing that exists explains them. Known only of this node's own. */
  readonly leaked: number;
}
export interface IpamFinding {
  /** leaked: --fix frees it; duplicate: a person must act. */
  readonly kind: "leaked" | "duplicate";
  readonly network: string;
  readonly address: string;
  readonly why: string;
  readonly action: string;
}
/** `GET /ipam`; `POST /ipam/fix` answers the same as it was before it freed what is leaked. */
export interface IpamAnswer { readonly ranges: readonly IpamRange[]; readonly findings: readonly IpamFinding[] }

/** One server behind a VIP. */
export interface VipBackend {
  readonly address: Ipv4;
  /** What the kernel does with it: new connections go there, only old ones do, or it is not in the kernel. */
  readonly state: "ready" | "draining" | "missing";
  readonly weight: number;
  /** Flows that the kernel tracks, those that are over not counted. */
  readonly connections: number;
  readonly drainingMs: number;
  /** Empty when no container has the address any more. */
  readonly container: string;
  readonly node: string;
}
export interface VipRow {
  /** Empty when no service has the address any more. */
  readonly service: string;
  readonly network: string;
  readonly vip: Ipv4;
  readonly scheduler: string;
  readonly backends: readonly VipBackend[];
  /** What would be changed, and why; what waits for a complete listing says so. */
  readonly differences: readonly string[];
}
/** `GET /vips`. */
export interface VipAnswer extends BalancerChoice { readonly vips: readonly VipRow[] }

/** One node's part of `GET /vips/all`. */
export interface VipNode {
  readonly id: string;
  readonly node: string;
  /** Absent when nothing was heard of it. */
  readonly balancer?: BalancerChoice;
  readonly vips: readonly VipRow[];
  /** VIPs that a long answer leaves out, and how many of them differ. */
  readonly cut: number;
  readonly cutDiffering: number;
  /** Why its VIPs are not known. */
  readonly missing?: string;
}
/** `GET /vips/all[?service=]`: this node first. */
export interface SwarmVipAnswer {
  readonly nodes: readonly VipNode[];
  /** What nodes do differently although each does what it thinks right. */
  readonly differences: readonly string[];
  /** Why the others could not be asked. */
  readonly problem?: ErrorState;
}

/** `GET /readyz`; status 200 when ready, 503 when not. */
export interface ReadyAnswer { readonly ready: boolean; readonly reasons: readonly string[] }

export interface PlannedChange { readonly op: Op; readonly key: string; readonly why: string }

/** One reconciler's part of `GET /plan`. */
export interface PlanState {
  readonly reconciler: string;
  readonly changes: readonly PlannedChange[];
  readonly held: readonly PlannedChange[];
  readonly blocked: readonly string[];
  readonly error?: ErrorState;
}

/** `GET /plan[?only=a,b]`: a dry run. */
export interface PlanAnswer { readonly revision: number; readonly plans: readonly PlanState[] }

/** `POST /reconcile[?only=a,b]`: the runs it caused, in run order. */
export interface ReconcileAnswer { readonly revision: number; readonly reports: readonly ReconcilerState[] }

/** Any answer with a status of 400 or more. */
export interface RefusedAnswer { readonly error: ErrorState }
