/**
 * What every node's kernel does with each VIP, side by side: `GET /vips/all`.
 *
 * In:  this node's report, the others' answers, who there is.  Out: a part per node, what differs between them, who is missing and why.
 * Rule: pure. An answer to another node is cut to a size: VIPs that differ come first, what is left out is counted.
 */
import type { Snapshot } from "./model.ts";
import { values } from "./precedence.ts";
import type { SwarmVipAnswer, VipNode, VipRow } from "./state-answer.ts";

export interface VipQuestion {
  readonly id: string;
  /** Node id of who asks. */
  readonly asker: string;
  /** Name or VIP; absent: all. */
  readonly service?: string;
  /** Longest answer, in characters of JSON. */
  readonly size: number;
}

/** Every node that watches etcd gets every answer, so all of them together stay this long. */
const ALL_ANSWERS = 2 ** 21;
/** Below etcd's limit of one request, 1.5 MiB. */
const LONGEST_ANSWER = 2 ** 19;
const SHORTEST_ANSWER = 2 ** 14;

export const answerSize = (nodes: number): number => Math.max(SHORTEST_ANSWER, Math.min(LONGEST_ANSWER, Math.floor(ALL_ANSWERS / Math.max(1, nodes))));

export const rowsOf = (vips: readonly VipRow[], service: string | undefined): readonly VipRow[] =>
  vips.filter((row) => service === undefined || row.service === service || row.vip === service);

const differs = ({ differences }: VipRow): boolean => differences.length > 0;

/** As much of it as the size allows, whatever size a stranger's question names. */
export function cutTo(size: number, part: VipNode): VipNode {
  const kept = new Set<VipRow>();
  let left = Math.min(size, LONGEST_ANSWER);
  for (const row of [...part.vips.filter(differs), ...part.vips.filter((one) => !differs(one))]) {
    const length = JSON.stringify(row).length + 1;
    if (length > left) continue;
    left -= length;
    kept.add(row);
  }
  const out = part.vips.filter((row) => !kept.has(row));
  return { ...part, vips: part.vips.filter((row) => kept.has(row)), cut: out.length, cutDiffering: out.filter(differs).length };
}

export const silent = (id: string, node: string, missing: string): VipNode => ({ id, node, vips: [], cut: 0, cutDiffering: 0, missing });

/** Another node: asked when a plugin speaks there, else known by why it cannot answer. */
export interface Neighbour { readonly id: string; readonly node: string; readonly mute?: string }

/** All of swarm's nodes and all that told of themselves, this one left out. */
export function neighboursOf({ node, nodes, members }: Pick<Snapshot, "node" | "nodes" | "members">): readonly Neighbour[] {
  const found = new Map<string, Neighbour>(values(members).map(({ id, hostname, state }) => [id, { id, node: hostname, mute: `no plugin speaks there; swarm says ${state}` }]));
  for (const { id, hostname, maintenance } of values(nodes)) {
    found.set(id, { id, node: hostname, ...(maintenance === true ? { mute: "its plugin was stopped" } : {}) });
  }
  if (node.id !== undefined) found.delete(node.id);
  return [...found.values()].sort((a, b) => a.node.localeCompare(b.node, "en", { numeric: true }));
}

export interface Heard {
  readonly own: VipNode;
  readonly neighbours: readonly Neighbour[];
  readonly answers: ReadonlyMap<string, VipNode>;
  readonly waitedMs: number;
  readonly problem?: NonNullable<SwarmVipAnswer["problem"]>;
}

export function swarmVips({ own, neighbours, answers, waitedMs, problem }: Heard): SwarmVipAnswer {
  const why = problem === undefined ? `no answer within ${waitedMs / 1_000} s; it may be of an older version` : "it could not be asked";
  const strangers = [...answers.values()].filter(({ id }) => id !== own.id && !neighbours.some((one) => one.id === id));
  const parts = [own, ...neighbours.map(({ id, node, mute }) => answers.get(id) ?? silent(id, node, mute ?? why)), ...strangers];
  return { nodes: parts, differences: between(parts), ...(problem === undefined ? {} : { problem }) };
}

/** Servers that take new connections on one node and not on another that has the VIP, where no node's own table is wrong. */
function between(parts: readonly VipNode[]): readonly string[] {
  const seen = new Map<string, { readonly node: string; readonly row: VipRow }[]>();
  for (const { node, vips } of parts) for (const row of vips) seen.set(row.vip, [...seen.get(row.vip) ?? [], { node, row }]);
  return [...seen].flatMap(([vip, places]) => {
    if (places.some(({ row }) => differs(row))) return [];
    const sets = places.map(({ node, row }) => ({ node, ready: new Set<string>(row.backends.filter(({ state }) => state === "ready").map(({ address }) => address)) }));
    const all = [...new Set(sets.flatMap(({ ready }) => [...ready]))].sort();
    return all.flatMap((address) => {
      const without = sets.filter(({ ready }) => !ready.has(address)).map(({ node }) => node);
      const on = sets.filter(({ ready }) => ready.has(address)).map(({ node }) => node);
      return without.length === 0 ? [] : [`${vip}>${address} takes connections on ${on.join(", ")}, not on ${without.join(", ")}`];
    });
  });
}
