/**
 * When a node that fell silent counts as dead (design D15), and what of it the others still see until then.
 *
 * In:  nodes and containers as etcd shows them, swarm's list of nodes, failed probes.  Out: `Standings`; views that follow from them.
 * Rule: pure. A node whose record is gone, or waits in maintenance, keeps the containers last known of it until swarm lists it
 * down or drops it, or it fails three probes; its own word brings it back at once. A lost etcd changes no verdict.
 */
import type { Ipv4, NodeId } from "./ids.ts";
import type { Container, Member, NodeRecord, Views } from "./model.ts";
import type { View } from "./precedence.ts";

export const PROBES_TO_DIE = 3;

export interface Standing {
  readonly state: "present" | "doubtful" | "dead";
  /** As last told; absent for a node of which only containers are listed. */
  readonly record?: NodeRecord;
  /** As last told; of a dead node those whose keys are still to expire. */
  readonly containers: ReadonlyMap<string, Container>;
  /** Why it counts as dead. */
  readonly sign?: string;
}
export type Standings = ReadonlyMap<NodeId, Standing>;

export interface Signs {
  readonly members: ReadonlyMap<string, Member>;
  /** This node: a list that lacks it is no list of its swarm. */
  readonly self?: NodeId;
  /** This machine: a record of its name and address is one it left behind under another id. */
  readonly machine?: { readonly hostname: string; readonly address: Ipv4 };
  /** Probes failed in a row. */
  readonly failures: ReadonlyMap<NodeId, number>;
}

export function follow(before: Standings, { nodes, containers }: Pick<Views, "nodes" | "containers">, signs: Signs): Standings {
  if (nodes.coverage === "unknown" || containers.coverage === "unknown") return before;
  const listed = byNode(containers.items);
  const taken = new Set([...nodes.items.values()].filter(speaks).map(({ publicIp }) => publicIp));
  const ids = new Set([...before.keys(), ...listed.keys(), ...nodes.items.keys()] as NodeId[]);
  const next = new Map<NodeId, Standing>();
  for (const id of [...ids].sort()) {
    if (id === signs.self) continue;
    const standing = judge(id, before.get(id), nodes.items.get(id), listed.get(id) ?? NONE, signs, taken);
    if (standing !== undefined) next.set(id, standing);
  }
  return next;
}

const speaks = ({ maintenance }: NodeRecord): boolean => maintenance !== true;
const NONE: ReadonlyMap<string, Container> = new Map();

function judge(
  id: NodeId, last: Standing | undefined, told: NodeRecord | undefined, listed: ReadonlyMap<string, Container>, signs: Signs,
  taken: ReadonlySet<Ipv4>,
): Standing | undefined {
  if (told !== undefined && speaks(told)) {
    return last?.state === "present" && last.record === told && sameItems(last.containers, listed) ? last : { state: "present", record: told, containers: listed };
  }
  const record = told ?? last?.record;
  const sign = last?.sign ?? (record !== undefined && (taken.has(record.publicIp) || isOurs(record, signs)) ? "another node has its address" : signOf(id, signs));
  if (sign !== undefined) {
    // Its keys may outlive the verdict: as long as they do, so does the verdict.
    return last?.state === "dead" && listed.size === 0 && told === undefined ? undefined : { state: "dead", ...(record === undefined ? {} : { record }), containers: listed, sign };
  }
  // In maintenance the keys are there; without a record they went with it, all at once.
  const kept = told === undefined ? new Map([...last?.containers ?? NONE, ...listed]) : listed;
  if (record === undefined && kept.size === 0) return undefined;
  return { state: "doubtful", ...(record === undefined ? {} : { record }), containers: kept };
}

const isOurs = ({ hostname, publicIp }: NodeRecord, { machine }: Signs): boolean => hostname === machine?.hostname && publicIp === machine.address;

function signOf(id: NodeId, { members, self, failures }: Signs): string | undefined {
  const member = members.get(id);
  if (member?.state === "down") return "Docker lists it down";
  if (member === undefined && self !== undefined && members.has(self)) return "Docker lists it no more";
  return (failures.get(id) ?? 0) >= PROBES_TO_DIE ? `it failed ${PROBES_TO_DIE} probes` : undefined;
}

function byNode(items: ReadonlyMap<string, Container>): ReadonlyMap<NodeId, ReadonlyMap<string, Container>> {
  const nodes = new Map<NodeId, Map<string, Container>>();
  for (const [key, container] of items) {
    const there = nodes.get(container.node);
    if (there === undefined) nodes.set(container.node, new Map([[key, container]]));
    else there.set(key, container);
  }
  return nodes;
}

/**
 * The containers of all others that a snapshot may speak of: those of the dead are out, those in doubt are in. What swarm runs on
 * a node that it lists down is given up at once: it is being started elsewhere. The view itself where that changes nothing.
 */
export function seenContainers(containers: View<Container>, standings: Standings, { members, self }: Signs): View<Container> {
  const items = new Map(self === undefined ? [] : [...containers.items].filter(([, { node }]) => node === self));
  for (const [id, { state, containers: own }] of standings) {
    if (state === "dead") continue;
    const down = members.get(id)?.state === "down";
    for (const [key, container] of own) if (!down || container.task === undefined) items.set(key, container);
  }
  return sameItems(items, containers.items) ? containers : { coverage: containers.coverage, items };
}

/** Records of nodes that are not dead. */
export function seenNodes(nodes: View<NodeRecord>, standings: Standings): View<NodeRecord> {
  const items = new Map(nodes.items);
  for (const [id, { state, record }] of standings) {
    if (state === "dead") items.delete(id);
    else if (record !== undefined) items.set(id, record);
  }
  return sameItems(items, nodes.items) ? nodes : { coverage: nodes.coverage, items };
}

const sameItems = <T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
