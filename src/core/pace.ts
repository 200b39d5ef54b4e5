/**
 * When a reconciler may run again: pure arithmetic on its pace and its failures.
 *
 * Rule: rest after every run; back off after a failure, twice as long each time; a failure that waiting cannot mend is looked
 * at again with the resync. All in milliseconds.
 */
import { RETRY, type OperatorError } from "./errors.ts";
import type { Pace } from "./reconciler.ts";

/** The pace of a reconciler that has no reason for another; 60 s until reality is looked at again unasked. */
export const DEFAULT_PACE: Pace = { minIntervalMs: 200, resyncMs: 60_000, backoffMs: [100, 60_000] };

/** Delay before the n-th retry (n ≥ 1): first, doubled up to max, of which `random` (0…1) decides the upper half. */
export function backoffMs(failures: number, [first, max]: Pace["backoffMs"], random: number): number {
  const whole = Math.min(max, first * 2 ** (failures - 1));
  return whole / 2 + (whole / 2) * random;
}

/** Delay after a failed run. `error` is absent when everything was applied and differences were left all the same. */
export function delayAfterFailureMs(failures: number, error: OperatorError | undefined, pace: Pace, random: number): number {
  if (error !== undefined && RETRY[error.code] !== "backoff") return pace.resyncMs;
  return backoffMs(failures, pace.backoffMs, random);
}

/** What is left of a rest. A clock that was set back ends it: nobody knows how long it has been. */
export const leftMs = (sinceMs: number, lengthMs: number, nowMs: number): number =>
  nowMs < sinceMs ? 0 : Math.max(0, sinceMs + lengthMs - nowMs);
