/**
 * What a service's labels ask of the balancer.
 *
 * In:  labels of a swarm service.  Out: wishes, and one sentence for each label that cannot be used.
 * Rule: pure and total. A bad value costs that label alone: the default stands in, and is named.
 */
import { parseDuration } from "./duration.ts";

export const SCHEDULER_LABEL = "flannel-np.scheduler";
export const AFFINITY_LABEL = "flannel-np.affinity";
export const DRAIN_LABEL = "flannel-np.drain-time";

export const SCHEDULERS = ["rr", "wrr", "lc", "sh"] as const;
export interface BalancerLabels {
  readonly scheduler: (typeof SCHEDULERS)[number];
  /** 0: none. */
  readonly affinitySeconds: number;
  /** Undefined: the setting's. */
  readonly drainMs?: number;
  readonly problems: readonly string[];
}
export type BalancerEngine = "ipvs" | "nftables";

/** ip_vs.h: IP_VS_MAX persistence is a day's worth of seconds in ipvsadm. */
const AFFINITY_MAX_SECONDS = 86_400;

export function balancerLabels(labels: Readonly<Record<string, string>>, engine: BalancerEngine): BalancerLabels {
  const problems: string[] = [];
  const asked = labels[SCHEDULER_LABEL];
  const known = SCHEDULERS.find((name) => name === asked);
  if (asked !== undefined && known === undefined) problems.push(`label ${SCHEDULER_LABEL}=${asked} is none of ${SCHEDULERS.join(", ")}; rr is used`);
  const duration = (label: string, example: string, instead: string): number | undefined => {
    const text = labels[label];
    const value = text === undefined ? undefined : parseDuration(text);
    if (text !== undefined && value === undefined) problems.push(`label ${label}=${text} is no duration like ${example}; ${instead} is used`);
    return value;
  };
  const affinityMs = duration(AFFINITY_LABEL, "10m", "no affinity");
  const drainMs = duration(DRAIN_LABEL, "30s", "DRAIN_TIME");
  const affinitySeconds = Math.min(Math.ceil((affinityMs ?? 0) / 1_000), AFFINITY_MAX_SECONDS);
  const drain = drainMs === undefined ? {} : { drainMs };
  if (engine === "ipvs") return { scheduler: known ?? "rr", affinitySeconds, ...drain, problems };
  if (known === "lc") problems.push(`label ${SCHEDULER_LABEL}=lc needs BALANCER=ipvs; rr is used`);
  // Every server weighs the same, so wrr is rr; a hash of the client's address is all the affinity nftables has.
  return { scheduler: known === "sh" || affinitySeconds > 0 ? "sh" : "rr", affinitySeconds: 0, ...drain, problems };
}
