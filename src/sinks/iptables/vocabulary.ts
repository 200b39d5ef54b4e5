/**
 * The words of the accept chain in iptables' filter table.
 */
import type { Change } from "../../core/plan.ts";

export type Flavour = "nft" | "legacy";

export interface ObservedAcceptChain {
  /** The flavours that hold Docker's chains (nft when none does): each drops by itself, so our chain belongs into each. */
  readonly flavours: readonly Flavour[];
  /** True when anything of ours is there: chain or jump, in any flavour. */
  readonly present: boolean;
  /** What differs from chain and jump as they should be, one sentence each; empty only when present and right. */
  readonly faults: readonly string[];
}
/** create and update write chain and jump, delete removes both. Key: "chain". */
export type AcceptChainChange = Change;
