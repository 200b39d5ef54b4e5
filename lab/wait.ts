/**
 * Keeps true: the lab waits for conditions, never for the clock.
 * In: a probe. Out: its first answer that is not undefined, or a LabError that quotes the last reason.
 * Rule: a probe that throws means "not yet".
 */
import { setTimeout as pause } from "node:timers/promises";
import { LabError, textOf } from "./errors.ts";

export interface Waiting {
  /** Completes "Cannot …": e.g. "start dockerd on node1". */
  readonly what: string;
  readonly timeoutMs: number;
  /** What to do when it never happens. */
  readonly cure: string;
  /** Default 50. */
  readonly everyMs?: number;
}

/** Repeats `probe` until it returns something else than undefined; a LabError after `timeoutMs`. */
export async function until<T>(waiting: Waiting, probe: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + waiting.timeoutMs;
  let reason = "nothing happened";
  for (;;) {
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
    } catch (error) {
      reason = textOf(error);
    }
    if (performance.now() > deadline) {
      throw new LabError(`Cannot ${waiting.what} within ${waiting.timeoutMs / 1000} s: ${reason}`, waiting.cure);
    }
    await pause(waiting.everyMs ?? 50);
  }
}
