/** Figures of runs and events. */
import { expect, it } from "@jest/globals";
import type { RunReport } from "../../src/core/run.ts";
import { Meter, renderMetrics } from "../../src/plugin/metrics.ts";

const report = (reconciler: string): RunReport =>
  ({ reconciler, revision: 7, startedAtMs: 1_000, durationMs: 500, blocked: [], result: "converged", plan: { changes: [], held: [] } });

it("counts events and runs", () => {
  const meter = new Meter();
  const passed: string[] = [];
  const emit = meter.counting((event) => { passed.push(event); });
  emit("kernel.drift", { facility: "x" });
  emit("kernel.drift", { facility: "y" });
  meter.report(report("dns"));
  meter.report({ ...report("dns"), result: "diverged", leftover: { changes: [], held: [] } } as RunReport);
  expect(passed).toHaveLength(2);
  const figures = Object.fromEntries(meter.families({ failedWrites: 2, lost: 1, lostByFollowers: 0 }).map(({ name, samples }) => [name, samples]));
  expect(figures["events_total"]).toEqual([{ labels: { event: "kernel.drift" }, value: 2 }]);
  expect(figures["runs_total"]).toEqual(["converged", "diverged"].map((result) => ({ labels: { reconciler: "dns", result }, value: 1 })));
  expect(figures["run_seconds_total"]).toEqual([{ labels: { reconciler: "dns" }, value: 1 }]);
  expect(figures["last_run_failed"]).toEqual([{ labels: { reconciler: "dns" }, value: 1 }]);
});

it("escapes what a label may hold", () => {
  expect(renderMetrics([{ name: "x", help: "A\nb.", type: "gauge", samples: [{ labels: { a: 'q"\\\n' }, value: 0.5 }, { labels: {}, value: 1 }] }])).toBe(
    '# HELP flannel_np_x A\\nb.\n# TYPE flannel_np_x gauge\nflannel_np_x{a="q\\"\\\\\\n"} 0.5\nflannel_np_x 1\n');
});
