/**
 * What only this process knows: driver calls in flight, own writes to etcd not yet echoed, and what the state file kept.
 *
 * In:  the plugin's calls, the state file at start, the other sources' views (they confirm).  Out: `views$`, `intents$`.
 * Rule: memory is never complete. What the state file kept and a complete listing lacked is forgotten: a source that is lost later
 * must not bring back what was removed meanwhile. A fact in flight is dropped once its own source shows it, or when it has had its time.
 */
import { BehaviorSubject, type Observable } from "rxjs";
import type { Grant } from "../core/addresses.ts";
import type { EndpointId } from "../core/ids.ts";
import type { Endpoint, Intents, Pool, SubnetLease, Views } from "../core/model.ts";
import type { Source } from "../core/reconciler.ts";

/** A driver call that Docker's complete listing has not confirmed after this long was given up by Docker. */
const UNCONFIRMED_MS = 120_000;
/** How long a listing that began before the end of an endpoint may still show it. */
const ENDED_MS = 300_000;
/** An own write that etcd's complete view does not show after this long has been overwritten. */
const UNECHOED_MS = 10_000;

export const NOTHING: Intents = { begun: new Map(), ended: new Set(), pools: new Map(), subnets: new Map(), grants: new Map() };

interface Timed<T> { readonly value: T; readonly atMs: number }

export class Memory implements Source {
  readonly name = "memory";
  readonly views$: Observable<Views>;
  readonly intents$: Observable<Intents>;
  readonly #kept: BehaviorSubject<Views>;
  readonly #intents = new BehaviorSubject<Intents>(NOTHING);
  readonly #now: () => number;
  #grants: ReadonlyMap<string, Grant> = new Map();
  readonly #begun = new Map<string, Timed<Endpoint>>();
  readonly #ended = new Map<string, number>();
  readonly #pools = new Map<string, Timed<Pool>>();
  readonly #subnets = new Map<string, Timed<SubnetLease>>();

  /** `kept`: the views that the state file held; their coverage is "unknown". */
  constructor(kept: Views, now: () => number) {
    this.#kept = new BehaviorSubject(kept);
    this.views$ = this.#kept;
    this.intents$ = this.#intents;
    this.#now = now;
  }

  begin(endpoint: Endpoint): void {
    this.#ended.delete(endpoint.id);
    this.#begun.set(endpoint.id, { value: endpoint, atMs: this.#now() });
    this.#publish();
  }

  end(id: EndpointId): void {
    this.#begun.delete(id);
    this.#ended.set(id, this.#now());
    this.#publish();
  }

  endpoint(id: EndpointId): Endpoint | undefined {
    return this.#begun.get(id)?.value;
  }

  wrotePool(pool: Pool): void {
    this.#pools.set(pool.cidr, { value: pool, atMs: this.#now() });
    this.#publish();
  }

  wroteLease(lease: SubnetLease): void {
    this.#subnets.set(`${lease.flannelId}/${lease.subnet}`, { value: lease, atMs: this.#now() });
    this.#publish();
  }

  /** The service ranges as this process hands them out. */
  granted(grants: ReadonlyMap<string, Grant>): void {
    this.#grants = grants;
    this.#publish();
  }

  /** Docker listed: what it shows needs no intent any more. */
  confirmDocker(views: Views): void {
    this.#forget(views, ["networks", "services", "tasks", "endpoints"]);
    const { coverage, items } = views.endpoints;
    if (coverage !== "complete") return;
    const now = this.#now();
    const before = this.#begun.size + this.#ended.size;
    for (const [id, { atMs }] of this.#begun) if (items.has(id) || now - atMs > UNCONFIRMED_MS) this.#begun.delete(id);
    for (const [id, atMs] of this.#ended) if (now - atMs > ENDED_MS) this.#ended.delete(id);
    if (this.#begun.size + this.#ended.size !== before) this.#publish();
  }

  /** etcd echoed: a write is dropped when it is shown as written, or when etcd has shown something else for long enough. */
  confirmEtcd(views: Views): void {
    this.#forget(views, ["networks", "services", "tasks", "pools", "subnets"]);
    const dropped = drop(this.#pools, views.pools, this.#now()) + drop(this.#subnets, views.subnets, this.#now());
    if (dropped > 0) this.#publish();
  }

  #forget(seen: Views, kinds: readonly (keyof Views)[]): void {
    const left = kinds.flatMap((kind): (readonly [keyof Views, Views[keyof Views]])[] => {
      const { items, coverage } = this.#kept.value[kind];
      const known = [...items].filter(([key]) => seen[kind].items.has(key));
      return seen[kind].coverage !== "complete" || known.length === items.size ? [] : [[kind, { coverage, items: new Map<string, never>(known as [string, never][]) }]];
    });
    if (left.length > 0) this.#kept.next({ ...this.#kept.value, ...Object.fromEntries(left) });
  }

  #publish(): void {
    this.#intents.next({
      begun: valuesOf(this.#begun), ended: new Set(this.#ended.keys()),
      pools: valuesOf(this.#pools), subnets: valuesOf(this.#subnets), grants: this.#grants,
    });
  }
}

const valuesOf = <T>(timed: ReadonlyMap<string, Timed<T>>): ReadonlyMap<string, T> =>
  new Map([...timed].map(([key, { value }]) => [key, value]));

function drop<T extends object>(written: Map<string, Timed<T>>, view: Views["pools" | "subnets"], nowMs: number): number {
  const before = written.size;
  if (view.coverage !== "complete") return 0;
  for (const [key, { value, atMs }] of written) {
    const shown: unknown = view.items.get(key);
    if (nowMs - atMs > UNECHOED_MS || (shown !== undefined && shows(shown, value))) written.delete(key);
  }
  return before - written.size;
}

/** True when every field that we wrote is shown; flanneld adds fields to a lease. */
const shows = (shown: unknown, written: object): boolean =>
  Object.entries(written).every(([field, value]) => JSON.stringify((shown as Record<string, unknown>)[field]) === JSON.stringify(value));
