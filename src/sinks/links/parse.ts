/**
 * JSON of `ip` and values of /proc/sys → what of ours the kernel has.
 *
 * Rule: pure; whatever is not ours or not understood as ours is passed over, so no plan can touch it.
 */
import { gatewayKey } from "../../core/gateway.ts";
import { parseCidr, parseIpv4, type EndpointId, type Ipv4 } from "../../core/ids.ts";
import { GATEWAY_LINK } from "../../core/names.ts";
import { hostMac, linkSettings } from "./render.ts";
import type { GatewayEntry, GatewayState, ObservedEndpoint } from "./vocabulary.ts";

type Row = Readonly<Record<string, unknown>>;

const isRow = (value: unknown): value is Row => typeof value === "object" && value !== null && !Array.isArray(value);
const rows = (document: unknown): readonly Row[] => (Array.isArray(document) ? document.filter(isRow) : []);
const word = (row: Row, field: string): string => (typeof row[field] === "string" ? row[field] : "");
const count = (row: Row, field: string): number => (typeof row[field] === "number" ? row[field] : 0);
const isUp = (row: Row): boolean => Array.isArray(row["flags"]) && row["flags"].includes("UP");

/** Host ends of ours (`vethHost`); the gateway link has another form. */
const HOST_END = /^fnp[0-9a-z]{12}$/;
const UNKNOWN_SOURCE = "0.0.0.0" as Ipv4;

/** `routes`: our routes of all tables; `addresses`: `ip address show` of all links of the gateway link's kinds. */
export function parseGateways(routes: unknown, addresses: unknown, forwarding: string | undefined): GatewayState {
  const links = rows(addresses).filter((row) => word(row, "ifname") === GATEWAY_LINK);
  const entries: GatewayEntry[] = [
    ...links.map((row) => ({ kind: "gateway-link" as const, up: isUp(row) })),
    ...links.flatMap((row) => rows(row["addr_info"])).flatMap(addressEntry),
    ...rows(routes).flatMap(routeEntry),
    ...(forwarding === "1" ? [{ kind: "forwarding" as const }] : []),
  ];
  return new Map(entries.map((entry) => [gatewayKey(entry), entry]));
}

function addressEntry(row: Row): GatewayEntry[] {
  const address = parseIpv4(word(row, "local"));
  return address !== undefined && count(row, "prefixlen") === 32 ? [{ kind: "address", address }] : [];
}

function routeEntry(row: Row): GatewayEntry[] {
  const dst = word(row, "dst");
  const cidr = parseCidr(dst.includes("/") ? dst : `${dst}/32`);
  const type = word(row, "type");
  if (cidr === undefined) return [];
  if (type === "unreachable") return [{ kind: "unreachable", cidr }];
  return type === "local" ? [{ kind: "service-range", cidr, source: parseIpv4(word(row, "prefsrc")) ?? UNKNOWN_SOURCE }] : [];
}

/** A host end without its settings, which are asked for by name. */
export type BareEndpoint = Omit<ObservedEndpoint, "faults"> & { readonly up: boolean; readonly mac: string };

export function parseEndpoints(routes: unknown, links: unknown): BareEndpoint[] {
  const all = rows(links);
  return all.filter((row) => HOST_END.test(word(row, "ifname"))).map((row) => {
    const link = word(row, "ifname");
    // The kernel names the other end only while it is in the same namespace.
    const peer = all.find((other) => word(other, "ifname") === word(row, "link"));
    return {
      link, alias: word(row, "ifalias"), mtuBytes: count(row, "mtu"), up: isUp(row), mac: word(row, "address"),
      peer: peer === undefined ? undefined : { name: word(peer, "ifname"), mtuBytes: count(peer, "mtu") },
      routes: rows(routes).filter((route) => word(route, "dev") === link).flatMap(hostRoute),
    };
  });
}

function hostRoute(row: Row): ObservedEndpoint["routes"] {
  const address = parseIpv4(word(row, "dst"));
  return address === undefined ? [] : [{ address, source: parseIpv4(word(row, "prefsrc")) }];
}

/** `values`: the answers to the paths of `linkSettings(link)`, in order. */
export function withFaults({ up, mac, ...endpoint }: BareEndpoint, values: readonly (string | undefined)[]): ObservedEndpoint {
  const expectedMac = hostMac(endpoint.alias as EndpointId);
  const settings = linkSettings(endpoint.link).flatMap(({ name, value, optional }, index) => {
    const found = values[index];
    if (found === value || (found === undefined && optional === true)) return [];
    return [`${name} is ${found ?? "absent"}, not ${value}`];
  });
  return {
    ...endpoint,
    faults: [...(up ? [] : ["down"]), ...(mac === expectedMac ? [] : [`MAC is ${mac}, not ${expectedMac}`]), ...settings],
  };
}
