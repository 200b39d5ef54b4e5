/** The watch loop against a store that misbehaves on purpose, in fake time. */
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { Observable, type Subscriber, type Subscription } from "rxjs";
import { OperatorError } from "../../src/core/errors.ts";
import type { EventName } from "../../src/core/events.ts";
import { keysBelow } from "../../src/core/names.ts";
import type { StoredItem, WatchEvent, WatchResponse } from "../../src/core/store.ts";
import { watchPrefix, type WatchNews, type WatchPort } from "../../src/sources/etcd-watch.ts";
import { etcdSource } from "../../src/sources/etcd.ts";

const item = (key: string, revision: number, value = "x"): StoredItem =>
  ({ key, value, modRevision: BigInt(revision), createRevision: 1n, version: 1n });
const put = (key: string, revision: number): WatchEvent => ({ kind: "put", item: item(key, revision) });
const remove = (key: string, revision: number): WatchEvent => ({ kind: "delete", item: item(key, revision, "") });
const response = (part: Partial<WatchResponse>): WatchResponse =>
  ({ revision: 0n, created: false, canceled: false, compactRevision: 0n, reason: "", events: [], ...part });
const gone = new OperatorError("unavailable", "Cannot reach etcd", { cure: "Start it" });

class Store implements WatchPort {
  revision = 10;
  items: StoredItem[] = [item("/w/a", 5)];
  listings = 0;
  readonly from: bigint[] = [];
  rangeError: OperatorError | undefined;
  probeError: OperatorError | undefined;
  silent = false;
  stream: Subscriber<WatchResponse> | undefined;
  async range() {
    this.listings++;
    if (this.rangeError !== undefined) throw this.rangeError;
    return { revision: BigInt(this.revision), items: this.items };
  }
  async get() { if (this.probeError !== undefined) throw this.probeError; }
  watch = (_prefix: string, from: bigint): Observable<WatchResponse> => new Observable((stream) => {
    this.from.push(from);
    this.stream = stream;
    if (!this.silent) void Promise.resolve().then(() => stream.next(response({ created: true, revision: BigInt(this.revision) })));
  });
  send(...events: WatchEvent[]): void {
    this.stream?.next(response({ revision: BigInt(this.revision), events }));
  }
}

let store: Store;
let news: WatchNews[];
let subscription: Subscription;
const kinds = (): string => news.map(({ kind }) => kind).join(" ");
const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);

beforeEach(async () => {
  jest.useFakeTimers();
  store = new Store();
  news = [];
  subscription = watchPrefix(store, "/w/").subscribe({ next: (one) => news.push(one), error: () => { throw new Error("must not error"); } });
  await pass(1);
});
afterEach(() => {
  subscription.unsubscribe();
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

test("watches from the revision behind the listing", () => {
  expect([kinds(), store.from]).toEqual(["listed", [11n]]);
});

test("resumes behind the last event delivered, not at the store's revision", async () => {
  store.revision = 20;
  store.send(put("/w/b", 12));
  store.stream?.error(gone);
  store.revision = 12;
  await pass(3_000);
  expect(store.from).toEqual([11n, 13n]);
  expect(kinds()).toBe("listed changed lost changed");
});

test("after a loss, a store that has moved on is listed: only then is the picture whole", async () => {
  store.stream?.error(gone);
  store.revision = 15;
  await pass(3_000);
  expect([kinds(), store.listings, store.from]).toEqual(["listed lost listed", 2, [11n, 11n, 16n]]);
});

test("compaction: listed again, nothing lost", async () => {
  store.revision = 30;
  store.stream?.next(response({ canceled: true, compactRevision: 25n }));
  await pass(3_000);
  expect([kinds(), store.from]).toEqual(["listed listed", [11n, 31n]]);
});

test("a store behind our mark was restored: listed again", async () => {
  store.stream?.error(gone);
  store.revision = 3;
  await pass(3_000);
  expect(kinds()).toBe("listed lost listed");
});

test("events already seen are dropped, the last word per key wins", () => {
  store.send(put("/w/old", 10), put("/w/b", 11), remove("/w/b", 12), put("/w/c", 12));
  store.send(put("/w/c", 12));
  expect(news.slice(1)).toEqual([{ kind: "changed", puts: [item("/w/c", 12)], deletes: ["/w/b"] }]);
});

test("progress raises the mark and never lowers it", async () => {
  for (const revision of [40n, 20n]) store.stream?.next(response({ revision }));
  store.stream?.error(gone);
  store.revision = 40;
  await pass(3_000);
  expect(store.from).toEqual([11n, 41n]);
});

test("a watch that is not created in 5 s is given up", async () => {
  store.silent = true;
  store.stream?.error(gone);
  await pass(5_200);
  expect(news.at(-1)).toMatchObject({ kind: "lost", error: { code: "timeout" } });
});

test("a silent stream is probed: a member without a leader counts as lost", async () => {
  store.probeError = gone;
  await pass(5_001);
  expect(kinds()).toBe("listed lost");
});

test("permission denied: lost with that code, asked again by a unary call, ever slower", async () => {
  store.stream?.next(response({ canceled: true, reason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied" }));
  expect(news.at(-1)).toMatchObject({ kind: "lost", error: { code: "denied" } });
  store.rangeError = new OperatorError("denied", "Cannot read");
  store.listings = 0;
  await pass(60_000);
  expect(store.listings).toBeGreaterThan(20);
  expect(store.listings).toBeLessThan(80);
});

test("a container that two node ids name is the newer record's, and goes with it", async () => {
  subscription.unsubscribe();
  const body = (node: string) => JSON.stringify({ id: "c1", node, name: "n", hostname: "h", state: "running", health: "none", sandbox: "s", networks: {} });
  const at = (node: string, revision: number) => item(`/w/nodes/${node}/containers/c1`, revision, body(node));
  store.items = [at("new", 9), at("old", 6)];
  const nodes: (string | undefined)[] = [];
  subscription = etcdSource({ client: store, keys: keysBelow("/w"), emit: () => undefined }).views$
    .subscribe(({ containers }) => nodes.push(containers.items.get("c1")?.node));
  await pass(1);
  store.send({ kind: "delete", item: item("/w/nodes/old/containers/c1", 11) });
  store.send({ kind: "delete", item: item("/w/nodes/new/containers/c1", 12) });
  expect(nodes).toEqual([undefined, "new", undefined]);
});

test("a record that was never readable makes its kind partial, a stray key does not; a readable past is kept", async () => {
  subscription.unsubscribe();
  const task = JSON.stringify({ id: "t", slot: 1, state: "running", desiredState: "running", index: 1 });
  store.items = [item("/w/docker/networks/n", 4, "{"), item("/w/networks/f/subnets/foo", 4, "{"), item("/w/docker/tasks/t", 4, task)];
  const coverage: string[] = [];
  const garbage: [EventName, unknown][] = [];
  subscription = etcdSource({ client: store, keys: keysBelow("/w"), emit: (event, fields) => { garbage.push([event, fields]); } }).views$
    .subscribe(({ networks, subnets, tasks }) => coverage.push(`${networks.coverage} ${subnets.coverage} ${tasks.coverage} ${tasks.items.size}`));
  await pass(1);
  store.send({ kind: "put", item: item("/w/docker/tasks/t", 11, "{") });
  store.send(remove("/w/docker/networks/n", 12));
  expect(coverage).toEqual(["unknown unknown unknown 0", "partial complete complete 1", "complete complete complete 1"]);
  expect(garbage.filter(([event]) => event === "source.garbage")).toHaveLength(3);
});
