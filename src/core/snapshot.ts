/**
 * Three sources' views → one snapshot.
 *
 * In:  the latest `Views` of docker, etcd, memory, and the driver calls in flight.  Out: `Snapshot`.
 * Rule: pure but for the revision counter of `snapshots$`; policy per kind is data: which shard, which overlay.
 */
import { combineLatest, map, type Observable } from "rxjs";
import type { Container, Intents, NodeFacts, Snapshot, Views } from "./model.ts";
import { overlay, resolve, unite, unknownView, type Authority, type Fact, type Resolved, type View } from "./precedence.ts";

export type ViewsBySource = Readonly<Record<Authority, Views>>;

const NONE: ReadonlySet<string> = new Set();
const NOBODY: NodeFacts = { hostname: "", role: "unknown", leader: false, dockerSeen: false };

export function snapshotOf(views: ViewsBySource, intents: Intents, revision: number, nowMs: number): Snapshot {
  const kind = <K extends keyof Views>(name: K): Record<Authority, Views[K]> =>
    ({ docker: views.docker[name], etcd: views.etcd[name], memory: views.memory[name] });
  const node = resolve<NodeFacts>(kind("node")).facts.get("self")?.value ?? NOBODY;
  return {
    revision, nowMs, node,
    networks: resolve(kind("networks")),
    services: resolve(kind("services")),
    tasks: resolve(kind("tasks")),
    containers: containersOf(views, node, intents.ended),
    endpoints: overlay(resolve(kind("endpoints")), intents.begun, intents.ended),
    ended: intents.ended,
    pools: overlay(resolve(kind("pools")), intents.pools, NONE),
    subnets: overlay(resolve(kind("subnets")), intents.subnets, NONE),
    members: resolve(kind("members")),
    nodes: resolve(kind("nodes")),
    grants: resolve(kind("grants")), ownGrants: intents.grants,
    networksListed: views.docker.networks.coverage === "complete",
    servicesListed: views.docker.services.coverage === "complete",
  };
}

/** This node's containers are Docker's to tell, the other nodes' are etcd's. */
function containersOf(views: ViewsBySource, node: NodeFacts, ended: ReadonlySet<string>): Resolved<Container> {
  const here = (view: View<Container>, keep: boolean): View<Container> => ({
    coverage: view.coverage,
    items: new Map([...view.items].filter(([, container]) => (container.node === node.id) === keep)),
  });
  const own = resolve({ docker: views.docker.containers, etcd: unknownView<Container>(), memory: here(views.memory.containers, true) });
  const others = resolve({ docker: unknownView<Container>(), etcd: here(views.etcd.containers, false), memory: here(views.memory.containers, false) });
  return unite(withoutEnded(own, ended), others);
}

/** Docker ends an endpoint before its listing tells, and while dockerd stops no listing tells any more. */
function withoutEnded(own: Resolved<Container>, ended: ReadonlySet<string>): Resolved<Container> {
  if (ended.size === 0) return own;
  const facts = new Map<string, Fact<Container>>();
  for (const [key, { value, from }] of own.facts) {
    const left = Object.entries(value.networks).filter(([, { endpoint }]) => !ended.has(endpoint));
    if (left.length === Object.keys(value.networks).length) facts.set(key, { value, from });
    else if (left.length > 0) facts.set(key, { value: { ...value, networks: Object.fromEntries(left) }, from });
  }
  return { facts, settled: own.settled };
}

/** Emits once all three sources have spoken, then at each change of any. */
export function snapshots$(
  sources: Readonly<Record<Authority, Observable<Views>>>, intents$: Observable<Intents>, now: () => number,
): Observable<Snapshot> {
  let revision = 0;
  return combineLatest([sources.docker, sources.etcd, sources.memory, intents$]).pipe(
    map(([docker, etcd, memory, intents]) => snapshotOf({ docker, etcd, memory }, intents, ++revision, now())),
  );
}
