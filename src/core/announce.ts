/**
 * Turns one reconciler's reports into events, each said once: trouble, held deletes and blocked wishes are told when they
 * change, not at each retry.
 *
 * In:  every report.  Out: reconcile.* events.
 */
import { explain, type OperatorError } from "./errors.ts";
import type { Emit } from "./events.ts";
import type { Change, Plan } from "./plan.ts";
import type { RunReport } from "./run.ts";

export function announcer(emit: Emit): (report: RunReport) => void {
  let trouble = "";
  const held = onceEach();
  const blocked = onceEach();
  return (report) => {
    const { reconciler } = report;
    if (blocked(report.blocked)) emit("reconcile.blocked", { reconciler, reasons: report.blocked });
    const plan = planOf(report);
    const waiting = plan?.held.map(spell) ?? [];
    if (plan !== undefined && held(waiting)) emit("reconcile.held", { reconciler, held: waiting });
    const now = troubleOf(report);
    if (now !== trouble) tell(report, emit);
    else if (report.result === "converged") tell(report, emit);
    trouble = now;
  };
}

/** True for a set of sentences that is not empty and not the one before. */
function onceEach(): (sentences: readonly string[]) => boolean {
  let before = "";
  return (sentences) => {
    const now = [...sentences].sort().join("\n");
    const isNew = now !== before && sentences.length > 0;
    before = now;
    return isNew;
  };
}

function planOf(report: RunReport): Plan<Change> | undefined {
  if (report.result === "unobserved") return undefined;
  return report.result === "diverged" ? report.leftover : report.plan;
}

const spell = ({ op, key, why }: Change): string => `${op} ${key} (${why})`;

function troubleOf(report: RunReport): string {
  if (report.result === "unobserved") return `unobserved ${report.error.code} ${report.error.message}`;
  if (report.result !== "diverged") return "";
  return ["diverged", report.error?.message, ...report.leftover.changes.map(spell)].join("\n");
}

function tell(report: RunReport, emit: Emit): void {
  const { reconciler, durationMs } = report;
  if (report.result === "converged") emit("reconcile.converged", { reconciler, changes: report.plan.changes.length, durationMs });
  if (report.result === "diverged") emit("reconcile.diverged", { reconciler, leftover: report.leftover.changes.map(spell), ...reason(report.error) });
  if (report.result === "unobserved") {
    const { code, message, cure } = report.error;
    emit("reconcile.unobserved", { reconciler, code, reason: message, ...(cure === undefined ? {} : { cure }) });
  }
}

const reason = (error: OperatorError | undefined): { reason?: string } => (error === undefined ? {} : { reason: explain(error) });
