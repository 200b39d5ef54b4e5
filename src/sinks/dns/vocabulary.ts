/**
 * The words of our DNS: what the zones say, which sandbox sees which of them, how that changes.
 *
 * Rule: zones are shared by all sandboxes of a network, so a thousand containers cost one copy. Names in maps are lower case,
 * without a final dot and without the network's name; a name of a zone may contain dots itself.
 */
import type { Cidr, Ipv4, NetworkId } from "../../core/ids.ts";

/** A name that is ours: answered here whatever the type asked for. No addresses: NODATA, never NXDOMAIN. */
export interface DnsName {
  readonly addresses: readonly Ipv4[];
  /** Who stands behind the name, as TXT strings; empty when the setting is off. */
  readonly texts: readonly string[];
}

export interface DnsService { readonly port: number; readonly target: string; readonly addresses: readonly Ipv4[] }

/** Everything that one network's containers may be asked by. */
export interface DnsZone {
  readonly network: NetworkId;
  /** The network's name: `<name>.<network name>` asks this zone alone. */
  readonly name: string;
  readonly ttlSeconds: number;
  readonly names: ReadonlyMap<string, DnsName>;
  /** PTR: address of a container or VIP → `name.network`. */
  readonly pointers: ReadonlyMap<Ipv4, string>;
  /** SRV: `_http._tcp.web` → who serves it. */
  readonly services: ReadonlyMap<string, readonly DnsService[]>;
}

/** compatible: the first network with a match wins; complete: all networks together (names.md). */
export type DnsMode = "compatible" | "complete";

/** One container's view. Key: last path segment of Docker's SandboxKey. */
export interface DnsSandbox {
  readonly sandbox: string;
  /** In Docker's order (protocol §4.4). */
  readonly zones: readonly NetworkId[];
  /** `--link` aliases of this container alone: lower-case alias → name to answer for, asked before the zones. */
  readonly links: ReadonlyMap<string, string>;
}

export interface DnsTable {
  readonly mode: DnsMode;
  readonly zones: ReadonlyMap<NetworkId, DnsZone>;
  readonly sandboxes: ReadonlyMap<string, DnsSandbox>;
  /** Ranges of our networks: reverse names inside them are answered here, known or not. */
  readonly ranges: readonly Cidr[];
}
