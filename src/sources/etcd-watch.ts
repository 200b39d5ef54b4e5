/**
 * Follows every key below a prefix: list at revision R, watch from R + 1, list again whenever that chain may have a gap.
 *
 * In:  range and raw watch of sources/etcd-client.ts.  Out: `listed`, then `changed`; `lost` while etcd does not answer.
 * Rule: never errors, never completes. After `lost` the next `listed` or `changed` says the picture is whole again, so it is
 *       only sent when nothing can have been missed. (etcd3's watcher resumes at the store's revision instead of behind the
 *       last event it delivered, and drops what lies between: that is why this loop exists.)
 */
import {
  catchError, concat, concatMap, defer, EMPTY, exhaustMap, ignoreElements, interval, map, merge, of, repeat, takeWhile, throwError, timeout, timer,
  type Observable,
} from "rxjs";
import { asOperatorError, OperatorError } from "../core/errors.ts";
import type { Listing, StoredItem, WatchResponse } from "../core/store.ts";

export interface WatchPort {
  range(prefix: string): Promise<Listing>;
  /** The probe's question: answered only by a member that has a leader. */
  get(key: string): Promise<unknown>;
  watch(prefix: string, from: bigint): Observable<WatchResponse>;
}

export type WatchNews =
  | { readonly kind: "listed"; readonly items: readonly StoredItem[] }
  | { readonly kind: "changed"; readonly puts: readonly StoredItem[]; readonly deletes: readonly string[] }
  | { readonly kind: "lost"; readonly error: OperatorError };

export interface WatchPace {
  readonly createTimeoutMs: number;
  readonly backoffMs: readonly [first: number, max: number];
  /** How often a silent stream is checked by a unary call. */
  readonly probeMs: number;
}

const PACE: WatchPace = { createTimeoutMs: 5_000, backoffMs: [100, 2_000], probeMs: 5_000 };

/** Where the chain of revisions stands; `next` undefined = list first. */
interface Chain { next: bigint | undefined; lost: boolean; failures: number }

export function watchPrefix(port: WatchPort, prefix: string, pace: WatchPace = PACE): Observable<WatchNews> {
  return defer(() => {
    const chain: Chain = { next: undefined, lost: false, failures: 0 };
    const round$ = defer(() => concat(list$(port, prefix, chain), follow$(port, prefix, chain, pace)));
    return round$.pipe(
      catchError((thrown: unknown) => of(lose(chain, asOperatorError(thrown)))),
      repeat({ delay: () => timer(pause(chain, pace)) }),
    );
  });
}

function lose(chain: Chain, error: OperatorError): WatchNews {
  chain.lost = true;
  chain.failures++;
  // A refused token is only renewed by a unary call, and the listing is one.
  if (error.code === "denied") chain.next = undefined;
  return { kind: "lost", error };
}

/** Jittered, 100 ms … 2 s; the first round after an orderly end is quick as well. */
function pause({ failures }: Chain, { backoffMs: [first, max] }: WatchPace): number {
  return Math.min(first * 2 ** Math.min(Math.max(failures - 1, 0), 10), max) * (0.5 + Math.random() / 2);
}

function list$(port: WatchPort, prefix: string, chain: Chain): Observable<WatchNews> {
  if (chain.next !== undefined) return EMPTY;
  return defer(() => port.range(prefix)).pipe(map(({ revision, items }) => {
    Object.assign(chain, { next: revision + 1n, lost: false });
    return { kind: "listed", items };
  }));
}

function follow$(port: WatchPort, prefix: string, chain: Chain, pace: WatchPace): Observable<WatchNews> {
  return defer(() => {
    const response$ = port.watch(prefix, chain.next ?? 1n).pipe(
      timeout({ first: pace.createTimeoutMs, with: () => throwError(() => silent(prefix)) }),
      concatMap((response) => digest(response, chain)),
    );
    const probe$ = interval(pace.probeMs).pipe(exhaustMap(() => port.get(prefix)), ignoreElements());
    // Completing means "begin a new round": with the listing again, since `digest` has cleared `next`.
    return merge(response$, probe$).pipe(takeWhile((news): news is WatchNews => news !== RELIST));
  });
}

const silent = (prefix: string): OperatorError => new OperatorError("timeout", `Cannot watch ${prefix} in etcd: the watch was not created in time`, {
  cure: "Check that etcd runs and that this node reaches the configured endpoints",
});

const RELIST = Symbol("list again");

function digest(response: WatchResponse, chain: Chain): readonly (WatchNews | typeof RELIST)[] {
  const relist = (): readonly [typeof RELIST] => {
    chain.next = undefined;
    return [RELIST];
  };
  const next = chain.next ?? 1n;
  if (response.canceled) {
    if (response.compactRevision !== 0n) return relist();
    throw canceled(response.reason);
  }
  if (response.created) return created(response.revision, next, chain) ? resumed(chain) : relist();
  const fresh = response.events.filter(({ item }) => item.modRevision >= next);
  const last = fresh.at(-1);
  if (last !== undefined) {
    chain.next = last.item.modRevision + 1n;
    return [changed(fresh)];
  }
  // Progress: raises the mark only. A lagging member may send an old one (etcd issue 20221).
  if (response.events.length === 0 && response.revision >= next) chain.next = response.revision + 1n;
  return [];
}

/**
 * A store behind our mark was restored or emptied. After a loss, a store ahead of it has events for us that would come in
 * behind this answer, in no known time: listing is the one way to know when the picture is whole.
 */
const created = (revision: bigint, next: bigint, { lost }: Chain): boolean =>
  revision + 1n >= next && (!lost || revision + 1n === next);

function resumed(chain: Chain): readonly WatchNews[] {
  chain.failures = 0;
  if (!chain.lost) return [];
  chain.lost = false;
  return [{ kind: "changed", puts: [], deletes: [] }];
}

/** The last word per key wins. */
function changed(events: WatchResponse["events"]): WatchNews {
  const byKey = new Map(events.map((event) => [event.item.key, event]));
  const last = [...byKey.values()];
  return {
    kind: "changed",
    puts: last.filter((event) => event.kind === "put").map((event) => event.item),
    deletes: last.filter((event) => event.kind === "delete").map((event) => event.item.key),
  };
}

/** etcd 3.4+ cancels a watch without permission with this reason (server/etcdserver/api/v3rpc/watch.go). */
function canceled(reason: string): OperatorError {
  const denied = /permission denied|auth token|unauthenticated/i.test(reason);
  return new OperatorError(denied ? "denied" : "unavailable", `Cannot watch etcd: ${reason === "" ? "the watch was cancelled" : reason}`, {
    cure: denied ? "Grant the etcd user's role read on everything below the configured prefix" : "Check etcd's log",
  });
}
