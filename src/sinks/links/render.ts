/**
 * Changes of links → lines for `ip -batch` and settings below /proc/sys.
 *
 * Rule: pure; every line is safe to repeat, and completes what an earlier run left half done.
 */
import { fnv1a64 } from "../../core/hash.ts";
import type { EndpointId, Mac } from "../../core/ids.ts";
import { GATEWAY_LINK } from "../../core/names.ts";
import type { BatchLine } from "./batch.ts";
import type { EndpointLink, GatewayChange, GatewayEntry, ObservedEndpoint } from "./vocabulary.ts";

/** `rtm_protocol` of every route we make: how we know ours (rtnetlink(7); 102 is in nobody's list of /etc/iproute2). */
export const ROUTE_PROTOCOL = 102;
/** Metric of our unreachable routes: any other route to the same block wins. */
export const UNREACHABLE_METRIC = 16_777_216;

const GONE = /Cannot find device|No such process|Address not found|Cannot assign requested address|does not exist/;
const THERE = /File exists/;
/** What a kernel says that lacks a kind of link; the next line tries another. */
const NO_SUCH_KIND = /File exists|Unknown device type|Operation not supported/;

/** Things another one needs come first, and go last. */
const RANK: readonly GatewayEntry["kind"][] = ["gateway-link", "address", "service-range", "unreachable", "forwarding"];

/** Creations in the order the kernel needs, then removals in the opposite one. Forwarding is no business of ip. */
export function gatewayLines(changes: readonly GatewayChange[]): BatchLine[] {
  const rank = ({ entry }: GatewayChange): number => RANK.indexOf(entry.kind);
  const made = changes.filter(({ op }) => op !== "delete").sort((a, b) => rank(a) - rank(b));
  const gone = changes.filter(({ op }) => op === "delete").sort((a, b) => rank(b) - rank(a));
  return [...made.flatMap(({ entry }) => entryLines(entry)), ...gone.flatMap(({ entry }) => removalLines(entry))];
}

function entryLines(entry: GatewayEntry): BatchLine[] {
  switch (entry.kind) {
    case "gateway-link": return [
      { text: `link add name ${GATEWAY_LINK} type dummy`, harmless: NO_SUCH_KIND },
      { text: `link add name ${GATEWAY_LINK} type bridge stp_state 0 forward_delay 0`, harmless: THERE },
      { text: `link set dev ${GATEWAY_LINK} arp off ${entry.up ? "up" : "down"}` },
    ];
    case "address": return [{ text: `address replace ${entry.address}/32 dev ${GATEWAY_LINK}` }];
    case "service-range": return [{ text: `route replace local ${entry.cidr} dev lo src ${entry.source} proto ${ROUTE_PROTOCOL}` }];
    case "unreachable": return [{ text: `route replace ${unreachable(entry.cidr)}` }];
    case "forwarding": return [];
  }
}

function removalLines(entry: GatewayEntry): BatchLine[] {
  switch (entry.kind) {
    case "gateway-link": return [{ text: `link delete dev ${GATEWAY_LINK}`, harmless: GONE }];
    case "address": return [{ text: `address delete ${entry.address}/32 dev ${GATEWAY_LINK}`, harmless: GONE }];
    case "service-range": return [{ text: `route delete local ${entry.cidr} dev lo proto ${ROUTE_PROTOCOL}`, harmless: GONE }];
    case "unreachable": return [{ text: `route delete ${unreachable(entry.cidr)}`, harmless: GONE }];
    case "forwarding": return [];
  }
}

const unreachable = (cidr: string): string => `unreachable ${cidr} proto ${ROUTE_PROTOCOL} metric ${UNREACHABLE_METRIC}`;

/**
 * One endpoint's pair and route; `was`: what stands there, for routes to take away.
 * A joined one gets no new pair: its other end would not be in the container.
 */
export function endpointLines(endpoint: EndpointLink, was: ObservedEndpoint | undefined): BatchLine[] {
  const { link, peer, alias, address, source, mtuBytes } = endpoint;
  const pair = `link add name ${link} mtu ${mtuBytes} address ${hostMac(alias)} type veth peer name ${peer} mtu ${mtuBytes}`;
  const stale = (was?.routes ?? []).filter((route) => route.address !== address);
  return [
    ...(endpoint.joined ? [] : [{ text: pair, harmless: THERE }]),
    { text: `link set dev ${link} alias ${alias} mtu ${mtuBytes} address ${hostMac(alias)} up` },
    { text: `link set dev ${peer} mtu ${mtuBytes}`, harmless: GONE },
    { text: `route replace ${address}/32 dev ${link} scope link src ${source} proto ${ROUTE_PROTOCOL}` },
    ...stale.map((route) => ({ text: `route delete ${route.address}/32 dev ${link} proto ${ROUTE_PROTOCOL}`, harmless: GONE })),
  ];
}

/** The kernel takes the container's end and the routes along. */
export const endpointRemoval = (link: string): BatchLine => ({ text: `link delete dev ${link}`, harmless: GONE });

/** Locally administered, from the endpoint id; set by name, so that no policy of udev gives the link another one. */
export function hostMac(endpoint: EndpointId): Mac {
  const hash = fnv1a64(endpoint).toString(16).padStart(16, "0");
  return ["0a", 0, 2, 4, 6, 8].map((at) => (typeof at === "string" ? at : hash.slice(at, at + 2))).join(":") as Mac;
}

export interface LinkSetting { readonly path: string; readonly name: string; readonly value: string; readonly optional?: boolean }

/** What a host end must be set to (reference: ip-sysctl.rst of the kernel). */
export const linkSettings = (link: string): readonly LinkSetting[] => [
  // The host answers the container's ARP for everything it routes to: containers need no bridge to find each other.
  { name: "proxy_arp", path: `net/ipv4/conf/${link}/proxy_arp`, value: "1" },
  // … at once: the kernel would wait up to 0.8 s.
  { name: "proxy_delay", path: `net/ipv4/neigh/${link}/proxy_delay`, value: "0" },
  { name: "send_redirects", path: `net/ipv4/conf/${link}/send_redirects`, value: "0" },
  // Strict (RFC 3704 §2.2): what does not carry the container's own address is dropped. So it is where `all` is 2 (Ubuntu)
  // and wins: the kernel is not lenient on a link without an address (fib_validate_source).
  { name: "rp_filter", path: `net/ipv4/conf/${link}/rp_filter`, value: "1" },
  { name: "disable_ipv6", path: `net/ipv6/conf/${link}/disable_ipv6`, value: "1", optional: true },
];
