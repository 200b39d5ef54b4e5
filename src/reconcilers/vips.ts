/**
 * Keeps what lets this node answer for VIPs: who may call them, what is refused, how a container reaches itself.
 *
 * In:  snapshot: carried networks, endpoints of this node.  Out: VipChange[] for sinks/vip-table.ts; keys as `vipKey` builds them.
 * Rule: the frame, and with it the guards and the refusal, comes before any VIP and goes after the last. The local route that
 * brings packets here is the gateways reconciler's.
 */
import { vethPrefix } from "../core/names.ts";
import { diff, withhold } from "../core/plan.ts";
import { values } from "../core/precedence.ts";
import type { Reconciler } from "../core/reconciler.ts";
import { carriedNetworks, carriedSettled } from "../core/select.ts";
import type { VipChange, VipEntries, VipEntry, VipState } from "../sinks/vip-table.ts";

const RANK: Readonly<Record<VipEntry["kind"], number>> = { frame: 0, network: 1, loop: 2 };
const keyOf = (entry: VipEntry): string => {
  if (entry.kind === "frame") return "frame";
  return entry.kind === "network" ? `network ${entry.network.vni}` : `loop ${entry.address}`;
};

export const vips: Reconciler<VipEntries, VipState, VipChange> = {
  name: "vips",
  desire(snapshot) {
    const carried = carriedNetworks(snapshot);
    const gateways = new Map(carried.map(({ network, gateway }) => [network, gateway]));
    const entries: VipEntry[] = carried.length === 0 ? [] : [{ kind: "frame" }];
    for (const { vni, pool } of carried) entries.push({ kind: "network", network: { vni, range: pool.serviceRange, vethPrefix: vethPrefix(vni) } });
    for (const { network, address } of values(snapshot.endpoints)) {
      const gateway = gateways.get(network);
      if (gateway !== undefined) entries.push({ kind: "loop", address, gateway });
    }
    return { value: new Map(entries.map((entry) => [keyOf(entry), entry])), settled: carriedSettled(snapshot, carried), blocked: [] };
  },
  plan({ value, settled }, { entries, faults }) {
    const { create, update, remove } = diff(value, entries, same);
    const changes = [
      ...create.map(([key, entry]) => change("create", key, entry, "missing")),
      ...update.map(([key, entry]) => change("update", key, entry, "its network differs")),
      ...remove.map(([key, entry]) => change("delete", key, entry, entry.kind === "loop" ? "no container here has the address" : "its network is not carried here")),
    ];
    if (faults.length > 0 && entries.has("frame") && (value.has("frame") || !settled)) changes.push(change("update", "frame", { kind: "frame" }, faults.join(", ")));
    return withhold(changes.sort((a, b) => rank(a) - rank(b) || (a.key < b.key ? -1 : 1)), settled);
  },
};

const change = (op: VipChange["op"], key: string, entry: VipEntry, why: string): VipChange => ({ op, key, entry, why });

const rank = ({ op, entry }: VipChange): number => (op === "delete" ? 10 - RANK[entry.kind] : RANK[entry.kind]);

function same(a: VipEntry, b: VipEntry): boolean {
  if (a.kind === "network") return b.kind === "network" && a.network.range === b.network.range && a.network.vethPrefix === b.network.vethPrefix;
  return a.kind !== "loop" || (b.kind === "loop" && a.gateway === b.gateway);
}
