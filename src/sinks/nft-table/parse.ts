/**
 * `nft -j list table ip fnp` → the networks it isolates, and how it differs from what we would write for them.
 *
 * Rule: pure; every object of the table is compared whole, so any change made by hand inside it is seen.
 */
import { parseCidr, type Cidr, type Vni } from "../../core/ids.ts";
import { NFT_TABLE } from "../../core/names.ts";
import { ENTRY_MAP, layoutOf, networkChain, vniOfChain, type Chain, type Json, type LinkSet } from "./layout.ts";
import { canonical, differences, isList, isRow, objectsOf, partsOf, type Part, type Row } from "./parts.ts";
import type { IsolatedNetwork, ObservedNftTable } from "./vocabulary.ts";

/** `listing`: the decoded JSON document. */
export function parseTable(listing: Json): ObservedNftTable {
  const objects = objectsOf(listing);
  const found = partsOf(objects);
  const networks = networksOf(objects);
  return { networks, faults: differences(expectedParts(networks), found) };
}

function networksOf(objects: readonly Row[]): IsolatedNetwork[] {
  const entries = objects.flatMap(({ map }) => (isRow(map) && map["name"] === ENTRY_MAP && isList(map["elem"]) ? map["elem"] : []));
  const links = new Map<number, string[]>();
  for (const entry of entries) {
    const [link, verdict] = isList(entry) ? entry : [];
    const target = isRow(verdict) && isRow(verdict["goto"]) ? verdict["goto"]["target"] : undefined;
    const vni = typeof target === "string" ? vniOfChain(target) : undefined;
    if (typeof link === "string" && vni !== undefined) links.set(vni, [...(links.get(vni) ?? []), link]);
  }
  return [...links].sort(([a], [b]) => a - b).flatMap(([vni, names]) => {
    const vethPrefix = names.find((name) => name.endsWith("*"))?.slice(0, -1);
    const vxlan = names.find((name) => !name.endsWith("*"));
    const cidr = cidrOfChain(objects, networkChain({ vni: vni as Vni }));
    return vethPrefix === undefined || vxlan === undefined || cidr === undefined ? [] : [{ vni: vni as Vni, cidr, vethPrefix, vxlan }];
  });
}

/** The block that the first rule of a network's chain matches as source. */
function cidrOfChain(objects: readonly Row[], chain: string): Cidr | undefined {
  const rule = objects.map((object) => object["rule"]).find((body) => isRow(body) && body["chain"] === chain);
  const [first] = isRow(rule) && isList(rule["expr"]) ? rule["expr"] : [];
  const match = isRow(first) && isRow(first["match"]) ? first["match"]["right"] : undefined;
  const block = isRow(match) && isRow(match["prefix"]) ? match["prefix"] : undefined;
  return block === undefined ? undefined : parseCidr(`${String(block["addr"])}/${String(block["len"])}`);
}

function expectedParts(networks: readonly IsolatedNetwork[]): Part[] {
  if (networks.length === 0) return [];
  const { sets, chains } = layoutOf(networks);
  return [
    { name: `table ${NFT_TABLE}`, body: canonical({ family: "ip", name: NFT_TABLE }) },
    ...sets.map(expectedSet), ...chains.flatMap(expectedChain),
  ];
}

function expectedSet({ name, elements, map }: LinkSet): Part {
  const elem = elements.map(([link, chain]): Json => (chain === undefined ? link : [link, { goto: { target: chain } }]));
  const body: Row = { family: "ip", name, table: NFT_TABLE, type: "ifname", ...(map ? { map: "verdict" } : {}), flags: ["interval"], elem };
  return { name: `${map ? "map" : "set"} ${name}`, body: canonical(body) };
}

function expectedChain({ name, hook, rules }: Chain): Part[] {
  const place = { family: "ip", table: NFT_TABLE };
  return [
    { name: `chain ${name}`, body: canonical({ ...place, name, ...hook }) },
    ...rules.map(({ json }, index) => ({
      name: `rule ${index + 1} of chain ${name}`, body: canonical({ ...place, chain: name, expr: json }),
    })),
  ];
}
