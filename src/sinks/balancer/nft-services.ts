/**
 * Services of the nftables engine as the table's listing tells them, and back as one transaction.
 *
 *   vips   10.1.0.5 → goto vip-10.1.0.5     slots   10.1.0.5 . 0 → 10.1.1.11, 10.1.0.5 . 1 → 10.1.2.7
 *
 * In:  objects of the listing; what services are to be.  Out: `NftTable`; text for `nft -f -`.
 * Rule: pure. A chain holds one rule, which draws a number below the count of servers and looks its slot up: all that a change
 * writes are elements, and perhaps one chain. Round robin counts in a chain of the service's own; beyond a thousand of those
 * services share chains by their count of servers, and numbers are drawn at random: a counter that two share is fair to neither.
 * Servers of weight 0 are kept in a set, which is how the kernel remembers whom a packet may still go to.
 */
import { VIP_TABLE } from "../../core/names.ts";
import type { Ipv4 } from "../../core/ids.ts";
import type { Json } from "../nft-table/layout.ts";
import { isList, isRow, type Row } from "../nft-table/parts.ts";
import { DRAINING, SLOTS, VIPS } from "../vip-table/frame.ts";
import { elementsOf } from "../vip-table/parse.ts";
import { anyChain, chainRule, emptyChain, isOurs, ownChain, vipOf, type ChainKind } from "./nft-chains.ts";
import type { Scheduler } from "./vocabulary.ts";

export interface NftService {
  readonly vip: Ipv4;
  readonly scheduler: Scheduler | undefined;
  readonly ready: readonly Ipv4[];
  readonly draining: readonly Ipv4[];
  /** The chain that the map names for this VIP. */
  readonly target: string | undefined;
  readonly slots: ReadonlyMap<number, Ipv4>;
  readonly fault?: string;
}
/** `chains`: ours, with the count of servers that each draws from; undefined: its rule is not as we write it. */
export interface NftTable { readonly services: ReadonlyMap<Ipv4, NftService>; readonly chains: ReadonlyMap<string, number | undefined> }

export const NO_SERVICES: NftTable = { services: new Map(), chains: new Map() };

interface Draft { target: string | undefined; readonly slots: Map<number, Ipv4>; readonly draining: Ipv4[] }

export function parseServices(objects: readonly Row[]): NftTable {
  const rules = rulesOf(objects);
  const drafts = new Map<Ipv4, Draft>();
  const draft = (vip: Ipv4): Draft => {
    const found = drafts.get(vip) ?? { target: undefined, slots: new Map(), draining: [] };
    drafts.set(vip, found);
    return found;
  };
  for (const name of rules.keys()) {
    const vip = vipOf(name);
    if (vip !== undefined) draft(vip);
  }
  for (const element of elementsOf(objects, VIPS)) {
    const [vip, verdict] = isList(element) ? element : [];
    const target = isRow(verdict) && isRow(verdict["goto"]) ? verdict["goto"]["target"] : undefined;
    if (typeof vip === "string") draft(vip as Ipv4).target = typeof target === "string" ? target : "";
  }
  for (const element of elementsOf(objects, SLOTS)) {
    const [key, address] = isList(element) ? element : [];
    const [vip, slot] = isRow(key) && isList(key["concat"]) ? key["concat"] : [];
    if (typeof vip === "string" && typeof slot === "number" && typeof address === "string") draft(vip as Ipv4).slots.set(slot, address as Ipv4);
  }
  for (const element of elementsOf(objects, DRAINING)) {
    const [vip, address] = isRow(element) && isList(element["concat"]) ? element["concat"] : [];
    if (typeof vip === "string" && typeof address === "string") draft(vip as Ipv4).draining.push(address as Ipv4);
  }
  const chains = new Map([...rules].map(([name, exprs]) => [name, countOf(name, exprs)]));
  return { chains, services: new Map([...drafts].map(([vip, found]) => [vip, serviceOf(vip, found, chains)])) };
}

function rulesOf(objects: readonly Row[]): ReadonlyMap<string, Json[]> {
  const rules = new Map<string, Json[]>();
  for (const { chain } of objects) {
    const name = isRow(chain) ? chain["name"] : undefined;
    if (typeof name === "string" && isOurs(name)) rules.set(name, []);
  }
  for (const { rule } of objects) if (isRow(rule)) rules.get(String(rule["chain"]))?.push(rule["expr"] ?? null);
  return rules;
}

/** "numgen inc mod 3" → 3, when the rule is as we write it. */
function countOf(name: string, exprs: readonly Json[]): number | undefined {
  const found = /"mod":(\d+)/.exec(JSON.stringify(exprs[0] ?? null))?.[1];
  const rule = chainRule(name, found === undefined ? 0 : Number(found));
  return rule !== undefined && JSON.stringify(exprs) === JSON.stringify(rule.json) ? rule.count : undefined;
}

function serviceOf(vip: Ipv4, { target, slots, draining }: Draft, chains: ReadonlyMap<string, number | undefined>): NftService {
  const ready = [...new Set([...slots].sort(([a], [b]) => a - b).map(([, address]) => address))];
  const isFull = ready.every((address, slot) => slots.get(slot) === address) && slots.size === ready.length;
  const isLed = target !== undefined && chains.get(target) === ready.length && (vipOf(target) ?? vip) === vip && (target === ownChain(vip) || !chains.has(ownChain(vip)));
  return {
    vip, scheduler: target === undefined ? undefined : target.startsWith("sh-") ? "sh" : "rr", ready, slots, target,
    draining: draining.filter((address) => !ready.includes(address)), ...(isFull && isLed ? {} : { fault: "the way to its servers was changed" }),
  };
}

export type NftWish = Pick<NftService, "vip" | "scheduler" | "ready" | "draining">;

/** Which chain a service is to have: its own while there are few of them. */
function kindOf({ ready, scheduler }: NftWish, isOwn: boolean): ChainKind {
  if (scheduler === "sh") return "sh";
  return isOwn && ready.length > 1 ? "own" : "any";
}

interface Batch {
  readonly remove: Record<string, string[]>;
  readonly add: Record<string, string[]>;
  readonly chains: string[];
  readonly gone: string[];
}

/** What turns the table into one where these services are so (undefined: not there), and that table. */
export function renderServices(before: NftTable, wishes: ReadonlyMap<Ipv4, NftWish | undefined>, ownChains: number): { readonly text: string; readonly table: NftTable } {
  const batch: Batch = { remove: {}, add: {}, chains: [], gone: [] };
  const [services, chains] = [new Map(before.services), new Map(before.chains)];
  let own = [...chains.keys()].filter((name) => vipOf(name) !== undefined).length;
  for (const [vip, wish] of wishes) {
    const was = before.services.get(vip);
    const name = ownChain(vip);
    const kind = wish === undefined ? "any" : kindOf(wish, chains.has(name) || own < ownChains);
    const target = wish === undefined ? undefined : kind === "own" ? name : anyChain(kind, wish.ready.length);
    const slots = new Map((wish?.ready ?? []).map((address, slot) => [slot, address]));
    elements(batch, VIPS, pairsOf(was?.target, vip), pairsOf(target, vip));
    elements(batch, SLOTS, slotsOf(vip, was?.slots), slotsOf(vip, slots));
    elements(batch, DRAINING, drainsOf(vip, was?.draining), drainsOf(vip, wish?.draining));
    if (target !== undefined) {
      own += kind === "own" && !chains.has(name) ? 1 : 0;
      chainFor(batch, chains, target, slots.size);
    }
    if (target !== name && chains.delete(name)) {
      own -= 1;
      batch.gone.push(name);
    }
    if (wish === undefined) services.delete(vip);
    else services.set(vip, { ...wish, slots, target });
  }
  const used = new Set([...services.values()].map(({ target }) => target));
  for (const name of chains.keys()) if (vipOf(name) === undefined && !used.has(name) && chains.delete(name)) batch.gone.push(name);
  return { text: textOf(batch), table: { services, chains } };
}

type Elements = ReadonlyMap<string, string>;
const pairsOf = (target: string | undefined, vip: Ipv4): Elements => new Map(target === undefined ? [] : [[vip, ` : goto ${target}`]]);
const slotsOf = (vip: Ipv4, slots: ReadonlyMap<number, Ipv4> | undefined): Elements => new Map([...slots ?? []].map(([slot, address]) => [`${vip} . ${slot}`, ` : ${address}`]));
const drainsOf = (vip: Ipv4, addresses: readonly Ipv4[] | undefined): Elements => new Map((addresses ?? []).map((address) => [`${vip} . ${address}`, ""]));

function elements({ remove, add }: Batch, set: string, was: Elements, now: Elements): void {
  for (const [key, data] of was) if (now.get(key) !== data) (remove[set] ??= []).push(key);
  for (const [key, data] of now) if (was.get(key) !== data) (add[set] ??= []).push(`${key}${data}`);
}

function chainFor({ chains: lines }: Batch, chains: Map<string, number | undefined>, name: string, count: number): void {
  if (chains.get(name) === count) return;
  lines.push(...emptyChain("add", name), ...(chainRule(name, count)?.text ?? []));
  chains.set(name, count);
}

function textOf({ remove, add, chains, gone }: Batch): string {
  const all = (verb: "add" | "delete", sets: Readonly<Record<string, string[]>>, name: string): string[] =>
    (sets[name] === undefined ? [] : [`${verb} element ip ${VIP_TABLE} ${name} { ${sets[name].join(", ")} }`]);
  const lines = [
    ...[VIPS, SLOTS, DRAINING].flatMap((set) => all("delete", remove, set)), ...chains,
    ...[SLOTS, DRAINING, VIPS].flatMap((set) => all("add", add, set)), ...gone.flatMap((name) => emptyChain("delete", name)),
  ];
  return lines.map((line) => `${line}\n`).join("");
}
