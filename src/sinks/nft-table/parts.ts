/**
 * A table as nft lists it in JSON, part by part, in a form that two versions of nft agree on.
 *
 * Rule: pure; every object is compared whole, so any change made by hand inside it is seen.
 */
import type { Json } from "./layout.ts";

export type Row = { readonly [key: string]: Json };
/** One object of a listing: "chain isolate", and all that nft tells about it. */
export interface Part { readonly name: string; readonly body: Json }

export const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);
export const isRow = (value: Json | undefined): value is Row => typeof value === "object" && value !== null && !isList(value);

/** `listing`: the decoded JSON document. */
export const objectsOf = (listing: Json): readonly Row[] =>
  (isRow(listing) && isList(listing["nftables"]) ? listing["nftables"].filter(isRow) : []);

/** Rules get their place in the chain as a name: their order matters. */
export function partsOf(objects: readonly Row[]): Part[] {
  const places = new Map<string, number>();
  return objects.flatMap((object) => Object.entries(object)).flatMap(([kind, body]): Part[] => {
    if (kind === "metainfo" || !isRow(body)) return [];
    if (kind !== "rule") return [{ name: `${kind} ${String(body["name"] ?? "")}`, body: canonical(body) }];
    const chain = String(body["chain"]);
    const place = (places.get(chain) ?? 0) + 1;
    places.set(chain, place);
    return [{ name: `rule ${place} of chain ${chain}`, body: canonical(body) }];
  });
}

/** Without handles, keys sorted; nft 1.1 writes a single flag without its list, sets have no order. */
export function canonical(value: Json, key = ""): Json {
  if (isList(value)) {
    const items = value.map((item) => canonical(item));
    if (key === "flags" && items.length === 1) return items[0] ?? null;
    return key === "elem" || key === "flags" ? items.sort((a, b) => compare(JSON.stringify(a), JSON.stringify(b))) : items;
  }
  if (!isRow(value)) return value;
  if (key === "type" && value["typeof"] !== undefined) return typesOf(value["typeof"]);
  const entries = Object.entries(value).filter(([name]) => name !== "handle");
  return Object.fromEntries(entries.sort(([a], [b]) => compare(a, b)).map(([name, item]) => [name, canonical(item, name)]));
}

/**
 * Sets are declared by what their keys are (`typeof ip daddr`), which nft 1.1 lists again and nft 1.0 lists as types. Of a set that
 * nft 1.1 made by a type's name nft 1.0.6 dies (segmentation fault): the host's own, or this plugin's after one from a newer Debian.
 */
function typesOf(key: Json): Json {
  if (!isRow(key)) return key;
  const { concat, meta, payload } = key;
  if (isList(concat)) return concat.map(typesOf);
  const name = isRow(meta) ? `meta ${String(meta["key"])}` : isRow(payload) ? `${String(payload["protocol"])} ${String(payload["field"])}` : "";
  return TYPES[name] ?? key;
}
const TYPES: Readonly<Record<string, string>> = { "ip daddr": "ipv4_addr", "ip saddr": "ipv4_addr", "meta iifname": "ifname", "meta length": "integer" };

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function differences(expected: readonly Part[], found: readonly Part[]): string[] {
  const there = new Map(found.map(({ name, body }) => [name, JSON.stringify(body)]));
  const wanted = new Set(expected.map(({ name }) => name));
  return [
    ...expected.filter(({ name }) => !there.has(name)).map(({ name }) => `${name} is missing`),
    ...expected.filter(({ name, body }) => there.has(name) && there.get(name) !== JSON.stringify(body)).map(({ name }) => `${name} was changed`),
    ...found.filter(({ name }) => !wanted.has(name)).map(({ name }) => `${name} is not ours`),
  ];
}
