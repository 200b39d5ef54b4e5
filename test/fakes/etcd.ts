/**
 * etcd in memory: revisions, transactions, leases that expire, watches that resume; each client can be cut off or made to fail.
 *
 * Rule: a watch may break before any event but never loses one; a transaction that fails may have been carried out, as in etcd.
 */
import { Observable, type Subscriber } from "rxjs";
import { OperatorError } from "../../src/core/errors.ts";
import type { Compare, LeaseId, StoredItem, Txn, TxnOp, TxnResponse, TxnResult, WatchEvent, WatchResponse } from "../../src/core/store.ts";
import type { WatchingClient } from "../../src/sources/etcd-client.ts";

/** How a client's calls go: out of reach, failing now and then, never answered any more. */
export interface Line {
  readonly isCut: () => boolean;
  /** True: this call fails. */
  readonly fails: () => boolean;
  /** False: the process behind it has ended, nobody waits for an answer. */
  readonly isAlive: () => boolean;
}

interface Watch { readonly line: Line; readonly prefix: string; readonly out: Subscriber<WatchResponse> }

const unavailable = (doing: string, reason: string): OperatorError => new OperatorError("unavailable", `Cannot ${doing}: ${reason}`, { cure: "Start etcd" });
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

export class FakeEtcd {
  readonly items = new Map<string, StoredItem>();
  /** Called before a key goes. */
  onDelete: (key: string) => void = () => undefined;
  #revision = 1n;
  #leases = 0;
  readonly #timers = new Map<LeaseId, { readonly ttlSeconds: number; timer: NodeJS.Timeout }>();
  readonly #history: { readonly revision: bigint; readonly event: WatchEvent }[] = [];
  readonly #watches = new Set<Watch>();

  client(line: Line): WatchingClient {
    const ask = async <T>(doing: string, answer: () => T): Promise<T> => {
      await Promise.resolve();
      if (!line.isAlive()) return never<T>();
      if (line.isCut()) throw unavailable(doing, "connection refused");
      if (line.fails()) throw unavailable(doing, "a fault was injected");
      return answer();
    };
    return {
      range: (prefix) => ask(`read ${prefix} from etcd`, () => ({ revision: this.#revision, items: this.#below(prefix) })),
      get: (key) => ask(`read ${key} from etcd`, () => this.items.get(key)),
      txn: async (txn) => {
        const result = await ask("write to etcd", () => this.txn(txn));
        if (line.fails()) throw unavailable("write to etcd", "the answer was lost");
        return result;
      },
      grantLease: (ttlSeconds) => ask("get a lease from etcd", () => this.#grant(ttlSeconds)),
      keepAliveOnce: (id) => ask("renew a lease in etcd", () => this.#renew(id)),
      revokeLease: (id) => ask("give a lease back to etcd", () => { this.#expire(id); }),
      watch: (prefix, from) => this.#watch(line, prefix, from),
      close: () => undefined,
    };
  }

  /** Streams of clients that are cut off by now end. */
  breakWatches(): void {
    for (const watch of [...this.#watches]) if (watch.line.isCut()) watch.out.error(unavailable("watch etcd", "the stream ended"));
  }

  put(key: string, value: string): void { this.txn({ compare: [], success: [{ do: "put", key, value }] }); }
  delete(key: string): void { this.txn({ compare: [], success: [{ do: "delete", key }] }); }

  txn({ compare, success, failure = [] }: Txn): TxnResult {
    const succeeded = compare.every((condition) => this.#holds(condition));
    const ops = succeeded ? success : failure;
    const writes = ops.some((op) => op.do === "put" || (op.do === "delete" ? this.items.has(op.key) : op.do === "deletePrefix" && this.#below(op.key).length > 0));
    if (writes) this.#revision += 1n;
    const events: WatchEvent[] = [];
    const responses = ops.map((op) => this.#run(op, events));
    for (const event of events) this.#history.push({ revision: this.#revision, event });
    if (events.length > 0) this.#tell(events);
    return { succeeded, revision: this.#revision, responses };
  }

  #below(prefix: string): StoredItem[] {
    return [...this.items.values()].filter(({ key }) => key.startsWith(prefix)).sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #holds({ key, prefix, target, op, value }: Compare): boolean {
    const seen = prefix === true ? this.#below(key) : [this.items.get(key)];
    const field = { mod: "modRevision", create: "createRevision", version: "version" } as const;
    return seen.every((item) => {
      const is = item?.[field[target]] ?? 0n;
      const wanted = BigInt(value);
      return op === "=" ? is === wanted : op === "!=" ? is !== wanted : op === "<" ? is < wanted : is > wanted;
    });
  }

  #run(op: TxnOp, events: WatchEvent[]): TxnResponse {
    if (op.do === "get" || op.do === "getPrefix") {
      return { items: op.do === "get" ? [this.items.get(op.key)].filter((item) => item !== undefined) : this.#below(op.key), deleted: 0 };
    }
    if (op.do === "put") {
      const before = this.items.get(op.key);
      const item: StoredItem = {
        key: op.key, value: op.value, modRevision: this.#revision, createRevision: before?.createRevision ?? this.#revision, version: (before?.version ?? 0n) + 1n,
        ...(op.lease === undefined ? {} : { lease: op.lease }),
      };
      if (op.lease !== undefined && !this.#timers.has(op.lease)) throw new OperatorError("not-found", "Cannot write to etcd: requested lease not found");
      this.items.set(op.key, item);
      events.push({ kind: "put", item });
      return { items: [], deleted: 0 };
    }
    const gone = op.do === "delete" ? [this.items.get(op.key)].filter((item) => item !== undefined) : this.#below(op.key);
    for (const item of gone) {
      this.onDelete(item.key);
      this.items.delete(item.key);
      events.push({ kind: "delete", item: { ...item, value: "", modRevision: this.#revision, createRevision: 0n, version: 0n } });
    }
    return { items: [], deleted: gone.length };
  }

  #grant(ttlSeconds: number): LeaseId {
    this.#leases += 1;
    const id = String(this.#leases) as LeaseId;
    this.#timers.set(id, { ttlSeconds, timer: setTimeout(() => this.#expire(id), ttlSeconds * 1_000) });
    return id;
  }

  #renew(id: LeaseId): number {
    const lease = this.#timers.get(id);
    if (lease === undefined) throw new OperatorError("not-found", `Cannot renew lease ${id} in etcd: it has expired`);
    clearTimeout(lease.timer);
    lease.timer = setTimeout(() => this.#expire(id), lease.ttlSeconds * 1_000);
    return lease.ttlSeconds;
  }

  #expire(id: LeaseId): void {
    clearTimeout(this.#timers.get(id)?.timer);
    this.#timers.delete(id);
    const keys = [...this.items.values()].filter(({ lease }) => lease === id).map(({ key }) => key);
    const silent = this.onDelete;
    this.onDelete = () => undefined;
    if (keys.length > 0) this.txn({ compare: [], success: keys.map((key) => ({ do: "delete", key })) });
    this.onDelete = silent;
  }

  #watch(line: Line, prefix: string, from: bigint): Observable<WatchResponse> {
    return new Observable((out) => {
      const watch: Watch = { line, prefix, out };
      queueMicrotask(() => {
        if (out.closed || !line.isAlive()) return;
        if (line.isCut() || line.fails()) return out.error(unavailable(`watch ${prefix} in etcd`, "no connection"));
        out.next(this.#response(true, []));
        const missed = this.#history.filter(({ revision, event }) => revision >= from && event.item.key.startsWith(prefix)).map(({ event }) => event);
        if (missed.length > 0) out.next(this.#response(false, missed));
        this.#watches.add(watch);
      });
      return () => { this.#watches.delete(watch); };
    });
  }

  #tell(events: readonly WatchEvent[]): void {
    for (const watch of [...this.#watches]) {
      const heard = events.filter(({ item }) => item.key.startsWith(watch.prefix));
      if (heard.length === 0) continue;
      const response = this.#response(false, heard);
      queueMicrotask(() => {
        if (!this.#watches.has(watch) || !watch.line.isAlive()) return;
        if (watch.line.fails()) watch.out.error(unavailable("watch etcd", "a fault was injected"));
        else watch.out.next(response);
      });
    }
  }

  #response(created: boolean, events: readonly WatchEvent[]): WatchResponse {
    return { revision: this.#revision, created, canceled: false, compactRevision: 0n, reason: "", events };
  }
}
