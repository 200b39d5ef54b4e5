/**
 * etcd's views with the nodes that fell silent judged: what is last known of them stays until they count as dead.
 *
 * In:  etcd's views, what Docker's say of the swarm's nodes, what a file kept of the others.  Out: `views$`; standings for `status`.
 * Rule: decides nothing (core/liveness.ts does). Only nodes in doubt are probed, and only while etcd answers: who is cut off
 * himself does not judge. Never errors.
 */
import { BehaviorSubject, combineLatest, distinctUntilChanged, exhaustMap, filter, from, interval, map, merge, type Observable, share, ReplaySubject, withLatestFrom } from "rxjs";
import type { Emit } from "../core/events.ts";
import type { Ipv4, NodeId } from "../core/ids.ts";
import { follow, seenContainers, seenNodes, type Signs, type Standing, type Standings } from "../core/liveness.ts";
import type { Views } from "../core/model.ts";
import type { ProbeResult } from "./probe.ts";

export interface LivenessOptions {
  readonly etcd$: Observable<Views>;
  readonly docker$: Observable<Views>;
  readonly probe: (address: Ipv4) => Promise<ProbeResult>;
  readonly emit: Emit;
  /** What was known of the others before this process began. */
  readonly kept?: Standings;
  readonly probeMs?: number;
}

export interface Liveness { readonly views$: Observable<Views>; standings(): Standings }

const PROBE_MS = 2_000;

export function liveness({ etcd$, docker$, probe, emit, kept = new Map(), probeMs = PROBE_MS }: LivenessOptions): Liveness {
  const failures$ = new BehaviorSubject<ReadonlyMap<NodeId, number>>(new Map());
  let standings = kept;
  const swarm$ = docker$.pipe(map(({ members, node }) => ({ members, node })), distinctUntilChanged((a, b) => a.members === b.members && a.node === b.node));
  const judge = onlyIfNew((etcd: Views, swarm: Swarm, failures: ReadonlyMap<NodeId, number>) => {
    const signs = signsOf(etcd, swarm, failures);
    const before = standings;
    standings = follow(before, etcd, signs);
    tell(before, standings, emit);
    return { containers: seenContainers(etcd.containers, standings, signs), nodes: seenNodes(etcd.nodes, standings) };
  });
  const judged$ = combineLatest([etcd$, swarm$, failures$]).pipe(
    map(([etcd, swarm, failures]) => ({ ...etcd, ...judge(etcd, swarm, failures) })),
  );
  const probing$ = interval(probeMs).pipe(
    withLatestFrom(etcd$), filter(([, { nodes }]) => nodes.coverage !== "unknown"),
    exhaustMap(() => from(probeAll(doubtful(standings), probe, failures$.value))),
    filter((next) => !sameCounts(next, failures$.value)), map((next) => { failures$.next(next); }), filter(() => false),
  ) as Observable<never>;
  return { views$: merge(judged$, probing$).pipe(share({ connector: () => new ReplaySubject(1) })), standings: () => standings };
}

type Swarm = Pick<Views, "members" | "node">;
type Judged = Pick<Views, "containers" | "nodes">;

/** Most changes of etcd and all of other kinds concern no node. */
function onlyIfNew(judge: (etcd: Views, swarm: Swarm, failures: ReadonlyMap<NodeId, number>) => Judged): typeof judge {
  let last: readonly unknown[] = [];
  let judged: Judged | undefined;
  return (etcd, swarm, failures) => {
    const now = [etcd.containers, etcd.nodes, etcd.members, swarm, failures];
    if (judged === undefined || now.some((part, n) => part !== last[n])) judged = judge(etcd, swarm, failures);
    last = now;
    return judged;
  };
}

/** A manager's own list; elsewhere the copy that managers published. */
function signsOf(etcd: Views, { members, node }: Swarm, failures: ReadonlyMap<NodeId, number>): Signs {
  const { id: self, underlay, hostname = "" } = node.items.get("self") ?? {};
  return {
    members: members.coverage === "complete" ? members.items : etcd.members.items, failures,
    ...(self === undefined ? {} : { self }), ...(underlay === undefined ? {} : { machine: { hostname, address: underlay.address } }),
  };
}

const doubtful = (standings: Standings): readonly (readonly [NodeId, Ipv4])[] =>
  [...standings].flatMap(([id, { state, record }]) => (state === "doubtful" && record !== undefined ? [[id, record.publicIp] as const] : []));

async function probeAll(
  nodes: readonly (readonly [NodeId, Ipv4])[], probe: LivenessOptions["probe"], before: ReadonlyMap<NodeId, number>,
): Promise<ReadonlyMap<NodeId, number>> {
  const counts = await Promise.all(nodes.map(async ([id, address]) => {
    const count = before.get(id) ?? 0;
    const result = await probe(address);
    return [id, result === "answered" ? 0 : result === "silent" ? count + 1 : count] as const;
  }));
  return new Map(counts.filter(([, count]) => count > 0));
}

const sameCounts = (a: ReadonlyMap<NodeId, number>, b: ReadonlyMap<NodeId, number>): boolean =>
  a.size === b.size && [...a].every(([id, count]) => b.get(id) === count);

function tell(before: Standings, now: Standings, emit: Emit): void {
  if (before === now) return;
  for (const [id, standing] of now) {
    const was = before.get(id)?.state;
    if (standing.state === "dead" && was !== "dead") dead(id, before.get(id) ?? standing, standing.sign ?? "", emit);
    if (standing.state === "doubtful" && was === "present") emit("node.doubtful", { node: id, hostname: nameOf(standing), containers: standing.containers.size });
    if (standing.state === "present" && was !== undefined && was !== "present") emit("node.returned", { node: id, hostname: nameOf(standing) });
  }
}

const dead = (node: NodeId, standing: Standing, sign: string, emit: Emit): void =>
  emit("node.dead", { node, hostname: nameOf(standing), sign, containers: standing.containers.size });

const nameOf = ({ record }: Standing): string => record?.hostname ?? "";
