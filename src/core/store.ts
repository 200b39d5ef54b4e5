/**
 * What etcd offers us, as types: shared by the source that reads it and the sinks that write it.
 *
 * Rule: every method rejects with an OperatorError (`unavailable`, `timeout`, `denied`, `invalid`, `not-found`,
 * `exhausted`, `unsupported`) that carries a cure and never a secret. Keys are whole keys, as core/names.ts builds them.
 */
declare const lease: unique symbol;
/** etcd's lease id: a signed 64-bit number, in decimal. */
export type LeaseId = string & { readonly [lease]: true };

export interface StoredItem {
  readonly key: string;
  readonly value: string;
  /** Store revision of the last write of this key. */
  readonly modRevision: bigint;
  readonly createRevision: bigint;
  /** Writes since the key was created; 1 is the first. */
  readonly version: bigint;
  /** Absent when the key lives for ever. */
  readonly lease?: LeaseId;
}

export interface Listing { readonly revision: bigint; readonly items: readonly StoredItem[] }

/**
 * One condition of a transaction. A key that does not exist has `mod`, `create` and `version` 0.
 * With `prefix` it must hold for every key that starts with `key`, and holds when there is none.
 */
export interface Compare {
  readonly key: string;
  readonly prefix?: boolean;
  readonly target: "mod" | "create" | "version";
  readonly op: "=" | "!=" | "<" | ">";
  readonly value: bigint | number;
}

export type TxnOp =
  | { readonly do: "put"; readonly key: string; readonly value: string; readonly lease?: LeaseId }
  | { readonly do: "delete"; readonly key: string }
  | { readonly do: "deletePrefix"; readonly key: string }
  | { readonly do: "get"; readonly key: string }
  | { readonly do: "getPrefix"; readonly key: string };

/** etcd's default limit of operations in one branch of a transaction (`--max-txn-ops`). */
export const MAX_TXN_OPS = 128;

/** All conditions hold: `success` runs, else `failure`; each branch ≤ MAX_TXN_OPS, no key written twice. */
export interface Txn {
  readonly compare: readonly Compare[];
  readonly success: readonly TxnOp[];
  readonly failure?: readonly TxnOp[];
}

/** In the order of the branch that ran: items for get and getPrefix, number of keys for deletes. */
export interface TxnResponse { readonly items: readonly StoredItem[]; readonly deleted: number }
export interface TxnResult { readonly succeeded: boolean; readonly revision: bigint; readonly responses: readonly TxnResponse[] }

export interface EtcdClient {
  /** Every key that starts with the prefix, linearizable, in key order. */
  range(prefix: string): Promise<Listing>;
  /** One key, linearizable. */
  get(key: string): Promise<StoredItem | undefined>;
  /** A `timeout` or `unavailable` leaves open whether it was carried out: read again before repeating. */
  txn(txn: Txn): Promise<TxnResult>;
  grantLease(ttlSeconds: number): Promise<LeaseId>;
  /** Resolves with the new time to live in seconds; `not-found` when the lease has expired. */
  keepAliveOnce(id: LeaseId): Promise<number>;
  /** Deletes the lease and its keys; a lease that is gone is no error. */
  revokeLease(id: LeaseId): Promise<void>;
  /** Calls in flight reject with `unavailable`. */
  close(): void;
}

export interface WatchEvent { readonly kind: "put" | "delete"; readonly item: StoredItem }

/** One response of a watch stream, as etcd sends it. */
export interface WatchResponse {
  /** Store revision when it was sent. */
  readonly revision: bigint;
  readonly created: boolean;
  readonly canceled: boolean;
  /** Not 0 when the asked revision is no longer kept. */
  readonly compactRevision: bigint;
  readonly reason: string;
  readonly events: readonly WatchEvent[];
}
