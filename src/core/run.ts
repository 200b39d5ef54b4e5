/**
 * One run of one reconciler: observe → plan → apply → observe → plan. The second plan being empty is the only proof of success.
 *
 * In:  a binding, a snapshot.  Out: a report; every applied change is an event with its reason.
 * Rule: nothing rejects: what fails is told in the report. `apply` is never interrupted, `observe` is when the engine stops.
 */
import { equal } from "./equal.ts";
import { asOperatorError, OperatorError } from "./errors.ts";
import type { Emit } from "./events.ts";
import type { Snapshot } from "./model.ts";
import { isEmpty, type Broken, type Change, type Plan } from "./plan.ts";
import type { AnyBinding, Desired } from "./reconciler.ts";

/** idle: nothing to do; held: only deletes that must wait; converged: applied and proven; diverged: differences were left. */
export type Ending =
  | { readonly result: "idle" | "held" | "converged"; readonly plan: Plan<Change> }
  | { readonly result: "diverged"; readonly leftover: Plan<Change>; readonly error?: OperatorError }
  | { readonly result: "unobserved"; readonly error: OperatorError };

export type RunReport = {
  readonly reconciler: string;
  /** Of the snapshot the run was for. */
  readonly revision: number;
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly blocked: readonly string[];
} & Ending;

/** A dry run of one reconciler. */
export type PlanReport =
  | { readonly reconciler: string; readonly desiredBlocked: readonly string[]; readonly plan: Plan<Change> }
  | { readonly reconciler: string; readonly error: OperatorError };

export interface Job {
  readonly snapshot: Snapshot;
  /** Ends observing, and thereby the run before its `apply`. */
  readonly signal: AbortSignal;
  readonly emit: Emit;
  readonly now: () => number;
  /** Desired by the last run that left nothing to do: if it is still that, this run is skipped. */
  readonly unless?: Desired<unknown>;
}

export interface Outcome {
  readonly report: RunReport;
  readonly desired?: Desired<unknown>;
  /** `desire` or `plan` threw: the same snapshot would make it throw again. */
  readonly mistaken: boolean;
}

/** An exception out of a pure function of ours. */
class Mistake extends OperatorError {}

/** `undefined`: skipped, the snapshot changed nothing this reconciler wants. */
export async function runOnce(binding: AnyBinding, job: Job): Promise<Outcome | undefined> {
  const { name } = binding;
  const { revision } = job.snapshot;
  const startedAtMs = job.now();
  let desired: Desired<unknown> | undefined;
  const report = (ending: Ending): RunReport => ({
    reconciler: name, revision, startedAtMs, durationMs: job.now() - startedAtMs, blocked: [...desired?.blocked ?? [], ...brokenOf(ending).map(spell)], ...ending,
  });
  try {
    desired = think(name, revision, () => binding.desire(job.snapshot));
    if (job.unless !== undefined && equal(job.unless, desired)) return undefined;
    return { report: report(await converge(binding, desired, job)), desired, mistaken: false };
  } catch (error) {
    return { report: report({ result: "unobserved", error: asOperatorError(error) }), mistaken: error instanceof Mistake };
  }
}

export async function planOnce(binding: AnyBinding, snapshot: Snapshot, signal: AbortSignal): Promise<PlanReport> {
  try {
    const desired = think(binding.name, snapshot.revision, () => binding.desire(snapshot));
    return { reconciler: binding.name, desiredBlocked: desired.blocked, plan: await look(binding, desired, { snapshot, signal }) };
  } catch (error) {
    return { reconciler: binding.name, error: asOperatorError(error) };
  }
}

async function converge(binding: AnyBinding, desired: Desired<unknown>, job: Job): Promise<Ending> {
  const plan = await look(binding, desired, job);
  if (isEmpty(plan)) return { result: plan.held.length > 0 ? "held" : "idle", plan };
  job.emit("reconcile.planned", {
    reconciler: binding.name, revision: job.snapshot.revision, changes: plan.changes.length, held: plan.held.length,
  });
  const failure = await apply(binding, plan.changes);
  if (failure === undefined) tell(plan.changes, binding.name, job.emit);
  const leftover = await lookAfter(binding, desired, job, failure);
  if (leftover === undefined) return diverged(plan, failure);
  if (failure !== undefined) tell(without(plan.changes, leftover.changes), binding.name, job.emit);
  return isEmpty(leftover) ? { result: "converged", plan } : diverged(leftover, failure);
}

/** What the last look at reality found broken beyond our means. */
export function brokenOf(ending: Ending): readonly Broken[] {
  if (ending.result === "unobserved") return [];
  return (ending.result === "diverged" ? ending.leftover : ending.plan).broken ?? [];
}

const spell = ({ reason, cure }: Broken): string => `${reason}. ${cure}`;

const diverged = (leftover: Plan<Change>, error: OperatorError | undefined): Ending =>
  ({ result: "diverged", leftover, ...(error === undefined ? {} : { error }) });

/** Of the changes asked for, those that are no longer needed: what a failed `apply` got done. */
function without(asked: readonly Change[], left: readonly Change[]): readonly Change[] {
  const undone = new Set(left.map(({ op, key }) => `${op} ${key}`));
  return asked.filter(({ op, key }) => !undone.has(`${op} ${key}`));
}

function tell(changes: readonly Change[], reconciler: string, emit: Emit): void {
  for (const { op, key, why } of changes) emit("change.applied", { reconciler, op, key, why });
}

async function look(binding: AnyBinding, desired: Desired<unknown>, { snapshot, signal }: Pick<Job, "snapshot" | "signal">): Promise<Plan<Change>> {
  const observed = await binding.sink.observe(signal);
  signal.throwIfAborted();
  return think(binding.name, snapshot.revision, () => binding.plan(desired, observed));
}

/** `undefined`: neither applied nor seen, so the whole plan counts as left over and the first failure is the one to tell. */
async function lookAfter(
  binding: AnyBinding, desired: Desired<unknown>, job: Job, failure: OperatorError | undefined,
): Promise<Plan<Change> | undefined> {
  try {
    return await look(binding, desired, job);
  } catch (error) {
    if (failure === undefined || error instanceof Mistake) throw error;
    return undefined;
  }
}

async function apply(binding: AnyBinding, changes: readonly Change[]): Promise<OperatorError | undefined> {
  try {
    await binding.sink.apply(changes, new AbortController().signal);
    return undefined;
  } catch (error) {
    return asOperatorError(error);
  }
}

function think<T>(name: string, revision: number, thought: () => T): T {
  try {
    return thought();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Mistake("bug", `Cannot plan ${name} for snapshot ${revision}: ${reason}`, {
      cause, context: { revision }, cure: "This is a fault of the operator: please report it with the output of /state",
    });
  }
}
