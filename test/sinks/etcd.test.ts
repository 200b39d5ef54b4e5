/** The etcd sink: one transaction holds what it may, a failed condition is a conflict; the node's lease lives as long as etcd says. */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import { MAX_TXN_OPS, type EtcdClient, type LeaseId, type StoredItem, type Txn } from "../../src/core/store.ts";
import { etcdSink, NodeLease, type EtcdChange } from "../../src/sinks/etcd.ts";

const MINE = "77" as LeaseId;
const item = (key: string, lease?: LeaseId): StoredItem =>
  ({ key, value: `of ${key}`, modRevision: 5n, createRevision: 1n, version: 1n, ...(lease === undefined ? {} : { lease }) });
const quiet = new AbortController().signal;

interface Desk { readonly txns: Txn[]; succeeded: boolean; asked: number; current: LeaseId | undefined; readonly sink: ReturnType<typeof etcdSink> }
function desk(items: readonly StoredItem[] = []): Desk {
  const txns: Txn[] = [];
  const client = {
    range: (prefix: string) => Promise.resolve({ revision: 9n, items: items.filter(({ key }) => key.startsWith(prefix)) }),
    txn: (txn: Txn) => { txns.push(txn); return Promise.resolve({ succeeded: state.succeeded, revision: 10n, responses: [] }); },
  } as unknown as EtcdClient;
  const lease = { id: () => { state.asked += 1; return Promise.resolve(MINE); }, current: () => state.current };
  const state: Desk = { txns, succeeded: true, asked: 0, current: MINE, sink: etcdSink({ client, lease, prefixes: () => ["/a/", "/b/"] }) };
  return state;
}
const put = (key: string, leased = false): EtcdChange => ({
  op: "create", key, why: "missing", compare: [{ key, target: "mod", op: "=", value: 0 }], ops: [{ do: leased ? "putLeased" : "put", key, value: "v" }],
});

describe("the etcd sink", () => {
  it("sees what lies below its prefixes, and what hangs on the lease of this life", async () => {
    const { sink } = desk([item("/a/1", MINE), item("/a/2", "76" as LeaseId), item("/b/3"), item("/c/4")]);
    expect([...await sink.observe(quiet)].map(([key, { leased, modRevision }]) => [key, leased, modRevision])).toEqual([["/a/1", true, 5n], ["/a/2", false, 5n], ["/b/3", false, 5n]]);
    const young = desk([item("/a/1", MINE)]);
    young.current = undefined;
    expect((await young.sink.observe(quiet)).get("/a/1")?.leased).toBe(false);
  });

  it("hangs on the node's lease what asks for it, and asks for no lease otherwise", async () => {
    const state = desk();
    await state.sink.apply([put("/a/1"), put("/a/2", true)], quiet);
    expect(state.txns).toEqual([{
      compare: [{ key: "/a/1", target: "mod", op: "=", value: 0 }, { key: "/a/2", target: "mod", op: "=", value: 0 }],
      success: [{ do: "put", key: "/a/1", value: "v" }, { do: "put", key: "/a/2", value: "v", lease: MINE }],
    }]);
    await state.sink.apply([put("/a/3")], quiet);
    expect(state.asked).toBe(1);
  });

  it.each([[1, 1], [MAX_TXN_OPS, 1], [MAX_TXN_OPS + 1, 2], [3 * MAX_TXN_OPS, 3]])("%i changes: %i transactions, in order, none too large", async (count, expected) => {
    const state = desk();
    const changes = Array.from({ length: count }, (_, n) => put(`/a/${n}`));
    await state.sink.apply(changes, quiet);
    expect(state.txns).toHaveLength(expected);
    expect(Math.max(...state.txns.map(({ success, compare }) => Math.max(success.length, compare.length)))).toBeLessThanOrEqual(MAX_TXN_OPS);
    expect(state.txns.flatMap(({ success }) => success.map(({ key }) => key))).toEqual(changes.map(({ key }) => key));
  });

  it("keeps one change whole in one transaction", async () => {
    const state = desk();
    const wide: EtcdChange = { ...put("/a/wide"), ops: Array.from({ length: 100 }, (_, n) => ({ do: "delete", key: `/a/${n}` }) as const) };
    await state.sink.apply([...Array.from({ length: 60 }, (_, n) => put(`/b/${n}`)), wide], quiet);
    expect(state.txns.map(({ success }) => success.length)).toEqual([60, 100]);
  });

  it("calls a failed condition a conflict, writes nothing after it, and stops when given up", async () => {
    const state = desk();
    state.succeeded = false;
    await expect(state.sink.apply(Array.from({ length: 200 }, (_, n) => put(`/a/${n}`)), quiet)).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("/a/0") });
    expect(state.txns).toHaveLength(1);
    await expect(state.sink.apply([put("/a/1")], AbortSignal.abort())).rejects.toMatchObject({ code: "timeout" });
    expect(state.txns).toHaveLength(1);
  });
});

describe("the node's lease", () => {
  beforeEach(() => { jest.useFakeTimers(); });
  afterEach(() => { jest.useRealTimers(); });
  const kept = (renew: () => Promise<number>) => {
    let granted = 0;
    const lost = jest.fn();
    const client = { grantLease: () => Promise.resolve(`${++granted}` as LeaseId), keepAliveOnce: jest.fn(renew) };
    return { client, lost, lease: new NodeLease({ client: client as unknown as EtcdClient, ttlSeconds: 9, onLost: lost }) };
  };

  it("is granted once for all who ask, and kept at a third of its time", async () => {
    const { lease, client, lost } = kept(() => Promise.resolve(9));
    expect(lease.current()).toBeUndefined();
    expect(await Promise.all([lease.id(), lease.id()])).toEqual(["1", "1"]);
    await jest.advanceTimersByTimeAsync(9_000);
    expect([client.keepAliveOnce.mock.calls.length, lease.current(), lost.mock.calls.length]).toEqual([3, "1", 0]);
    lease.stop();
    expect(jest.getTimerCount()).toBe(0);
  });

  it("is not lost while etcd is merely out of reach; lost, it is told once and replaced at the next need", async () => {
    let code: "unavailable" | "not-found" = "unavailable";
    const { lease, lost } = kept(() => Promise.reject(new OperatorError(code, "Cannot renew")));
    await lease.id();
    await jest.advanceTimersByTimeAsync(30_000);
    expect([lease.current(), lost.mock.calls.length]).toEqual(["1", 0]);
    code = "not-found";
    await jest.advanceTimersByTimeAsync(9_000);
    expect([lease.current(), lost.mock.calls.length]).toEqual([undefined, 1]);
    expect(await lease.id()).toBe("2");
    lease.stop();
  });
});
