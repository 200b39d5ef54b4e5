/**
 * Keeps true: all benchmarks look the same from outside.
 * In: a bed. Out: figures, in the order they are to be read.
 */
import type { Bed } from "./bed.ts";
import type { Figure } from "./figures.ts";

export interface Benchmark {
  /** For --only. */
  readonly name: string;
  readonly title: string;
  /** What was done, one sentence or two: whoever doubts a figure starts here. */
  readonly how: string;
  run(bed: Bed): Promise<readonly Figure[]>;
}
