/**
 * Which interface carries VXLAN: flannel's own rules, so that the lease we write and the device flanneld makes agree.
 *
 * In:  the user's flags; `ip -json address`, `ip -json route`; swarm's address.  Out: link, address, MTU, or why there is none.
 * Rule: pure. flanneld's order (pkg/ipmatch/match.go): each `--iface` (name or IPv4, first match wins), each `--iface-regex`
 *       (an address that matches, then a name), `--iface-can-reach`. Without any: the link that holds `--public-ip`, the one
 *       that holds swarm's address (D12), the default route's. `--public-ip` replaces the address, not the link.
 */
import { OperatorError } from "../core/errors.ts";
import { compiles, valuesOf, type FlannelFlag } from "../core/flannel-options.ts";
import { cidrOf, contains, parseCidr, parseIpv4, prefixLength, type Cidr, type Ipv4 } from "../core/ids.ts";
import type { Underlay } from "../core/model.ts";

/** The parts of `ip -json address show` that matter. */
export interface LinkAddresses {
  readonly ifname: string;
  readonly mtu: number;
  readonly addr_info: readonly { readonly family: string; readonly local?: string; readonly prefixlen?: number }[];
}
/** The parts of `ip -json route show` (table main) that matter; `dst` is "default", an address or a block. */
export interface Route { readonly dst: string; readonly dev?: string; readonly gateway?: string; readonly prefsrc?: string; readonly metric?: number }

export interface HostNetwork { readonly links: readonly LinkAddresses[]; readonly routes: readonly Route[] }

interface Spot { readonly link: LinkAddresses; readonly address: Ipv4 }

export function chooseUnderlay(flags: readonly FlannelFlag[], host: HostNetwork, swarmAddress?: Ipv4): Underlay | OperatorError {
  const asked = parseIpv4(valuesOf(flags, "public-ip").at(-1) ?? "");
  const spot = spotOf(flags, host, [asked, swarmAddress]);
  if (spot instanceof OperatorError) return spot;
  return { link: spot.link.ifname, address: asked ?? spot.address, mtuBytes: spot.link.mtu };
}

function spotOf(flags: readonly FlannelFlag[], host: HostNetwork, own: readonly (Ipv4 | undefined)[]): Spot | OperatorError {
  const names = valuesOf(flags, "iface");
  const patterns = valuesOf(flags, "iface-regex");
  const reach = parseIpv4(valuesOf(flags, "iface-can-reach").at(-1) ?? "");
  if (names.length + patterns.length === 0 && reach === undefined) return byDefault(host, own);
  for (const name of names) {
    const spot = byNameOrAddress(host, name);
    if (spot !== undefined) return spot;
  }
  for (const pattern of patterns) {
    const spot = byPattern(host, pattern);
    if (spot !== undefined) return spot;
  }
  const spot = reach === undefined ? undefined : towards(host, reach);
  if (spot !== undefined) return spot;
  const given = [...names.map((name) => `--iface=${name}`), ...patterns.map((pattern) => `--iface-regex=${pattern}`), ...(reach === undefined ? [] : [`--iface-can-reach=${reach}`])];
  return new OperatorError("invalid", `Cannot choose the interface for VXLAN: none with an IPv4 address matches ${given.join(" ")}`, {
    cure: `Correct DEFAULT_FLANNEL_OPTIONS or remove these flags; this node has ${listed(host)}`,
  });
}

/** `own`: addresses that are this node's if a link holds them, the best first. */
function byDefault(host: HostNetwork, own: readonly (Ipv4 | undefined)[]): Spot | OperatorError {
  const held = own.flatMap((address) => (address === undefined ? [] : byNameOrAddress(host, address) ?? []))[0];
  const spot = held ?? towards(host, undefined);
  return spot ?? new OperatorError("not-found", "Cannot choose the interface for VXLAN: no link holds swarm's address and there is no default route", {
    cure: `Set DEFAULT_FLANNEL_OPTIONS="-iface=NAME"; this node has ${listed(host)}`,
  });
}

const listed = ({ links }: HostNetwork): string =>
  links.flatMap((link) => addressesOf(link).map((address) => `${link.ifname} (${address})`)).join(", ") || "no address at all";

/** Usable addresses, link-local ones last (flannel pkg/ip/iface.go, GetInterfaceIP4Addrs); loopback is none. */
function addressesOf(link: LinkAddresses): Ipv4[] {
  const all = link.addr_info.flatMap(({ family, local }) => (family === "inet" ? parseIpv4(local ?? "") ?? [] : []));
  const usable = all.filter((address) => !address.startsWith("127."));
  const linkLocal = (address: Ipv4): boolean => address.startsWith("169.254.");
  return [...usable.filter((address) => !linkLocal(address)), ...usable.filter(linkLocal)];
}

function first(link: LinkAddresses | undefined): Spot | undefined {
  const address = link === undefined ? undefined : addressesOf(link)[0];
  return link === undefined || address === undefined ? undefined : { link, address };
}

function byNameOrAddress({ links }: HostNetwork, text: string): Spot | undefined {
  const address = parseIpv4(text);
  if (address === undefined) return first(links.find(({ ifname }) => ifname === text));
  const link = links.find(({ addr_info }) => addr_info.some(({ local }) => local === address));
  return link === undefined ? undefined : { link, address };
}

function byPattern({ links }: HostNetwork, pattern: string): Spot | undefined {
  if (!compiles(pattern)) return undefined;
  const regex = new RegExp(pattern);
  for (const link of links) {
    const address = addressesOf(link).find((one) => regex.test(one));
    if (address !== undefined) return { link, address };
  }
  return first(links.find(({ ifname }) => regex.test(ifname)));
}

/** Longest prefix, then lowest metric, as the kernel's lookup in table main; without a target the default route. */
function towards({ links, routes }: HostNetwork, target: Ipv4 | undefined): Spot | undefined {
  const fitting = routes.flatMap((route) => {
    const block = blockOf(route.dst);
    const fits = block !== undefined && route.dev !== undefined && (target === undefined ? prefixLength(block) === 0 : contains(block, target));
    return fits ? [{ route, length: prefixLength(block) }] : [];
  });
  fitting.sort((a, b) => b.length - a.length || (a.route.metric ?? 0) - (b.route.metric ?? 0));
  for (const { route } of fitting) {
    const link = links.find(({ ifname }) => ifname === route.dev);
    const source = parseIpv4(route.prefsrc ?? "") ?? (link === undefined ? undefined : beside(link, parseIpv4(route.gateway ?? "")));
    const spot = link !== undefined && source !== undefined ? { link, address: source } : first(link);
    if (spot !== undefined) return spot;
  }
  return undefined;
}

/** The kernel's source towards a gateway: the first address whose subnet holds it (net/ipv4/devinet.c, inet_select_addr). */
function beside(link: LinkAddresses, gateway: Ipv4 | undefined): Ipv4 | undefined {
  if (gateway === undefined) return undefined;
  for (const { family, local, prefixlen = 32 } of link.addr_info) {
    const address = family === "inet" ? parseIpv4(local ?? "") : undefined;
    if (address !== undefined && contains(cidrOf(address, prefixlen), gateway)) return address;
  }
  return undefined;
}

function blockOf(dst: string): Cidr | undefined {
  if (dst === "default") return parseCidr("0.0.0.0/0");
  return parseCidr(dst.includes("/") ? dst : `${dst}/32`);
}
