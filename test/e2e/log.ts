/**
 * The event log and the status of a node, for suites that check that something was said; never that something is so.
 */
import { debug, must, type Node } from "./bed.ts";

interface Line { readonly boot: string; readonly seq: number; readonly event: string }
export interface Applied extends Line { readonly reconciler: string; readonly op: string; readonly key: string; readonly why: string }
/** A place in the log: `boot:seq`. */
export type Cursor = string;

async function lines(node: Node, query: string): Promise<readonly Line[]> {
  const text = await must(node, ["curl", "-s", "--unix-socket", "/run/flannel-np/debug.sock", `http://debug/events${query}`]);
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Line);
}

/** The end of the log. */
export async function cursor(node: Node): Promise<Cursor> {
  const last = (await lines(node, "")).at(-1);
  if (last === undefined) throw new Error(`Cannot read the event log of ${node.name}: it is empty`);
  return `${last.boot}:${last.seq}`;
}

export const applied = async (node: Node, after: Cursor): Promise<readonly Applied[]> =>
  (await lines(node, `?after=${after}`)).filter((line): line is Applied => line.event === "change.applied");

/** Sentences of `reconcile.blocked` after a place. */
export const blockedSince = async (node: Node, after: Cursor): Promise<readonly string[]> =>
  (await lines(node, `?after=${after}`)).flatMap((line) => (line.event === "reconcile.blocked" ? (line as Line & { readonly reasons: readonly string[] }).reasons : []));

export interface Said { readonly what: string; readonly reason: string; readonly cure: string }

/** What `flannel-np status` tells a person to do. */
export const problems = async (node: Node): Promise<readonly Said[]> =>
  ((await debug(node, "GET", "/state")).body as { readonly problems: readonly Said[] }).problems;
