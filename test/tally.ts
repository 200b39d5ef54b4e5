/** Counts jest's JSON report: what passed, failed, was skipped; and how often contract cases ran on fake and real thing. */
export interface JestReport {
  readonly testResults: readonly {
    readonly name: string;
    /** "failed" with no assertion results: the file itself could not run. */
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly ancestorTitles: readonly string[]; readonly title: string }[];
  }[];
}
export interface Tally { readonly passed: number; readonly failed: number; readonly skipped: number }
export interface ContractCount { readonly name: string; readonly fake: number; readonly kernel: number }

export function tally({ testResults }: JestReport): Tally {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const { status, assertionResults } of testResults) {
    if (assertionResults.length === 0 && status === "failed") sum.failed += 1;
    for (const result of assertionResults) {
      if (result.status === "passed") sum.passed += 1;
      else if (result.status === "failed") sum.failed += 1;
      else sum.skipped += 1;
    }
  }
  return sum;
}

/** Contract suites name their halves "on the fake" and "on the kernel". */
export function contractGaps({ testResults }: JestReport): readonly ContractCount[] {
  const counts = new Map<string, { fake: number; kernel: number }>();
  for (const { name, assertionResults } of testResults) {
    for (const { status, ancestorTitles } of assertionResults) {
      const half = ancestorTitles.some((title) => title.includes("on the fake")) ? "fake"
        : ancestorTitles.some((title) => title.includes("on the kernel")) ? "kernel" : undefined;
      if (half === undefined || status !== "passed") continue;
      const suite = name.slice(name.lastIndexOf("/") + 1);
      const count = counts.get(suite) ?? { fake: 0, kernel: 0 };
      count[half] += 1;
      counts.set(suite, count);
    }
  }
  return [...counts].map(([name, count]) => ({ name, ...count }));
}
