/**
 * Snapshot, sources and engine → what `GET /state` and `GET /readyz` answer.
 *
 * Rule: pure; a person reads it, so every problem carries its cure.
 */
import { RETRY, explain, type OperatorError } from "./errors.ts";
import type { LaneState, RunReport } from "./engine.ts";
import type { NodeId } from "./ids.ts";
import type { Standing, Standings } from "./liveness.ts";
import type { Snapshot, Views } from "./model.ts";
import { brokenOf } from "./run.ts";
import { values, type Authority, type Coverage } from "./precedence.ts";
import { inUseHere, ownLease, poolByCidr } from "./select.ts";
import type { ErrorState, NetworkState, PeerState, Problem, ReadyAnswer, ReconcilerState, SourceState, StateAnswer } from "./state-answer.ts";

export interface StatusParts {
  readonly snapshot: Snapshot;
  readonly views: Readonly<Record<Authority, Views>>;
  readonly lanes: Readonly<Record<string, LaneState>>;
  readonly standings: Standings;
  readonly balancer: StateAnswer["balancer"];
  readonly problems: readonly Problem[];
  /** What users asked for and did not get; the operator itself is well. */
  readonly refused: readonly Problem[];
  readonly version: string;
  readonly boot: string;
}

export function stateAnswer({ snapshot, views, lanes, standings, balancer, problems, refused, version, boot }: StatusParts): StateAnswer {
  const { id, hostname, role, leader, address, underlay } = snapshot.node;
  return {
    node: {
      hostname, role, leader, ...(id === undefined ? {} : { id }), ...(address === undefined ? {} : { address }),
      ...(underlay === undefined ? {} : { underlay }),
    },
    revision: snapshot.revision,
    sources: { docker: coverageOf(views.docker), etcd: coverageOf(views.etcd), memory: coverageOf(views.memory) },
    nodes: [...standings].map(peerState), networks: networkStates(snapshot), balancer,
    problems: [...problems, ...refused, ...laneProblems(lanes)],
    engine: Object.entries(lanes).map(([name, lane]) => reconcilerState(name, lane.lastReport)),
    version, boot,
  };
}

const peerState = ([id, { state, record, containers, sign }]: readonly [NodeId, Standing]): PeerState => ({
  id, hostname: record?.hostname ?? "", state, containers: containers.size,
  ...(record === undefined ? {} : { publicIp: record.publicIp }), ...(sign === undefined ? {} : { sign }),
});

function coverageOf(views: Views): SourceState {
  return Object.fromEntries((Object.entries(views) as [keyof Views, { coverage: Coverage }][]).map(([kind, { coverage }]) => [kind, coverage]));
}

function networkStates(snapshot: Snapshot): readonly NetworkState[] {
  return values(snapshot.networks).map((network): NetworkState => {
    const pool = poolByCidr(snapshot, network.cidr);
    const subnet = pool === undefined ? undefined : ownLease(snapshot, pool)?.subnet;
    return {
      id: network.id, name: network.name, cidr: network.cidr,
      ...(pool === undefined ? {} : { flannelId: pool.flannelId }), ...(pool?.vni === undefined ? {} : { vni: pool.vni }),
      ...(subnet === undefined ? {} : { subnet }), state: stateWord(snapshot, network.id, pool === undefined, subnet !== undefined),
      containers: values(snapshot.endpoints).filter((endpoint) => endpoint.network === network.id).length,
    };
  }).sort((a, b) => a.name.localeCompare(b.name));
}

function stateWord(snapshot: Snapshot, id: NetworkState["id"], unknown: boolean, held: boolean): string {
  if (unknown) return "unknown to etcd";
  if (!held) return "not on this node";
  return inUseHere(snapshot, id) ? "in use" : "ready";
}

export function reconcilerState(reconciler: string, report: RunReport | undefined): ReconcilerState {
  if (report === undefined) return { reconciler, result: "never", changes: 0, held: 0, blocked: [] };
  const plan = report.result === "diverged" ? report.leftover : report.result === "unobserved" ? undefined : report.plan;
  const error = "error" in report ? report.error : undefined;
  return {
    reconciler, result: report.result, atMs: report.startedAtMs + report.durationMs, blocked: report.blocked,
    changes: plan?.changes.length ?? 0, held: plan?.held.length ?? 0, ...(error === undefined ? {} : { error: errorState(error) }),
  };
}

export const errorState = ({ code, message, cure }: OperatorError): ErrorState =>
  ({ code, message, ...(cure === undefined ? {} : { cure }) });

function laneProblems(lanes: Readonly<Record<string, LaneState>>): readonly Problem[] {
  return Object.entries(lanes).flatMap(([name, { lastReport }]): Problem[] => {
    if (lastReport === undefined) return [];
    if (lastReport.result === "unobserved" || (lastReport.result === "diverged" && lastReport.error !== undefined)) {
      const error = lastReport.error as OperatorError;
      return [{ what: name, reason: error.message, cure: error.cure ?? curePolicy(error) }];
    }
    const broken = brokenOf(lastReport);
    const waiting = lastReport.blocked.slice(0, lastReport.blocked.length - broken.length);
    return [...waiting.map((reason) => ({ what: name, reason, cure: "It is tried again by itself" })), ...broken.map((one) => ({ what: name, ...one }))];
  });
}

/** The first of them are named; an etcd that others share may hold many. */
const MOST_NAMED = 5;

/** Keys below our prefix that nobody can read. Nothing of ours fails over them, but somebody wrote them for a reason. */
export function garbageProblems(garbage: ReadonlyMap<string, string>): readonly Problem[] {
  const cure = "See who writes it (etcdctl get); delete it if nobody needs it, or choose an ETCD_PREFIX that nobody else uses";
  const named = [...garbage].sort(([a], [b]) => a.localeCompare(b)).slice(0, MOST_NAMED).map(([key, reason]) => ({ what: `etcd key ${key}`, reason: `it is ignored: ${reason}`, cure }));
  const more = garbage.size - named.length;
  return more === 0 ? named : [...named, { what: "etcd", reason: `${more} more keys below the prefix are ignored`, cure: "flannel-np events names each (source.garbage)" }];
}

const curePolicy = ({ code }: OperatorError): string =>
  RETRY[code] === "backoff" ? "It is tried again by itself; see flannel-np events" : "See flannel-np events";

/** Ready: every source has listed, no problem is open, and every reconciler has left nothing to do. */
export function readiness({ snapshot, views, lanes, problems }: StatusParts): ReadyAnswer {
  const reasons = [
    ...(snapshot.node.dockerSeen ? [] : ["Docker's API has not answered yet"]),
    ...(views.etcd.pools.coverage === "complete" ? [] : ["etcd does not answer; what was known before goes on working"]),
    ...problems.map(({ what, reason }) => `${what}: ${reason}`),
    ...Object.entries(lanes).flatMap(([name, { lastReport }]) => notConverged(name, lastReport)),
  ];
  return { ready: reasons.length === 0, reasons };
}

function notConverged(name: string, report: RunReport | undefined): readonly string[] {
  if (report === undefined) return [`${name} has not run yet`];
  if (report.result === "unobserved") return [`${name}: ${explain(report.error)}`];
  if (report.result === "diverged") return [`${name}: ${report.error === undefined ? "differences are left" : explain(report.error)}`];
  return report.blocked.map((reason) => `${name}: ${reason}`);
}
