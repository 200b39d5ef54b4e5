/**
 * `plan [NAMES…]`: what a run would change, without changing it.
 *
 * In:  GET /plan.  Out: one line per change with its reason, deletes that are held back marked so, or JSON.
 * Rule: exit status 1 when a reconciler could not look; waiting changes are no failure.
 */
import type { PlanAnswer, PlannedChange, PlanState } from "../core/state-answer.ts";
import { ask } from "./ask.ts";
import type { ExitStatus } from "./failure.ts";
import { table } from "./table.ts";
import { socketOf } from "./target.ts";
import { count, json, RUN_MS, type Terminal, type VerbOptions } from "./verb.ts";

export async function plan(names: readonly string[], options: VerbOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<PlanAnswer>({ socket, method: "GET", path: "/plan", query: { only: names.join(",") }, timeoutMs: RUN_MS });
  terminal.out(options.output === "json" ? json(answer) : renderPlan(answer));
  return answer.plans.some(({ error }) => error !== undefined) ? 1 : 0;
}

export function renderPlan({ plans }: PlanAnswer): string {
  const rows = plans.flatMap(({ reconciler, changes, held }) => [
    ...changes.map((change) => row(reconciler, change.op, change)),
    ...held.map((change) => row(reconciler, `${change.op} (held)`, change)),
  ]);
  return (rows.length === 0 ? "" : `${table(["RECONCILER", "OPERATION", "KEY", "WHY"], rows)}\n`)
    + plans.flatMap(notes).map((note) => `${note}\n`).join("") + summary(plans);
}

const row = (reconciler: string, operation: string, { key, why }: PlannedChange): readonly string[] => [reconciler, operation, key, why];

const notes = ({ reconciler, blocked, error }: PlanState): readonly string[] => [
  ...blocked.map((reason) => `${reconciler} waits: ${reason}`),
  ...(error === undefined ? [] : [`${reconciler} could not look: ${error.message}${error.cure === undefined ? "" : `. ${error.cure}`}`]),
];

function summary(plans: readonly PlanState[]): string {
  const total = (list: "changes" | "held"): number => plans.reduce((sum, each) => sum + each[list].length, 0);
  const held = total("held") === 0 ? "" : `, ${count(total("held"), "delete")} held until every source has listed`;
  return `${total("changes") === 0 ? "nothing to change" : count(total("changes"), "change")}${held}\n`;
}
