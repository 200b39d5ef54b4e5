/**
 * The contracts: a source tells, a reconciler decides, a sink acts, a binding joins the two.
 *
 * Rule: `desire` and `plan` are pure and total; `apply` is safe to repeat; `observe` rejects rather than answer "empty".
 */
import type { Observable } from "rxjs";
import type { Snapshot, Views } from "./model.ts";
import type { Change, Plan } from "./plan.ts";
import type { Authority } from "./precedence.ts";

export interface Desired<D> {
  readonly value: D;
  /** False while a source that could name more objects has not listed completely. */
  readonly settled: boolean;
  /** Why something wanted cannot be had yet, one sentence each. */
  readonly blocked: readonly string[];
}

export interface Reconciler<D, O, C extends Change> {
  readonly name: string;
  desire(snapshot: Snapshot): Desired<D>;
  plan(desired: Desired<D>, observed: O): Plan<C>;
}

export interface Sink<O, C extends Change> {
  /** Only what we own; rejects with an OperatorError, never answers "empty" for "could not look". */
  observe(signal: AbortSignal): Promise<O>;
  /** In order; safe to repeat. */
  apply(changes: readonly C[], signal: AbortSignal): Promise<void>;
}

/** `views$` never errors and never completes: a lost source lowers its coverage and re-emits what it knew. */
export interface Source { readonly name: Authority; readonly views$: Observable<Views> }

export interface Pace {
  readonly minIntervalMs: number;
  readonly resyncMs: number;
  readonly backoffMs: readonly [first: number, max: number];
}

export interface Binding<D, O, C extends Change> {
  readonly reconciler: Reconciler<D, O, C>;
  readonly sink: Sink<O, C>;
  readonly pace: Pace;
}

/** A binding whose type parameters have been joined and hidden: what the engine holds a list of. */
export interface AnyBinding {
  readonly name: string;
  readonly pace: Pace;
  readonly sink: { observe(signal: AbortSignal): Promise<unknown>; apply(changes: readonly Change[], signal: AbortSignal): Promise<void> };
  desire(snapshot: Snapshot): Desired<unknown>;
  plan(desired: Desired<unknown>, observed: unknown): Plan<Change>;
}

/** Hides a binding's types behind one cast, so that nobody else needs one. */
export function bind<D, O, C extends Change>({ reconciler, sink, pace }: Binding<D, O, C>): AnyBinding {
  return {
    name: reconciler.name, pace, sink: sink as unknown as AnyBinding["sink"],
    desire: (snapshot) => reconciler.desire(snapshot),
    plan: (desired, observed) => reconciler.plan(desired as Desired<D>, observed as O),
  };
}
