/**
 * Keeps true: the table on the terminal, the JSON and the page say the same.
 * In: results and machine facts. Out: text. Rule: pure.
 */
import { table } from "../lab/verbs/output.ts";
import type { Benchmark } from "./benchmark.ts";
import type { Figure } from "./figures.ts";
import { isMet, ratioOf } from "./figures.ts";
import type { MachineFacts } from "./machine.ts";

export interface Result {
  readonly benchmark: Pick<Benchmark, "name" | "title" | "how">;
  readonly figures: readonly Figure[];
  /** One-minute load of the machine when it began and ended. */
  readonly load: readonly [before: number, after: number];
}

const HEAD = ["figure", "ours", "rival", "ratio", "goal", "met"];

const number = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 10 ? 1 : 2));
const amount = (value: number, unit: string): string => (Number.isFinite(value) ? `${number(value)} ${unit}`.trim() : "no sample");

function row(figure: Figure): readonly string[] {
  const { name, value, unit, rival, goal } = figure;
  const ratio = ratioOf(figure);
  const met = isMet(figure);
  return [
    name, amount(value, unit), rival === undefined ? "" : `${rival.name} ${amount(rival.value, unit)}`, ratio === undefined ? "" : `${ratio.toFixed(2)} ×`,
    goal === undefined ? "" : goal.of === "value" ? `${goal.relation} ${goal.limit} ${unit}` : `${goal.relation} ${goal.limit.toFixed(2)} ×`,
    met === undefined ? "" : met ? "yes" : "no",
  ];
}

export const asTable = (results: readonly Result[]): string =>
  results.map(({ benchmark, figures, load }) => `${benchmark.title} (load ${load.join(" → ")})\n${table(HEAD, figures.map(row))}`).join("\n\n");

export function machineLine({ date, kernel, cores, processor, memoryGiB, load, engines, node }: MachineFacts): string {
  const versions = Object.entries(engines).map(([name, version]) => `${name} ${version}`).join(", ");
  return `${date}; kernel ${kernel}, ${cores} cores (${processor}), ${memoryGiB} GiB; load ${load.join(" before, ")} after; engines: ${versions}; benchmarks on Node ${node}`;
}

export function asJson(machine: MachineFacts, results: readonly Result[]): string {
  const benchmarks = results.map(({ benchmark, figures, load }) => ({
    name: benchmark.name, load, figures: figures.map((figure) => ({ ...figure, ratio: ratioOf(figure), met: isMet(figure) })),
  }));
  return JSON.stringify({ machine, benchmarks }, null, 2);
}

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

/** docs/performance.md, whole. */
export function asPage(machine: MachineFacts, results: readonly Result[]): string {
  const chapters = results.map(({ benchmark: { name, title, how }, figures, load }) => [
    `## ${title}`, "", how, `Alone: \`npm run bench -- --only ${name}\`. Load of the machine: ${load.join(" when it began, ")} when it ended.`, "",
    line(HEAD), line(HEAD.map(() => "---")), ...figures.map((figure) => line(row(figure))), "",
  ].join("\n"));
  return [
    "# Performance", "", "Written by `npm run bench -- --write`; do not edit. Each figure stands beside its rival from the same run; a ratio says more than a time, because both ends, both engines and the load of others share one machine.",
    "", `Measured: ${machineLine(machine)}.`, "",
    "The plugin runs in a lab of two nodes (`lab/README.md`): node1, the manager, and node2, a worker, whose kernel is this machine's. Its log level is `debug`, since the calls are read from the event log.",
    "To repeat: `./flannel-np build`, then `npm run bench` as root on an otherwise idle machine (half an hour and more); `-o json` prints the same for programs.", "", ...chapters,
  ].join("\n");
}
