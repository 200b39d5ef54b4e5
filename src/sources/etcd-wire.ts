/**
 * Between the types of core/store.ts and etcd's protocol messages.
 *
 * Rule: pure. 64-bit numbers travel as decimal text and become bigint, so no revision is rounded.
 */
import type * as etcd3 from "etcd3";
import type { Compare, LeaseId, StoredItem, Txn, TxnOp, TxnResponse, TxnResult, WatchResponse } from "../core/store.ts";

export const keyBytes = (key: string): Buffer => Buffer.from(key, "utf8");

/** The first key after all that start with the prefix (etcd API, "range_end"); the prefix must not be empty. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix, "utf8");
  for (let i = end.length - 1; i >= 0; i--) {
    const byte = end[i] ?? 0xff;
    if (byte < 0xff) {
      end[i] = byte + 1;
      return end.subarray(0, i + 1);
    }
  }
  return Buffer.from([0]);
}

export function storedItem(kv: etcd3.IKeyValue): StoredItem {
  return {
    key: kv.key.toString("utf8"), value: kv.value.toString("utf8"),
    modRevision: BigInt(kv.mod_revision), createRevision: BigInt(kv.create_revision), version: BigInt(kv.version),
    ...(kv.lease === "0" ? {} : { lease: kv.lease as LeaseId }),
  };
}

const RESULT = { "=": "Equal", "!=": "NotEqual", "<": "Less", ">": "Greater" } as const;
const TARGET = { mod: "Mod", create: "Create", version: "Version" } as const;
const FIELD = { mod: "mod_revision", create: "create_revision", version: "version" } as const;

function compare({ key, prefix, target, op, value }: Compare): etcd3.ICompare {
  return {
    key: keyBytes(key), ...(prefix === true ? { range_end: prefixEnd(key) } : {}),
    result: RESULT[op], target: TARGET[target], [FIELD[target]]: String(value),
  };
}

function operation(op: TxnOp): etcd3.IRequestOp {
  const key = keyBytes(op.key);
  switch (op.do) {
    case "put": return { request_put: { key, value: Buffer.from(op.value, "utf8"), ...(op.lease === undefined ? {} : { lease: op.lease }) } };
    case "delete": return { request_delete_range: { key } };
    case "deletePrefix": return { request_delete_range: { key, range_end: prefixEnd(op.key) } };
    case "get": return { request_range: { key } };
    case "getPrefix": return { request_range: { key, range_end: prefixEnd(op.key) } };
  }
}

export const txnRequest = (txn: Txn): etcd3.ITxnRequest => ({
  compare: txn.compare.map(compare), success: txn.success.map(operation), failure: (txn.failure ?? []).map(operation),
});

/** The protocol's oneof: of the three answers one is set, the others are null or absent. */
function opResponse(response: Partial<Record<keyof etcd3.IResponseOp, unknown>>): TxnResponse {
  const range = response.response_range as etcd3.IRangeResponse | null | undefined;
  const deleted = response.response_delete_range as etcd3.IDeleteRangeResponse | null | undefined;
  return { items: (range?.kvs ?? []).map(storedItem), deleted: Number(deleted?.deleted ?? 0) };
}

export const txnResult = (response: etcd3.ITxnResponse): TxnResult => ({
  succeeded: response.succeeded, revision: BigInt(response.header.revision), responses: response.responses.map(opResponse),
});

export const watchResponse = (response: etcd3.IWatchResponse): WatchResponse => ({
  revision: BigInt(response.header.revision), created: response.created, canceled: response.canceled,
  compactRevision: BigInt(response.compact_revision), reason: response.cancel_reason,
  events: response.events.map((event) => ({ kind: event.type === "Delete" ? "delete" : "put", item: storedItem(event.kv) })),
});
