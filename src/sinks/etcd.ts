/**
 * Entries in etcd that reconcilers keep: read by prefix, written by transactions that compare what was read.
 *
 * In:  changes that carry their own conditions and operations.  Out: entries with the revision they were read at.
 * Rule: a condition that fails is a `conflict`; the engine looks again. Our leased keys hang on the node's lease.
 */
import { OperatorError } from "../core/errors.ts";
import type { Change } from "../core/plan.ts";
import type { Sink } from "../core/reconciler.ts";
import { MAX_TXN_OPS, type Compare, type EtcdClient, type LeaseId, type TxnOp } from "../core/store.ts";

export interface EtcdEntry {
  readonly value: string;
  readonly modRevision: bigint;
  /** True when it hangs on this process's node lease. */
  readonly leased: boolean;
}
export type EtcdTable = ReadonlyMap<string, EtcdEntry>;

/** A put without a lease of its own says whether it is to hang on the node's. */
export type EtcdOp = TxnOp | { readonly do: "putLeased"; readonly key: string; readonly value: string };
export interface EtcdChange extends Change { readonly compare: readonly Compare[]; readonly ops: readonly EtcdOp[] }

/** The lease that this node's facts hang on; asked for when first needed. */
export interface LeaseHolder { id(): Promise<LeaseId>; current(): LeaseId | undefined }

export interface EtcdSinkOptions {
  readonly client: EtcdClient;
  readonly prefixes: () => readonly string[];
  readonly lease: LeaseHolder;
}

export function etcdSink({ client, prefixes, lease }: EtcdSinkOptions): Sink<EtcdTable, EtcdChange> {
  return {
    async observe() {
      const listings = await Promise.all(prefixes().map((prefix) => client.range(prefix)));
      const current = lease.current();
      return new Map(listings.flatMap(({ items }) => items).map((item) =>
        [item.key, { value: item.value, modRevision: item.modRevision, leased: current !== undefined && item.lease === current }]));
    },
    async apply(changes, signal) {
      const needsLease = changes.some(({ ops }) => ops.some((op) => op.do === "putLeased"));
      const id = needsLease ? await lease.id() : undefined;
      for (const batch of batches(changes)) {
        if (signal.aborted) throw new OperatorError("timeout", "Cannot write all entries to etcd: the run was given up");
        const compare = batch.flatMap((change) => change.compare);
        const { succeeded } = await client.txn({ compare, success: batch.flatMap(({ ops }) => ops.map((op) => onLease(op, id))) });
        if (!succeeded) {
          throw new OperatorError("conflict", `Cannot write ${batch.map(({ key }) => key).join(", ").slice(0, 300)}: somebody else wrote meanwhile`);
        }
      }
    },
  };
}

function onLease(op: EtcdOp, id: LeaseId | undefined): TxnOp {
  if (op.do !== "putLeased") return op;
  return { do: "put", key: op.key, value: op.value, ...(id === undefined ? {} : { lease: id }) };
}

/** Neighbours share a transaction as far as etcd's limit goes. */
function batches(changes: readonly EtcdChange[]): EtcdChange[][] {
  const result: EtcdChange[][] = [];
  let size = MAX_TXN_OPS;
  for (const change of changes) {
    const weight = Math.max(change.compare.length, change.ops.length);
    if (size + weight > MAX_TXN_OPS) {
      result.push([]);
      size = 0;
    }
    result.at(-1)?.push(change);
    size += weight;
  }
  return result;
}

export interface NodeLeaseOptions {
  readonly client: EtcdClient;
  readonly ttlSeconds: number;
  /** Called when the lease was lost: its keys are gone and must be written again. */
  readonly onLost: () => void;
}

/** Keeps one lease alive at a third of its time; a lost one is replaced at the next need. */
export class NodeLease implements LeaseHolder {
  readonly #options: NodeLeaseOptions;
  #id: LeaseId | undefined;
  #timer: NodeJS.Timeout | undefined;
  #granting: Promise<LeaseId> | undefined;

  constructor(options: NodeLeaseOptions) {
    this.#options = options;
  }

  current(): LeaseId | undefined {
    return this.#id;
  }

  async id(): Promise<LeaseId> {
    if (this.#id !== undefined) return this.#id;
    this.#granting ??= this.#grant();
    try {
      return await this.#granting;
    } finally {
      this.#granting = undefined;
    }
  }

  async #grant(): Promise<LeaseId> {
    const { client, ttlSeconds } = this.#options;
    const id = await client.grantLease(ttlSeconds);
    this.#id = id;
    this.#timer ??= setInterval(() => void this.#keep(), (ttlSeconds * 1000) / 3);
    return id;
  }

  async #keep(): Promise<void> {
    const id = this.#id;
    if (id === undefined) return;
    try {
      await this.#options.client.keepAliveOnce(id);
    } catch (error) {
      // Out of reach is no loss: the lease may still live. Only etcd's "not found" is.
      if (!(error instanceof OperatorError) || error.code !== "not-found") return;
      if (this.#id === id) this.#id = undefined;
      this.#options.onLost();
    }
  }

  /** What hangs on it is no longer ours to keep; the next need takes a new one. */
  forget(): void {
    this.#id = undefined;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
