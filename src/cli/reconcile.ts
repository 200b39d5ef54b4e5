/**
 * `reconcile [NAMES…]`: run now, wait, and tell what came of it.
 *
 * In:  POST /reconcile.  Out: one line per reconciler, or JSON.
 * Rule: exit status 1 when a run left differences or could not look.
 */
import type { ReconcileAnswer, ReconcilerState } from "../core/state-answer.ts";
import { ask } from "./ask.ts";
import type { ExitStatus } from "./failure.ts";
import { table } from "./table.ts";
import { socketOf } from "./target.ts";
import { json, RUN_MS, type Terminal, type VerbOptions } from "./verb.ts";

export async function reconcile(names: readonly string[], options: VerbOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<ReconcileAnswer>({
    socket, method: "POST", path: "/reconcile", query: { only: names.join(",") }, timeoutMs: RUN_MS,
  });
  terminal.out(options.output === "json" ? json(answer) : renderReports(answer));
  return answer.reports.some(failed) ? 1 : 0;
}

const failed = ({ result, error }: ReconcilerState): boolean => result === "diverged" || result === "unobserved" || error !== undefined;

export function renderReports({ reports }: ReconcileAnswer): string {
  const rows = reports.map(({ reconciler, result, changes, held }) => [reconciler, result, String(changes), String(held)]);
  const notes = reports.flatMap(({ reconciler, blocked, error }) => [
    ...blocked.map((reason) => `${reconciler} waits: ${reason}\n`),
    ...(error === undefined ? [] : [`${reconciler} failed: ${error.message}\n`, ...(error.cure === undefined ? [] : [`  cure: ${error.cure}\n`])]),
  ]);
  return table(["NAME", "RESULT", "CHANGES", "HELD"], rows) + (notes.length === 0 ? "" : `\n${notes.join("")}`);
}
