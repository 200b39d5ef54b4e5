/** What a node's gateway is made of, and how each part is named: shared by the reconciler that wants it and the sink that has it. */
import type { Cidr, Ipv4 } from "./ids.ts";

/**
 * gateway-link: the one link that carries all gateway addresses; observed `up: false` when it is down.
 * address: `/32` on that link. service-range: `local CIDR dev lo src SOURCE`, all its addresses answer here.
 * unreachable: what no more specific route takes is refused, not sent elsewhere.
 * forwarding: `net.ipv4.ip_forward`; observed only when on. Never plan its delete: others need it too; apply rejects that as `bug`.
 */
export type GatewayEntry =
  | { readonly kind: "gateway-link"; readonly up: boolean }
  | { readonly kind: "address"; readonly address: Ipv4 }
  | { readonly kind: "service-range"; readonly cidr: Cidr; readonly source: Ipv4 }
  | { readonly kind: "unreachable"; readonly cidr: Cidr }
  | { readonly kind: "forwarding" };

/** "gateway-link", "forwarding", "address 10.1.1.1", "service-range 10.1.0.0/24", "unreachable 10.1.1.0/24". */
export function gatewayKey(entry: GatewayEntry): string {
  switch (entry.kind) {
    case "address": return `address ${entry.address}`;
    case "service-range": case "unreachable": return `${entry.kind} ${entry.cidr}`;
    default: return entry.kind;
  }
}
