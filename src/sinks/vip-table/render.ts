/**
 * Changes around the balancer → one transaction for `nft -f -`.
 *
 * Rule: pure; what is whole is only added to or taken from, so a change costs what it changes. What was changed by hand is
 * written again in place, and only a table that cannot be mended is made anew: then the balancer fills it again.
 */
import { VIP_TABLE } from "../../core/names.ts";
import { ENTRY, frameOf, fromChain, fromRule, LOOPS, RANGES, vniOf, type FrameChain, type FrameOf, type FrameSet } from "./frame.ts";
import type { SeenVips } from "./parse.ts";
import type { VipChange, VipEntries, VipEntry, VipNetwork } from "./vocabulary.ts";

const CLEAN = `table ip ${VIP_TABLE}\ndelete table ip ${VIP_TABLE}\n`;

export function renderVips(changes: readonly VipChange[], seen: SeenVips, chains: readonly string[], of: FrameOf): string {
  const frame = changes.find(({ entry }) => entry.kind === "frame");
  if (frame?.op === "delete") return CLEAN;
  if (frame !== undefined || !seen.entries.has("frame")) return whole(after(seen.entries, changes), seen, chains, of);
  const leaving = changes.some(({ op, entry }) => op !== "create" && entry.kind === "network");
  return (leaving ? command("flush", `map ip ${VIP_TABLE} ${ENTRY}`) + staying(seen.entries, changes).map((network) => element("add", ENTRY, entryOf(network))).join("") : "")
    + [...changes].sort((a, b) => Number(b.op === "delete") - Number(a.op === "delete")).map((change) => one(change, seen.entries, of)).join("");
}

/** nft 1.0.6 finds no element that ends with an asterisk, so where one must go all go, and the others come back. */
function staying(entries: VipEntries, changes: readonly VipChange[]): readonly VipNetwork[] {
  const touched = new Set(changes.map(({ key }) => key));
  return [...entries].flatMap(([key, entry]) => (entry.kind === "network" && !touched.has(key) ? [entry.network] : []));
}

function after(entries: VipEntries, changes: readonly VipChange[]): readonly VipEntry[] {
  const final = new Map(entries);
  for (const { op, key, entry } of changes) {
    if (op === "delete") final.delete(key);
    else final.set(key, entry);
  }
  return [...final.values()];
}

function one({ op, key, entry }: VipChange, entries: VipEntries, of: FrameOf): string {
  const was = entries.get(key);
  return `${op === "create" || was === undefined ? "" : taken(was)}${op === "delete" ? "" : added(entry, of)}`;
}

const command = (verb: string, rest: string): string => `${verb} ${rest}\n`;
const element = (verb: "add" | "delete", set: string, text: string): string => command(verb, `element ip ${VIP_TABLE} ${set} { ${text} }`);
const entryOf = (network: VipNetwork): string => `"${network.vethPrefix}*" : goto ${fromChain(network)}`;
type Loop = Extract<VipEntry, { kind: "loop" }>;
const loopOf = ({ address, gateway }: Loop): string => `${address} . ${address} : ${gateway}`;

function added(entry: VipEntry, of: FrameOf): string {
  if (entry.kind === "frame") return "";
  if (entry.kind === "loop") return element("add", LOOPS, loopOf(entry));
  const { network } = entry;
  return command("add", `chain ip ${VIP_TABLE} ${fromChain(network)}`) + command("add", `rule ip ${VIP_TABLE} ${fromChain(network)} ${fromRule(network, of).text}`)
    + members(entry);
}

function members(entry: VipEntry): string {
  if (entry.kind === "frame") return "";
  if (entry.kind === "loop") return element("add", LOOPS, loopOf(entry));
  return element("add", RANGES, entry.network.range) + element("add", ENTRY, entryOf(entry.network));
}

/** Inside the table's block: nft 1.0.6 finds no chain that is added outside it while the table itself is made anew. */
const networkChains = (entries: readonly VipEntry[], of: FrameOf): readonly FrameChain[] =>
  entries.flatMap((entry) => (entry.kind === "network" ? [{ name: fromChain(entry.network), rules: [fromRule(entry.network, of)] }] : []));

function taken(entry: VipEntry): string {
  if (entry.kind === "frame") return "";
  if (entry.kind === "loop") return element("delete", LOOPS, loopOf(entry));
  const chain = `chain ip ${VIP_TABLE} ${fromChain(entry.network)}`;
  return element("delete", RANGES, entry.network.range) + command("flush", chain) + command("delete", chain);
}

/** `chains`: all that the table has now. */
function whole(entries: readonly VipEntry[], seen: SeenVips, chains: readonly string[], of: FrameOf): string {
  const { sets, chains: frame } = frameOf(of);
  const anew = seen.broken || !seen.entries.has("frame");
  const emptied = anew ? CLEAN : [
    ...[RANGES, ENTRY, LOOPS].map((name) => command("flush", `${name === RANGES ? "set" : "map"} ip ${VIP_TABLE} ${name}`)),
    ...frame.map(({ name }) => command("flush", `chain ip ${VIP_TABLE} ${name}`)),
    ...chains.filter((name) => vniOf(name) !== undefined).map((name) => command("flush", `chain ip ${VIP_TABLE} ${name}`) + command("delete", `chain ip ${VIP_TABLE} ${name}`)),
  ].join("");
  return `${emptied}table ip ${VIP_TABLE} {\n${anew ? sets.map(renderSet).join("") : ""}${[...networkChains(entries, of), ...frame].map(renderChain).join("")}}\n${entries.map(members).join("")}`;
}

function renderSet({ name, declared, data, interval }: FrameSet): string {
  return `\t${data === undefined ? "set" : "map"} ${name} {\n\t\ttypeof ${declared}\n${interval ? "\t\tflags interval\n" : ""}\t}\n`;
}

function renderChain({ name, hook, rules }: FrameChain): string {
  const head = hook === undefined ? "" : `\t\ttype ${hook.type} hook ${hook.hook} priority ${hook.prio}; policy accept;\n`;
  return `\tchain ${name} {\n${head}${rules.map(({ text }) => `\t\t${text}\n`).join("")}\t}\n`;
}
