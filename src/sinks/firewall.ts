/**
 * Isolation and acceptance as one facility: what must be dropped (nft table) and what must be accepted (iptables chain).
 *
 * In:  changes tagged with their target.  Out: both parts as observed.
 * Rule: the chain accepts only while the table separates: it is written after the table and removed before it.
 */
import type { Sink } from "../core/reconciler.ts";
import type { AcceptChainChange, ObservedAcceptChain } from "./iptables.ts";
import type { NftTableChange, ObservedNftTable } from "./nft-table.ts";

export interface FirewallState { readonly table: ObservedNftTable; readonly chain: ObservedAcceptChain }
/** Keys "table" and "chain". */
export type FirewallChange =
  | (NftTableChange & { readonly target: "table" })
  | (AcceptChainChange & { readonly target: "chain" });

export function firewall(
  table: Sink<ObservedNftTable, NftTableChange>, chain: Sink<ObservedAcceptChain, AcceptChainChange>,
): Sink<FirewallState, FirewallChange> {
  return {
    observe: async (signal) => {
      const [tableState, chainState] = await Promise.all([table.observe(signal), chain.observe(signal)]);
      return { table: tableState, chain: chainState };
    },
    apply: async (changes, signal) => {
      const accepting = changes.filter((change) => change.target === "chain");
      const removals = accepting.filter(({ op }) => op === "delete");
      await chain.apply(removals, signal);
      await table.apply(changes.filter((change) => change.target === "table"), signal);
      await chain.apply(accepting.filter((change) => !removals.includes(change)), signal);
    },
  };
}
