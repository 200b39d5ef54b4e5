/**
 * Which answer a name has for one container (names.md): pure, from the table alone.
 *
 * In:  table, sandbox, question.  Out: records, NODATA, NXDOMAIN, or "elsewhere": Docker's own resolver is asked.
 * Rule: a name of ours is never asked elsewhere, whatever the type; an address of a network that the sandbox is not in is never
 *       told. Of a name with dots the longest variation with a match decides, alone.
 */
import { contains, parseIpv4, prefixLength, type Cidr, type Ipv4, type NetworkId } from "../../core/ids.ts";
import type { DnsMode, DnsSandbox, DnsService, DnsZone } from "./vocabulary.ts";

export interface LookupTable {
  readonly mode: DnsMode;
  readonly zones: ReadonlyMap<NetworkId, DnsZone>;
  readonly ranges: readonly Cidr[];
}

/** What is known of one name; the record type asked for picks from it. */
export type Found =
  | { readonly kind: "name"; readonly via: "zone" | "link"; readonly ttlSeconds: number; readonly addresses: readonly Ipv4[]; readonly texts: readonly string[] }
  | { readonly kind: "service"; readonly ttlSeconds: number; readonly services: readonly DnsService[] }
  | { readonly kind: "pointer"; readonly ttlSeconds: number; readonly target: string }
  /** The name exists without records: part of a reverse name of ours. */
  | { readonly kind: "empty"; readonly ttlSeconds: number }
  | { readonly kind: "missing"; readonly ttlSeconds: number }
  | { readonly kind: "elsewhere" };

export const ELSEWHERE: Found = { kind: "elsewhere" };
/** For what belongs to no zone: an unknown address of ours may have a name soon. */
const UNKNOWN_TTL_SECONDS = 5;
const REVERSE = ".in-addr.arpa";

/** `name`: lower case, without a final dot. */
export function lookup(table: LookupTable, sandbox: DnsSandbox, name: string): Found {
  if (name === "") return ELSEWHERE;
  const zones = sandbox.zones.flatMap((network) => table.zones.get(network) ?? []);
  if (name.endsWith(REVERSE)) {
    const found = reverse(table, zones, name.slice(0, -REVERSE.length));
    if (found !== undefined) return found;
  }
  for (let dot = name.length; dot > 0; dot = name.lastIndexOf(".", dot - 1)) {
    const found = variation(table.mode, sandbox, zones, name.slice(0, dot), dot === name.length ? undefined : name.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return ELSEWHERE;
}

/** One variation: links of this container first, then names, then services' ports. */
function variation(mode: DnsMode, { links }: DnsSandbox, all: readonly DnsZone[], name: string, network: string | undefined): Found | undefined {
  const zones = network === undefined ? all : all.filter((zone) => zone.name === network);
  if (zones.length === 0) return undefined;
  const target = links.get(name);
  return (target === undefined ? undefined : namesOf(mode, zones, target, "link")) ?? namesOf(mode, zones, name, "zone") ?? servicesOf(mode, zones, name);
}

function namesOf(mode: DnsMode, zones: readonly DnsZone[], name: string, via: "zone" | "link"): Found | undefined {
  const matches = zones.flatMap((zone) => {
    const entry = zone.names.get(name);
    return entry === undefined ? [] : [{ zone, entry }];
  });
  if (matches.length === 0) return undefined;
  // A name without addresses hides no other network's: Docker goes on as well.
  const first = matches.find(({ entry }) => entry.addresses.length > 0) ?? matches[0];
  const taken = mode === "complete" || first === undefined ? matches : [first];
  return {
    kind: "name", via, ttlSeconds: leastTtl(taken.map(({ zone }) => zone)),
    addresses: [...new Set(taken.flatMap(({ entry }) => entry.addresses))], texts: [...new Set(taken.flatMap(({ entry }) => entry.texts))],
  };
}

function servicesOf(mode: DnsMode, zones: readonly DnsZone[], name: string): Found | undefined {
  if (!name.startsWith("_")) return undefined;
  const matches = zones.filter((zone) => zone.services.has(name));
  if (matches.length === 0) return undefined;
  const taken = mode === "complete" ? matches : matches.slice(0, 1);
  return { kind: "service", ttlSeconds: leastTtl(taken), services: taken.flatMap((zone) => zone.services.get(name) ?? []) };
}

const leastTtl = (zones: readonly DnsZone[]): number => Math.min(...zones.map(({ ttlSeconds }) => ttlSeconds));

/** Reverse names inside our ranges are answered here, known or not; others, malformed ones too, are not ours. */
function reverse({ ranges }: LookupTable, zones: readonly DnsZone[], reversed: string): Found | undefined {
  const labels = reversed.split(".").reverse();
  const octets = labels.slice(0, 4);
  if (!octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) <= 255)) return undefined;
  const address = parseIpv4([...octets, "0", "0", "0"].slice(0, 4).join("."));
  if (address === undefined || !ranges.some((range) => reaches(range, address, octets.length * 8))) return undefined;
  if (octets.length < 4) return { kind: "empty", ttlSeconds: UNKNOWN_TTL_SECONDS };
  const known = labels.length > 4 ? undefined : zones.find((zone) => zone.pointers.has(address));
  const target = known?.pointers.get(address);
  return known === undefined || target === undefined
    ? { kind: "missing", ttlSeconds: UNKNOWN_TTL_SECONDS }
    : { kind: "pointer", ttlSeconds: known.ttlSeconds, target };
}

/** The block of that length lies wholly inside the range. */
function reaches(range: Cidr, address: Ipv4, length: number): boolean {
  return length >= prefixLength(range) && contains(range, address);
}

