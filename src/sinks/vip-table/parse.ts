/**
 * `nft -j list table ip fnp-vips` → networks and loops, and how the rest differs from the frame.
 *
 * Rule: pure; the balancer's chains and elements are not looked at here.
 */
import { VIP_TABLE } from "../../core/names.ts";
import type { Cidr, Ipv4, Vni } from "../../core/ids.ts";
import { parseCidr } from "../../core/ids.ts";
import type { Json } from "../nft-table/layout.ts";
import { canonical, differences, isList, isRow, objectsOf, partsOf, type Part, type Row } from "../nft-table/parts.ts";
import { block, ENTRY, frameOf, fromChain, fromRule, LOOPS, RANGES, vniOf, type FrameChain, type FrameOf, type FrameSet } from "./frame.ts";
import { vipKey, type VipEntry, type VipNetwork, type VipState } from "./vocabulary.ts";

/** `broken`: only a table made anew mends it (a set of another type, a hook elsewhere, objects that are not ours). */
export interface SeenVips extends VipState { readonly broken: boolean }

export const NO_VIPS: SeenVips = { entries: new Map(), faults: [], broken: false };

export function parseVips(listing: Json, of: FrameOf): SeenVips {
  const objects = objectsOf(listing);
  const networks = networksOf(objects);
  const entries: VipEntry[] = [{ kind: "frame" }, ...networks.map((network): VipEntry => ({ kind: "network", network })), ...loopsOf(objects)];
  const others = objects.filter(({ chain, rule }) => !isBalancers(isRow(chain) ? chain["name"] : isRow(rule) ? rule["chain"] : undefined));
  const faults = differences(expectedParts(networks, of), partsOf(others.map(withoutElements)));
  const doubts = [...doubtful(objects, RANGES, networks.map(({ range }) => block(range))), ...doubtful(objects, ENTRY, networks.map(entryElement))];
  return { entries: new Map(entries.map((entry) => [vipKey(entry), entry])), faults: [...faults, ...doubts], broken: faults.some(isDeep) };
}

/** Elements of a set or map of the table. */
export function elementsOf(objects: readonly Row[], name: string): readonly Json[] {
  for (const { set, map } of objects) {
    const body = set ?? map;
    if (isRow(body) && body["name"] === name && isList(body["elem"])) return body["elem"];
  }
  return [];
}

const isBalancers = (chain: Json | undefined): boolean => typeof chain === "string" && /^(vip-[0-9.]+|(any|sh)-\d+)$/.test(chain);
/** A chain without a hook that misses rules, or a base chain's changed rule, is written again where it is. */
const isDeep = (fault: string): boolean => !/^rule \d+ of chain /.test(fault) && !/^chain from-\d+ /.test(fault);

function withoutElements(object: Row): Row {
  return Object.fromEntries(Object.entries(object).map(([kind, body]) => {
    if (!isRow(body) || (kind !== "set" && kind !== "map")) return [kind, body];
    const { elem: _elements, ...rest } = body;
    return [kind, rest];
  }));
}

function networksOf(objects: readonly Row[]): VipNetwork[] {
  return elementsOf(objects, ENTRY).flatMap((entry): VipNetwork[] => {
    const [link, verdict] = isList(entry) ? entry : [];
    const chain = isRow(verdict) && isRow(verdict["goto"]) ? verdict["goto"]["target"] : undefined;
    const vni = typeof chain === "string" ? vniOf(chain) : undefined;
    const range = typeof chain === "string" ? rangeOf(objects, chain) : undefined;
    return typeof link === "string" && vni !== undefined && range !== undefined ? [{ vni: vni as Vni, range, vethPrefix: link.replace(/\*$/, "") }] : [];
  }).sort((a, b) => a.vni - b.vni);
}

/** The block that the first rule of a network's chain matches. */
function rangeOf(objects: readonly Row[], chain: string): Cidr | undefined {
  const rule = objects.map((object) => object["rule"]).find((body) => isRow(body) && body["chain"] === chain);
  const [first] = isRow(rule) && isList(rule["expr"]) ? rule["expr"] : [];
  const right = isRow(first) && isRow(first["match"]) ? first["match"]["right"] : undefined;
  const prefix = isRow(right) && isRow(right["prefix"]) ? right["prefix"] : undefined;
  return prefix === undefined ? undefined : parseCidr(`${String(prefix["addr"])}/${String(prefix["len"])}`);
}

function loopsOf(objects: readonly Row[]): VipEntry[] {
  return elementsOf(objects, LOOPS).flatMap((element): VipEntry[] => {
    const [pair, gateway] = isList(element) ? element : [];
    const [address, same] = isRow(pair) && isList(pair["concat"]) ? pair["concat"] : [];
    return typeof address === "string" && address === same && typeof gateway === "string"
      ? [{ kind: "loop", address: address as Ipv4, gateway: gateway as Ipv4 }] : [];
  });
}

const entryElement = (network: VipNetwork): Json => [`${network.vethPrefix}*`, { goto: { target: fromChain(network) } }];

function doubtful(objects: readonly Row[], set: string, expected: readonly Json[]): string[] {
  const text = (elements: readonly Json[]): string => JSON.stringify(canonical(elements, "elem"));
  return text(elementsOf(objects, set)) === text(expected) ? [] : [`elements of ${set} were changed`];
}

function expectedParts(networks: readonly VipNetwork[], of: FrameOf): Part[] {
  const { sets, chains } = frameOf(of);
  const from = networks.map((network): FrameChain => ({ name: fromChain(network), rules: [fromRule(network, of)] }));
  return [
    { name: `table ${VIP_TABLE}`, body: canonical({ family: "ip", name: VIP_TABLE }) },
    ...sets.map(expectedSet), ...[...chains, ...from].flatMap(expectedChain),
  ];
}

function expectedSet({ name, types, data, interval }: FrameSet): Part {
  const body: Row = { family: "ip", name, table: VIP_TABLE, type: types as Json, ...(data === undefined ? {} : { map: data }), ...(interval ? { flags: ["interval"] } : {}) };
  return { name: `${data === undefined ? "set" : "map"} ${name}`, body: canonical(body) };
}

function expectedChain({ name, hook, rules }: FrameChain): Part[] {
  const place = { family: "ip", table: VIP_TABLE };
  return [
    { name: `chain ${name}`, body: canonical({ ...place, name, ...(hook === undefined ? {} : { ...hook, policy: "accept" }) }) },
    ...rules.map(({ json }, index) => ({ name: `rule ${index + 1} of chain ${name}`, body: canonical({ ...place, chain: name, expr: json }) })),
  ];
}
