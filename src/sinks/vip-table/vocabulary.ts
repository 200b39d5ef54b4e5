/**
 * The words of what surrounds the balancer in the host: which networks have service ranges, who may call, who may call himself.
 */
import type { Cidr, Ipv4, Vni } from "../../core/ids.ts";
import type { Change } from "../../core/plan.ts";

/** A network whose service range this node answers for. */
export interface VipNetwork {
  readonly vni: Vni;
  readonly range: Cidr;
  /** Common start of its veths' names: packets for the range are balanced only when they come from there. */
  readonly vethPrefix: string;
}
/** frame: the chains and empty sets that all share; loop: a container here, which reaches itself by way of the gateway's address. */
export type VipEntry =
  | { readonly kind: "frame" }
  | { readonly kind: "network"; readonly network: VipNetwork }
  | { readonly kind: "loop"; readonly address: Ipv4; readonly gateway: Ipv4 };

export const vipKey = (entry: VipEntry): string => {
  if (entry.kind === "frame") return "frame";
  return entry.kind === "network" ? `network ${entry.network.vni}` : `loop ${entry.address}`;
};

export type VipEntries = ReadonlyMap<string, VipEntry>;
/** `faults`: what was changed by hand in what the entries share. */
export interface VipState { readonly entries: VipEntries; readonly faults: readonly string[] }
export interface VipChange extends Change { readonly entry: VipEntry }
