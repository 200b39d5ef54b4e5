/**
 * A plan is a value: what would be changed, and what is held back because nobody knows enough to delete.
 *
 * Rule: pure and deterministic; the same input gives the same order.
 */
export type Op = "create" | "update" | "delete";
/** One kernel, process or key write; `why` ends up in the event log. */
export interface Change { readonly op: Op; readonly key: string; readonly why: string }
/** Something wanted that no change of ours can bring back: a person must act. */
export interface Broken { readonly reason: string; readonly cure: string }
export interface Plan<C extends Change> { readonly changes: readonly C[]; readonly held: readonly C[]; readonly broken?: readonly Broken[] }
export interface Diff<D, O> {
  readonly create: readonly (readonly [key: string, desired: D])[];
  readonly update: readonly (readonly [key: string, desired: D, observed: O])[];
  readonly remove: readonly (readonly [key: string, observed: O])[];
}

/** Compares by key; entries come out in key order. */
export function diff<D, O>(
  desired: ReadonlyMap<string, D>, observed: ReadonlyMap<string, O>, same: (d: D, o: O) => boolean,
): Diff<D, O> {
  const create: (readonly [string, D])[] = [];
  const update: (readonly [string, D, O])[] = [];
  const remove: (readonly [string, O])[] = [];
  for (const key of [...desired.keys()].sort()) {
    const want = desired.get(key) as D;
    if (!observed.has(key)) create.push([key, want]);
    else if (!same(want, observed.get(key) as O)) update.push([key, want, observed.get(key) as O]);
  }
  for (const key of [...observed.keys()].sort()) if (!desired.has(key)) remove.push([key, observed.get(key) as O]);
  return { create, update, remove };
}

/** Holds every delete back unless the desired state is settled: unknown is not empty. */
export function withhold<C extends Change>(changes: readonly C[], settled: boolean): Plan<C> {
  if (settled) return { changes, held: [] };
  return { changes: changes.filter((c) => c.op !== "delete"), held: changes.filter((c) => c.op === "delete") };
}

export const isEmpty = (plan: Plan<Change>): boolean => plan.changes.length === 0;
