/**
 * Counters and gauges, from runs and events, in Prometheus' text format (exposition format 0.0.4).
 *
 * In:  reports of runs, events on their way to the log, other parts' figures.  Out: text for GET /metrics.
 * Rule: labels come from closed sets (reconcilers, results, events), so the number of series is bounded.
 */
import type { Emit } from "../core/events.ts";
import type { RunReport } from "../core/run.ts";

export type Labels = Readonly<Record<string, string>>;
export interface Sample { readonly labels: Labels; readonly value: number }
export interface Family {
  /** Without prefix; a counter's ends in `_total`. */
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly samples: readonly Sample[];
}

const PREFIX = "flannel_np_";

export function renderMetrics(families: readonly Family[]): string {
  return families.filter(({ samples }) => samples.length > 0).map(({ name, help, type, samples }) => [
    `# HELP ${PREFIX}${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`, `# TYPE ${PREFIX}${name} ${type}`,
    ...samples.map(({ labels, value }) => `${PREFIX}${name}${renderLabels(labels)} ${value}`),
  ].join("\n")).join("\n") + "\n";
}

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** What the event log counts of itself. */
export interface LogCounters { readonly failedWrites: number; readonly lost: number; readonly lostByFollowers: number }

export class Meter {
  readonly #events = new Map<string, number>();
  readonly #runs = new Map<string, { readonly labels: Labels; count: number }>();
  readonly #seconds = new Map<string, number>();
  readonly #last = new Map<string, RunReport>();

  /** The same emitter, counted. */
  counting(emit: Emit): Emit {
    return (event, fields) => {
      this.#events.set(event, (this.#events.get(event) ?? 0) + 1);
      emit(event, fields);
    };
  }

  report(report: RunReport): void {
    const { reconciler, result, durationMs } = report;
    const key = `${reconciler} ${result}`;
    const run = this.#runs.get(key) ?? { labels: { reconciler, result }, count: 0 };
    run.count++;
    this.#runs.set(key, run);
    this.#seconds.set(reconciler, (this.#seconds.get(reconciler) ?? 0) + durationMs / 1_000);
    this.#last.set(reconciler, report);
  }

  families(log: LogCounters): readonly Family[] {
    const byReconciler = (read: (report: RunReport) => number): Sample[] =>
      [...this.#last].map(([reconciler, report]) => ({ labels: { reconciler }, value: read(report) }));
    return [
      { name: "events_total", help: "Events by name.", type: "counter", samples: [...this.#events].map(([event, value]) => ({ labels: { event }, value })) },
      { name: "event_log_failed_writes_total", help: "Writes that the disk refused; the lines wait in memory.", type: "counter", samples: [{ labels: {}, value: log.failedWrites }] },
      { name: "event_log_lost_lines_total", help: "Lines that are in no file.", type: "counter", samples: [{ labels: {}, value: log.lost }] },
      { name: "event_log_lost_by_followers_total", help: "Lines that followers did not get.", type: "counter", samples: [{ labels: {}, value: log.lostByFollowers }] },
      { name: "runs_total", help: "Runs by reconciler and result.", type: "counter", samples: [...this.#runs.values()].map(({ labels, count }) => ({ labels, value: count })) },
      { name: "run_seconds_total", help: "Time spent in runs.", type: "counter", samples: [...this.#seconds].map(([reconciler, value]) => ({ labels: { reconciler }, value })) },
      { name: "last_run_timestamp_seconds", help: "When the last run ended.", type: "gauge", samples: byReconciler(({ startedAtMs, durationMs }) => (startedAtMs + durationMs) / 1_000) },
      { name: "last_run_failed", help: "1 when the last run left differences or could not look.", type: "gauge",
        samples: byReconciler(({ result }) => (result === "diverged" || result === "unobserved" ? 1 : 0)) },
      { name: "last_run_blocked", help: "Wishes that could not be met in the last run.", type: "gauge", samples: byReconciler(({ blocked }) => blocked.length) },
    ];
  }
}
