/**
 * The words of balancing, of no engine: virtual services, and the servers behind them.
 */
import type { Ipv4 } from "../../core/ids.ts";
import type { Change } from "../../core/plan.ts";

export type Scheduler = "rr" | "wrr" | "lc" | "sh";

/** All ports and protocols of one address. */
export interface VirtualService {
  readonly kind: "service";
  readonly vip: Ipv4;
  readonly scheduler: Scheduler;
  /** A client stays with its server for so long after its last connection; 0: it does not. */
  readonly affinitySeconds: number;
}
/** Weight 0: keeps its connections and gets no new one; datagrams go elsewhere at once. */
export interface Server { readonly kind: "server"; readonly vip: Ipv4; readonly address: Ipv4; readonly weight: 0 | 1 }
export type BalancerEntry = VirtualService | Server;

export interface SeenService {
  readonly kind: "service";
  readonly vip: Ipv4;
  /** Undefined: nothing tells, since there is no server to choose from. */
  readonly scheduler: Scheduler | undefined;
  readonly affinitySeconds: number;
  /** What of it was changed by hand or done by half; writing it again mends it. */
  readonly fault?: string;
}
export interface SeenServer extends Server {
  /** Open connections; undefined where the engine cannot count them. */
  readonly connections?: number;
  /** How long weight 0 has been seen. */
  readonly drainingMs: number;
  readonly fault?: string;
}
export type SeenEntry = SeenService | SeenServer;

/** Keys "10.1.0.5" and "10.1.0.5>10.1.4.9". */
export type BalancerState = ReadonlyMap<string, SeenEntry>;
export interface BalancerChange extends Change { readonly entry: BalancerEntry }

export const serviceKey = (vip: Ipv4): string => vip;
export const serverKey = (vip: Ipv4, address: Ipv4): string => `${vip}>${address}`;

export const newService = (vip: Ipv4, scheduler: Scheduler = "rr", affinitySeconds = 0): VirtualService => ({ kind: "service", vip, scheduler, affinitySeconds });
