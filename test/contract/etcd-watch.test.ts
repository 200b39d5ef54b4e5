/** The watch loop on a real etcd that dies, hangs, compacts and is emptied. */
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import type { Subscription } from "rxjs";
import { connectEtcd, type WatchingClient } from "../../src/sources/etcd-client.ts";
import { watchPrefix, type WatchNews } from "../../src/sources/etcd-watch.ts";
import { startEtcd, until, type EtcdServer } from "./etcd-server.ts";

jest.setTimeout(120_000);

let server: EtcdServer;
let client: WatchingClient;
let running: Subscription | undefined;

beforeAll(async () => {
  server = await startEtcd();
  client = connectEtcd({ endpoints: [server.endpoint] });
});
afterEach(() => {
  running?.unsubscribe();
  server.thaw();
  server.ctl("del", "", "--prefix");
});
afterAll(async () => {
  client.close();
  await server.remove();
});

const put = (key: string, value: string) => client.txn({ compare: [], success: [{ do: "put", key, value }] });

describe("watch", () => {
  const follow = (): WatchNews[] => {
    const news: WatchNews[] = [];
    running = watchPrefix(client, "/w/").subscribe((item) => news.push(item));
    return news;
  };
  const picture = (news: readonly WatchNews[]): Map<string, string> => {
    let state = new Map<string, string>();
    for (const item of news) {
      if (item.kind === "listed") state = new Map(item.items.map(({ key, value }) => [key, value]));
      if (item.kind === "changed") {
        for (const key of item.deletes) state.delete(key);
        for (const { key, value } of item.puts) state.set(key, value);
      }
    }
    return state;
  };
  const whole = (news: readonly WatchNews[]): boolean => news.length > 0 && news.at(-1)?.kind !== "lost";
  const stored = async () => new Map((await client.range("/w/")).items.map(({ key, value }) => [key, value]));

  test("lists, then tells puts and deletes", async () => {
    await put("/w/1", "a");
    const news = follow();
    await until(() => news.length === 1, "listed");
    await put("/w/2", "b");
    await client.txn({ compare: [], success: [{ do: "delete", key: "/w/1" }, { do: "put", key: "/w/3", value: "c" }] });
    await until(() => picture(news).has("/w/3"), "changes seen");
    expect(news.filter(({ kind }) => kind === "listed")).toHaveLength(1);
    expect(picture(news)).toEqual(await stored());
  });

  test("etcd killed and back: lost, then whole again, nothing missed", async () => {
    const news = follow();
    await until(() => whole(news), "listed");
    await server.kill();
    await until(() => news.at(-1)?.kind === "lost", "lost");
    await server.start();
    for (let n = 0; n < 50; n++) await put(`/w/${n}`, "after");
    await until(async () => whole(news) && picture(news).size === 50, "whole");
    expect(picture(news)).toEqual(await stored());
  });

  test("compaction while away: lists again", async () => {
    await put("/w/gone", "x");
    const news = follow();
    await until(() => whole(news), "listed");
    server.freeze();
    await until(() => news.at(-1)?.kind === "lost", "a hanging member is noticed");
    server.thaw();
    server.ctl("del", "/w/gone");
    for (let n = 0; n < 20; n++) server.ctl("put", "/w/kept", String(n));
    const { revision } = await client.range("/w/");
    server.ctl("compact", String(revision), "--physical");
    await until(() => whole(news) && picture(news).get("/w/kept") === "19", "whole");
    expect(picture(news).has("/w/gone")).toBe(false);
  });

  test("a store that was emptied is listed again, not waited for", async () => {
    for (let n = 0; n < 30; n++) await put(`/w/${n}`, "old");
    const news = follow();
    await until(() => whole(news), "listed");
    await server.kill();
    server.wipe();
    await server.start();
    await put("/w/new", "x");
    await until(() => whole(news) && picture(news).size === 1, "the new store is seen");
    await put("/w/newer", "y");
    await until(() => picture(news).size === 2, "and followed");
  });
});
