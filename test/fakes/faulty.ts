/**
 * A sink that fails now and then, before, in the middle of or after its work, the same way at each run of a test.
 *
 * Rule: faults are the default in scenarios: what only works when everything works does not work.
 */
import { OperatorError } from "../../src/core/errors.ts";
import type { Change } from "../../src/core/plan.ts";
import type { Sink } from "../../src/core/reconciler.ts";

export interface FaultOptions { readonly seed: number; /** Share of operations that fail, 0 to 1. */ readonly rate?: number }

/** mulberry32 (public domain, Tommy Ettinger): numbers in [0, 1) that depend on the seed alone. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `rate` is 0.1 when not given. */
export function faulty<O, C extends Change>(sink: Sink<O, C>, { seed, rate = 0.1 }: FaultOptions): Sink<O, C> {
  const random = seeded(seed);
  const fault = (doing: string): OperatorError => new OperatorError("unavailable", `Cannot ${doing}: a fault was injected`);
  return {
    observe: async (signal) => {
      if (random() < rate) throw fault("observe");
      return sink.observe(signal);
    },
    apply: async (changes, signal) => {
      if (random() >= rate) return sink.apply(changes, signal);
      // 0: nothing was done; 1: all was done and only the answer got lost.
      const done = Math.round(random() * changes.length);
      await sink.apply(changes.slice(0, done), signal);
      throw fault("apply");
    },
  };
}
