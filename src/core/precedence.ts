/**
 * Docker trumps etcd trumps memory, as one pure function.
 *
 * Rule: only a complete listing gives absence a meaning; without one nothing is settled and nothing may be deleted.
 */
export type Authority = "docker" | "etcd" | "memory";
/** complete: absence means gone; partial: items are right, others may exist; unknown: last known items of a lost source. */
export type Coverage = "complete" | "partial" | "unknown";
export interface View<T> { readonly coverage: Coverage; readonly items: ReadonlyMap<string, T> }
export interface Fact<T> { readonly value: T; readonly from: Authority }
export interface Resolved<T> { readonly facts: ReadonlyMap<string, Fact<T>>; readonly settled: boolean }

const RANK: readonly Authority[] = ["docker", "etcd", "memory"];

export const unknownView = <T>(items: ReadonlyMap<string, T> = new Map<string, T>()): View<T> => ({ coverage: "unknown", items });

/** One kind, seen by three sources. A complete view fixes the key set: lower ranks may not resurrect what it lacks. */
export function resolve<T>(views: Readonly<Record<Authority, View<T>>>): Resolved<T> {
  const facts = new Map<string, Fact<T>>();
  for (const from of RANK) {
    const { items, coverage } = views[from];
    for (const [key, value] of items) if (!facts.has(key)) facts.set(key, { value, from });
    if (coverage === "complete") return { facts, settled: true };
  }
  return { facts, settled: false };
}

/** Two disjoint shards of one kind (this node's and the others'), resolved apart; settled only if both are. */
export function unite<T>(a: Resolved<T>, b: Resolved<T>): Resolved<T> {
  return { facts: new Map([...b.facts, ...a.facts]), settled: a.settled && b.settled };
}

/**
 * What driver calls said after the last listing: Docker itself speaking, only newer.
 * `begun` are added although the listing lacks them yet, `ended` are removed although it still shows them.
 */
export function overlay<T>(
  resolved: Resolved<T>, begun: ReadonlyMap<string, T>, ended: ReadonlySet<string>,
): Resolved<T> {
  const facts = new Map(resolved.facts);
  for (const [key, value] of begun) facts.set(key, { value, from: "memory" });
  for (const key of ended) facts.delete(key);
  return { facts, settled: resolved.settled };
}

export const values = <T>(resolved: Resolved<T>): T[] => [...resolved.facts.values()].map((fact) => fact.value);
