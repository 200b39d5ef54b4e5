/**
 * Keeps what the host itself needs of each carried network: gateway address, service range, refusal of what nobody holds.
 *
 * In:  snapshot: pools, leases, endpoints (a released network stays while a container is on it).
 * Out: GatewayChange[] for sinks/links.ts; keys as `gatewayKey` builds them.
 * Rule: the link comes before its addresses, addresses before the routes that name them as source; removal runs the other way.
 */
import { gatewayKey, type GatewayEntry } from "../core/gateway.ts";
import { diff, withhold } from "../core/plan.ts";
import type { Desired, Reconciler } from "../core/reconciler.ts";
import { carriedNetworks, carriedSettled } from "../core/select.ts";
import type { GatewayChange, GatewayState } from "../sinks/links.ts";

const RANK: Readonly<Record<GatewayEntry["kind"], number>> =
  { "forwarding": 0, "gateway-link": 1, "address": 2, "service-range": 3, "unreachable": 4 };

export const gateways: Reconciler<GatewayState, GatewayState, GatewayChange> = {
  name: "gateways",
  desire(snapshot) {
    const carried = carriedNetworks(snapshot);
    const entries: GatewayEntry[] = [];
    for (const { pool, lease, gateway } of carried) {
      entries.push(
        { kind: "gateway-link", up: true }, { kind: "address", address: gateway },
        { kind: "service-range", cidr: pool.serviceRange, source: gateway },
        { kind: "unreachable", cidr: lease.subnet }, { kind: "unreachable", cidr: pool.cidr },
      );
    }
    // Switching forwarding on before Docker did would make Docker leave FORWARD's policy at ACCEPT (protocol §9).
    if (entries.length > 0 && snapshot.node.dockerSeen) entries.push({ kind: "forwarding" });
    return { value: new Map(entries.map((entry) => [gatewayKey(entry), entry])), settled: carriedSettled(snapshot, carried), blocked: [] };
  },
  plan(desired: Desired<GatewayState>, observed: GatewayState) {
    const { create, update, remove } = diff(desired.value, observed, same);
    return withhold([
      ...create.map(([key, entry]) => change("create", key, entry, "missing")),
      ...update.map(([key, entry, was]) => change("update", key, entry, difference(entry, was))),
      ...remove.filter(([, entry]) => entry.kind !== "forwarding").map(([key, entry]) => change("delete", key, entry, "its network is not carried here")),
    ].sort((a, b) => rank(a) - rank(b) || a.key.localeCompare(b.key)), desired.settled);
  },
};

const change = (op: GatewayChange["op"], key: string, entry: GatewayEntry, why: string): GatewayChange => ({ op, key, entry, why });

const rank = ({ op, entry }: GatewayChange): number => (op === "delete" ? -RANK[entry.kind] : 10 + RANK[entry.kind]);

function same(a: GatewayEntry, b: GatewayEntry): boolean {
  if (a.kind === "gateway-link") return b.kind === "gateway-link" && a.up === b.up;
  return a.kind !== "service-range" || (b.kind === "service-range" && a.source === b.source);
}

const difference = (entry: GatewayEntry, was: GatewayEntry): string =>
  entry.kind === "service-range" && was.kind === "service-range" ? `source ${was.source} → ${entry.source}` : "the link is down";
