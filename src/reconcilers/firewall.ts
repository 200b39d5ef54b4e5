/**
 * Keeps networks apart in our nft table, and lets their traffic pass Docker's FORWARD policy by one iptables chain.
 *
 * In:  snapshot: pools, leases.  Out: FirewallChange[] for sinks/firewall.ts; keys "table" and "chain".
 * Rule: drops are in place before accepts, and accepts go before drops: there is no moment without isolation.
 */
import type { IsolatedNetwork } from "../sinks/nft-table.ts";
import type { FirewallChange, FirewallState } from "../sinks/firewall.ts";
import { vethPrefix, vxlanLink } from "../core/names.ts";
import { withhold } from "../core/plan.ts";
import type { Reconciler } from "../core/reconciler.ts";
import { carriedNetworks, carriedSettled } from "../core/select.ts";

export const firewall: Reconciler<readonly IsolatedNetwork[], FirewallState, FirewallChange> = {
  name: "firewall",
  desire(snapshot) {
    const carried = carriedNetworks(snapshot);
    const networks = carried.map(({ vni, pool }): IsolatedNetwork =>
      ({ vni, cidr: pool.cidr, vethPrefix: vethPrefix(vni), vxlan: vxlanLink(vni) }));
    return { value: networks.sort((a, b) => a.vni - b.vni), settled: carriedSettled(snapshot, carried), blocked: [] };
  },
  plan({ value, settled }, { table, chain }) {
    const changes: FirewallChange[] = [];
    // A network that is only not known yet keeps its isolation: unsettled, observed networks stay in the wanted table.
    const networks = settled ? value : merged(value, table.networks);
    if (networks.length > 0) {
      const why = tableFault(networks, table.networks, table.faults);
      if (why !== undefined) changes.push({ op: table.networks.length === 0 ? "create" : "update", key: "table", target: "table", why, table: { networks } });
      if (chain.faults.length > 0) changes.push({ op: chain.present ? "update" : "create", key: "chain", target: "chain", why: chain.faults.join(", ") });
      return { changes, held: [] };
    }
    if (chain.present) changes.push({ op: "delete", key: "chain", target: "chain", why: "no network is carried here" });
    if (table.networks.length > 0 || table.faults.length > 0) {
      changes.push({ op: "delete", key: "table", target: "table", why: "no network is carried here", table: { networks: [] } });
    }
    return withhold(changes, settled);
  },
};

function merged(wanted: readonly IsolatedNetwork[], present: readonly IsolatedNetwork[]): readonly IsolatedNetwork[] {
  const known = new Set(wanted.map(({ vni }) => vni));
  return [...wanted, ...present.filter(({ vni }) => !known.has(vni))].sort((a, b) => a.vni - b.vni);
}

function tableFault(
  wanted: readonly IsolatedNetwork[], present: readonly IsolatedNetwork[], faults: readonly string[],
): string | undefined {
  if (faults.length > 0) return faults.join(", ");
  const missing = wanted.filter((network) => !present.some((other) => equal(network, other)));
  const surplus = present.filter((network) => !wanted.some((other) => equal(network, other)));
  const named = [...missing.map(({ vni }) => `+${vni}`), ...surplus.map(({ vni }) => `-${vni}`)];
  return named.length === 0 ? undefined : `networks differ: ${named.join(" ")}`;
}

const equal = (a: IsolatedNetwork, b: IsolatedNetwork): boolean =>
  a.vni === b.vni && a.cidr === b.cidr && a.vethPrefix === b.vethPrefix && a.vxlan === b.vxlan;
