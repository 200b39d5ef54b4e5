/**
 * The words of the links facility: what may be wanted, what is seen, what can be changed.
 *
 * Rule: ours are links named `fnp…`, addresses on them, and routes of protocol 102; nothing else has words here.
 */
import type { GatewayEntry } from "../../core/gateway.ts";
import type { EndpointId, Ipv4 } from "../../core/ids.ts";
import type { Change } from "../../core/plan.ts";

export type { GatewayEntry };
/** Keys: `gatewayKey`. */
export type GatewayState = ReadonlyMap<string, GatewayEntry>;
export interface GatewayChange extends Change { readonly entry: GatewayEntry }

/** One container's veth pair as it shall be. Key: `link`. */
export interface EndpointLink {
  /** Host end (`vethHost`). */
  readonly link: string;
  /** Container's end before Docker moves it (`vethPeer`). */
  readonly peer: string;
  /** Alias of the host end: says whose it is. */
  readonly alias: EndpointId;
  readonly address: Ipv4;
  /** Source of what the host itself sends to the container: the network's gateway address, which must exist before. */
  readonly source: Ipv4;
  readonly mtuBytes: number;
  /** True once the container's end is, or is about to be, inside the sandbox. */
  readonly joined: boolean;
}

/** A veth pair of ours as it is. */
export interface ObservedEndpoint {
  readonly link: string;
  /** Empty when it has none. */
  readonly alias: string;
  readonly mtuBytes: number;
  /** The container's end while it is still here in the host; undefined once it is inside a sandbox. */
  readonly peer: { readonly name: string; readonly mtuBytes: number } | undefined;
  /** Host routes of ours over this link; exactly one when all is well. */
  readonly routes: readonly { readonly address: Ipv4; readonly source: Ipv4 | undefined }[];
  /** What every link of ours must be and this one is not: "down", "proxy_arp is 0, not 1", … Empty when all is well. */
  readonly faults: readonly string[];
}

/** Key: name of the host end. */
export type EndpointState = ReadonlyMap<string, ObservedEndpoint>;
/** `endpoint` as it shall be; a delete needs the link alone. */
export type EndpointChange =
  | (Change & { readonly op: "create" | "update"; readonly endpoint: EndpointLink })
  | (Change & { readonly op: "delete"; readonly link: string });
