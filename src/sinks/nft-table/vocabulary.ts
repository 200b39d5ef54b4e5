/**
 * The words of our nft table: what it isolates, what is seen of it, how it changes.
 */
import type { Cidr, Vni } from "../../core/ids.ts";
import type { Change } from "../../core/plan.ts";

/** One network's part: its links and its addresses belong together, nothing else reaches them. */
export interface IsolatedNetwork {
  readonly vni: Vni;
  readonly cidr: Cidr;
  /** Common start of its veths' names (`vethPrefix`). */
  readonly vethPrefix: string;
  /** flanneld's device (`vxlanLink`). */
  readonly vxlan: string;
}

/** Ascending by VNI. No networks: no table. */
export interface NftTable { readonly networks: readonly IsolatedNetwork[] }
/** What the kernel has. `faults`: what is missing from or foreign to what we would write for these networks. */
export interface ObservedNftTable extends NftTable { readonly faults: readonly string[] }
/** The whole table is replaced at once; without networks it is removed. Key: "table". */
export interface NftTableChange extends Change { readonly table: NftTable }
