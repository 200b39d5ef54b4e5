/**
 * Keeps true: a figure stands beside its rival of the same run and its goal; who reads it need not compute.
 * In: samples. Out: medians, percentiles, figures. Rule: pure.
 */

/** What a figure is held against: another system in the same run, or a fixed limit. */
export interface Goal {
  /** The limit of `value`, or of the ratio to the rival. */
  readonly of: "value" | "ratio";
  readonly relation: "≤" | "≥";
  readonly limit: number;
}

export interface Rival {
  readonly name: string;
  readonly value: number;
  /** Median of the rounds' own ratios where both were measured in the same round: less shaken by the load of others than the ratio of medians. */
  readonly ratio?: number;
}

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Number of samples behind it. */
  readonly samples: number;
  readonly rival?: Rival;
  readonly goal?: Goal;
}

/** Ours to the rival's, undefined without a rival. */
export function ratioOf({ value, rival }: Figure): number | undefined {
  if (rival === undefined) return undefined;
  return rival.ratio ?? (rival.value === 0 ? undefined : value / rival.value);
}

/** The rival of samples that were taken round by round. */
export const rivalOf = (name: string, ours: readonly number[], its: readonly number[]): Rival =>
  ({ name, value: median(its), ratio: median(ours.map((sample, round) => sample / (its[round] ?? Number.NaN))) });

/** Undefined without a goal. */
export function isMet(figure: Figure): boolean | undefined {
  const { goal } = figure;
  if (goal === undefined) return undefined;
  const seen = goal.of === "value" ? figure.value : ratioOf(figure) ?? Number.NaN;
  return goal.relation === "≤" ? seen <= goal.limit : seen >= goal.limit;
}

/** Nearest rank, 0 < share ≤ 1; NaN without samples. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
