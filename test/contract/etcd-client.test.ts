/** The etcd client on a real etcd: what core/store.ts promises is what etcd does. */
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import { connectEtcd, type WatchingClient } from "../../src/sources/etcd-client.ts";
import { watchPrefix, type WatchNews } from "../../src/sources/etcd-watch.ts";
import { startEtcd, until, type EtcdServer } from "./etcd-server.ts";

const NOT_THERE = "http://127.0.0.1:1";
jest.setTimeout(120_000);

let server: EtcdServer;
let client: WatchingClient;

beforeAll(async () => {
  server = await startEtcd();
  client = connectEtcd({ endpoints: [server.endpoint] });
});
afterEach(() => {
  server.thaw();
  server.ctl("del", "", "--prefix");
});
afterAll(async () => {
  client.close();
  await server.remove();
});

const put = (key: string, value: string) => client.txn({ compare: [], success: [{ do: "put", key, value }] });
const failure = async (call: Promise<unknown>): Promise<OperatorError> => {
  const error = await call.then(() => undefined, (thrown: unknown) => thrown);
  if (!(error instanceof OperatorError)) throw new Error(`expected an OperatorError, got ${String(error)}`);
  return error;
};

describe("client", () => {
  test("lists a prefix and nothing beside it", async () => {
    for (const key of ["/a/1", "/a/2", "/b"]) await put(key, `value of ${key}`);
    const { revision, items } = await client.range("/a/");
    expect(items.map(({ key, value }) => [key, value])).toEqual([["/a/1", "value of /a/1"], ["/a/2", "value of /a/2"]]);
    expect(items.every((item) => item.modRevision <= revision && item.version === 1n && item.lease === undefined)).toBe(true);
    expect((await client.get("/b"))?.value).toBe("value of /b");
    expect(await client.get("/c")).toBeUndefined();
  });

  test("creates only what is absent", async () => {
    const claim = () => client.txn({
      compare: [{ key: "/k", target: "create", op: "=", value: 0 }],
      success: [{ do: "put", key: "/k", value: "mine" }], failure: [{ do: "get", key: "/k" }],
    });
    expect((await claim()).succeeded).toBe(true);
    const second = await claim();
    expect(second.succeeded).toBe(false);
    expect(second.responses[0]?.items[0]?.value).toBe("mine");
  });

  test("compares a whole prefix: nothing below it changed since the listing", async () => {
    const claim = (since: bigint, key: string) => client.txn({
      compare: [{ key: "/pools/", prefix: true, target: "mod", op: "<", value: since + 1n }],
      success: [{ do: "put", key, value: "x" }], failure: [{ do: "getPrefix", key: "/pools/" }],
    });
    const empty = await client.range("/pools/");
    expect((await claim(empty.revision, "/pools/a")).succeeded).toBe(true);
    const late = await claim(empty.revision, "/pools/b");
    expect(late.succeeded).toBe(false);
    expect(late.responses[0]?.items.map((item) => item.key)).toEqual(["/pools/a"]);
    expect((await claim((await client.range("/pools/")).revision, "/pools/b")).succeeded).toBe(true);
  });

  test("deletes by key and by prefix and says how many", async () => {
    for (const key of ["/d/1", "/d/2", "/e"]) await put(key, "x");
    const { responses } = await client.txn({ compare: [], success: [{ do: "deletePrefix", key: "/d/" }, { do: "delete", key: "/e" }] });
    expect(responses.map(({ deleted }) => deleted)).toEqual([2, 1]);
  });

  test("a lease carries its keys, is renewed, and takes them along", async () => {
    const id = await client.grantLease(30);
    await client.txn({ compare: [], success: [{ do: "put", key: "/l", value: "x", lease: id }] });
    expect((await client.get("/l"))?.lease).toBe(id);
    expect(await client.keepAliveOnce(id)).toBe(30);
    await client.revokeLease(id);
    expect(await client.get("/l")).toBeUndefined();
    expect((await failure(client.keepAliveOnce(id))).code).toBe("not-found");
    await client.revokeLease(id);
    expect((await failure(client.txn({ compare: [], success: [{ do: "put", key: "/l", value: "x", lease: id }] }))).code).toBe("not-found");
  });

  test("says invalid for too many operations and for a key written twice", async () => {
    const many = Array.from({ length: 129 }, (_, n) => ({ do: "put", key: `/m/${n}`, value: "x" }) as const);
    expect((await failure(client.txn({ compare: [], success: many }))).code).toBe("invalid");
    expect((await failure(client.txn({ compare: [], success: [...many.slice(0, 1), ...many.slice(0, 1)] }))).code).toBe("invalid");
  });

  test("carries values larger than gRPC's default of 4 MB in one listing", async () => {
    for (let n = 0; n < 6; n++) await put(`/big/${n}`, "x".repeat(1_000_000));
    expect((await client.range("/big/")).items).toHaveLength(6);
  });

  test("nobody listens: unavailable, with a cure, in bounded time", async () => {
    const alone = connectEtcd({ endpoints: [NOT_THERE] });
    const error = await failure(alone.range("/a/"));
    alone.close();
    expect([error.code, error.message]).toEqual(["unavailable", expect.stringMatching(/^Cannot read \/a\/ from etcd: .*ECONNREFUSED/)]);
    expect(error.cure).toContain("Check that etcd runs");
  });

  test("one dead endpoint among three costs a retry, not a failure", async () => {
    const some = connectEtcd({ endpoints: [NOT_THERE, "http://127.0.0.1:2", server.endpoint] });
    for (let n = 0; n < 20; n++) await some.txn({ compare: [], success: [{ do: "put", key: "/some", value: String(n) }] });
    expect((await some.get("/some"))?.value).toBe("19");
    some.close();
  });

  test("a member that hangs: timeout instead of waiting for ever", async () => {
    server.freeze();
    const error = await failure(client.txn({ compare: [], success: [{ do: "put", key: "/h", value: "x" }] }));
    server.thaw();
    expect(error.code).toBe("timeout");
    await put("/h", "y");
  });

  test("after close, calls say unavailable", async () => {
    const closed = connectEtcd({ endpoints: [server.endpoint] });
    await closed.get("/x");
    closed.close();
    expect((await failure(closed.get("/x"))).code).toBe("unavailable");
  });

  test.each([
    [{ endpoints: [] }, "no endpoint"],
    [{ endpoints: ["http://a:1", "https://b:1"] }, "mixed"],
    [{ endpoints: ["http://a:1"], ca: "x" }, "not https"],
    [{ endpoints: ["https://a:1"], cert: "x" }, "needs its key"],
    [{ endpoints: ["https://a:1"], ca: "not PEM" }, "not valid PEM"],
    [{ endpoints: ["https://a:1"], cert: "SECRET", key: "SECRET" }, "not valid PEM"],
    [{ endpoints: ["http://u:SECRET@a:1"] }, "contains a user"],
  ])("refuses settings that cannot work: %j", (access, reason) => {
    expect(() => connectEtcd(access)).toThrow(reason);
    expect(() => connectEtcd(access)).not.toThrow("SECRET");
  });
});

describe("an etcd with users", () => {
  let guarded: EtcdServer;
  beforeAll(async () => {
    guarded = await startEtcd();
    guarded.ctl("user", "add", "root:rootpw");
    guarded.ctl("role", "add", "root");
    guarded.ctl("user", "grant-role", "root", "root");
    guarded.ctl("user", "add", "fnp:PASSW0RD");
    guarded.ctl("role", "add", "fnp");
    guarded.ctl("role", "grant-permission", "fnp", "--prefix=true", "readwrite", "/w/");
    guarded.ctl("user", "grant-role", "fnp", "fnp");
    guarded.ctl("auth", "enable");
  });
  afterAll(() => guarded.remove());
  const as = (user?: string, password?: string): WatchingClient =>
    connectEtcd({ endpoints: [guarded.endpoint], ...(user === undefined || password === undefined ? {} : { user, password }) });

  test.each([[undefined, undefined], ["fnp", "WR0NGPASS"], ["nobody", "WR0NGPASS"]])("user %s with password %s: denied, and the password is not told", async (user, password) => {
    const stranger = as(user, password);
    const error = await failure(stranger.get("/w/x"));
    stranger.close();
    expect(error.code).toBe("denied");
    expect(JSON.stringify([error.message, error.cure, error.context, String(error.stack), error.cause])).not.toContain("WR0NGPASS");
  });

  test("outside its prefix: denied", async () => {
    const inner = as("fnp", "PASSW0RD");
    await inner.txn({ compare: [], success: [{ do: "put", key: "/w/x", value: "y" }] });
    expect((await failure(inner.get("/other"))).code).toBe("denied");
    inner.close();
  });

  test("its tokens are forgotten in a restart: calls and watch go on with new ones", async () => {
    const inner = as("fnp", "PASSW0RD");
    const news: WatchNews[] = [];
    const running = watchPrefix(inner, "/w/").subscribe((item) => news.push(item));
    await until(() => news.length > 0, "listed");
    await guarded.kill();
    await guarded.start();
    await until(async () => inner.txn({ compare: [], success: [{ do: "put", key: "/w/after", value: "z" }] }).then(() => true, () => false), "a write goes through");
    await until(() => news.some((item) => (item.kind === "changed" ? item.puts : item.kind === "listed" ? item.items : []).some(({ key }) => key === "/w/after")), "the watch sees it");
    running.unsubscribe();
    inner.close();
  });
});
