/**
 * The query of a debug call.
 *
 * Rule: pure; a name or value that means nothing is refused with what would: a misspelt `only` must not run everything.
 */
import { OperatorError } from "../../core/errors.ts";
import type { Level } from "../../core/events.ts";

const LEVELS: readonly Level[] = ["error", "warn", "info", "debug"];
const refused = (what: string, cure: string): OperatorError => new OperatorError("invalid", `Cannot read the query: ${what}`, { cure });

/** Throws `invalid` for a parameter outside `known` or given twice. */
export function onlyKnown(query: URLSearchParams, known: readonly string[]): void {
  for (const name of new Set(query.keys())) {
    if (!known.includes(name)) throw refused(`there is no parameter ${JSON.stringify(name)}`, `There ${known.length === 0 ? "are none" : `is ${known.join(", ")}`}`);
    if (query.getAll(name).length > 1) throw refused(`${name} is given more than once`, "Give it once; several names are separated by commas");
  }
}

/** `only=a,b` in run order; all names without it. */
export function chosen(query: URLSearchParams, names: readonly string[]): readonly string[] {
  const asked = (query.get("only") ?? "").split(",").map((name) => name.trim()).filter((name) => name !== "");
  const unknown = asked.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw refused(`there is no reconciler ${unknown.map((name) => JSON.stringify(name)).join(", ")}`, `There are: ${names.join(", ")}`);
  return asked.length === 0 ? names : names.filter((name) => asked.includes(name));
}

/** Where a reader of the event log stands; without a boot, in the life that runs now. */
export interface Cursor { readonly boot?: string; readonly seq: number }
export interface EventsQuery { readonly after?: Cursor; readonly follow: boolean; readonly levels: readonly Level[] }

export function eventsQuery(query: URLSearchParams): EventsQuery {
  const after = cursorOf(query.get("after") ?? "");
  const follow = query.get("follow") ?? "";
  if (!["", "0", "1", "false", "true"].includes(follow)) throw refused(`follow is ${JSON.stringify(follow)}`, "Give follow=1 or leave it out");
  const level = query.get("level") ?? "";
  const rank = level === "" ? LEVELS.length - 1 : LEVELS.indexOf(level as Level);
  if (rank < 0) throw refused(`level is ${JSON.stringify(level)}`, `Give one of ${LEVELS.join(", ")}`);
  return { follow: follow === "1" || follow === "true", levels: LEVELS.slice(0, rank + 1), ...(after === undefined ? {} : { after }) };
}

function cursorOf(text: string): Cursor | undefined {
  if (text === "") return undefined;
  const [, boot, seq] = /^(?:([A-Za-z0-9_-]+):)?(\d{1,15})$/.exec(text) ?? [];
  if (seq === undefined) throw refused(`after is ${JSON.stringify(text)}`, "Give a seq, or <boot>:<seq> of a line you have");
  return boot === undefined ? { seq: Number(seq) } : { boot, seq: Number(seq) };
}
