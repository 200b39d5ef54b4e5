/** The etcd source on a real etcd: views, coverage, garbage, a layout we do not know. */
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import type { Subscription } from "rxjs";
import type { EventName } from "../../src/core/events.ts";
import type { Cidr, FlannelId, Ipv4, Mac, NetworkId } from "../../src/core/ids.ts";
import type { Network, Pool, Views } from "../../src/core/model.ts";
import { keysBelow } from "../../src/core/names.ts";
import { encodeNetwork, encodePool, encodeSchema, encodeSubnetLease } from "../../src/core/records.ts";
import { connectEtcd, type WatchingClient } from "../../src/sources/etcd-client.ts";
import { etcdSource } from "../../src/sources/etcd.ts";
import { startEtcd, until, type EtcdServer } from "./etcd-server.ts";

const keys = keysBelow("/flannel");
const network: Network = { id: "n1" as NetworkId, name: "web", cidr: "10.1.0.0/16" as Cidr, internal: false, options: {}, index: 7 };
const pool: Pool = {
  flannelId: "f1" as FlannelId, cidr: "10.1.0.0/16" as Cidr, hostSubnetLength: 24, serviceRange: "10.1.0.0/22" as Cidr, claimedAtMs: 5,
};

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

describe("source", () => {
  interface Seen { readonly views: Views[]; readonly events: [EventName, unknown][] }
  const watch = (): Seen => {
    const seen: Seen = { views: [], events: [] };
    const source = etcdSource({ client, keys, emit: (event, fields) => { seen.events.push([event, fields]); } });
    running = source.views$.subscribe((views) => seen.views.push(views));
    return seen;
  };
  const last = ({ views }: Seen): Views => views.at(-1) as Views;
  const complete = (seen: Seen) => until(() => last(seen).networks.coverage === "complete", "complete");

  test("unknown at once, complete after the listing, every kind in its place", async () => {
    await put(keys.pool(pool.cidr), encodePool(pool, "me"));
    await put(keys.dockerNetwork(network.id), encodeNetwork(network, "me"));
    await put(keys.subnet(pool.flannelId, "10.1.8.0/24" as Cidr), encodeSubnetLease({
      flannelId: pool.flannelId, subnet: "10.1.8.0/24" as Cidr, publicIp: "192.168.0.4" as Ipv4, vtepMac: "0e:00:00:00:00:01" as Mac,
    }));
    const seen = watch();
    expect(last(seen).networks).toEqual({ coverage: "unknown", items: new Map() });
    await complete(seen);
    const { networks, pools, subnets, endpoints, node } = last(seen);
    expect(networks.items).toEqual(new Map([["n1", network]]));
    expect(pools.items).toEqual(new Map([["10.1.0.0/16", pool]]));
    expect([...subnets.items.keys()]).toEqual(["f1/10.1.8.0/24"]);
    expect([endpoints.coverage, node.coverage]).toEqual(["unknown", "unknown"]);
    expect(seen.events).toEqual([["source.synced", { source: "etcd", items: 3 }]]);
  });

  test("one changed key leaves the other kinds and records as they are", async () => {
    await put(keys.pool(pool.cidr), encodePool(pool, "me"));
    await put(keys.dockerNetwork(network.id), encodeNetwork(network, "me"));
    const seen = watch();
    await complete(seen);
    const before = last(seen);
    await put(keys.dockerNetwork("n2" as NetworkId), encodeNetwork({ ...network, id: "n2" as NetworkId }, "me"));
    await until(() => last(seen).networks.items.size === 2, "seen");
    expect(last(seen).pools).toBe(before.pools);
    expect(last(seen).networks.items.get("n1")).toBe(before.networks.items.get("n1"));
    expect(before.networks.items.size).toBe(1);
  });

  test("etcd gone: the same items, unknown; back: complete", async () => {
    await put(keys.dockerNetwork(network.id), encodeNetwork(network, "me"));
    const seen = watch();
    await complete(seen);
    const before = last(seen).networks.items;
    await server.kill();
    await until(() => last(seen).networks.coverage === "unknown", "unknown");
    expect(last(seen).networks.items).toBe(before);
    await server.start();
    await complete(seen);
    expect(last(seen).networks.items).toBe(before);
    expect(seen.events.map(([event]) => event).filter((event) => event === "source.synced")).toHaveLength(2);
  });

  test("garbage is named once and stands in nobody's way", async () => {
    await put(keys.dockerNetwork("bad" as NetworkId), "{");
    await put(keys.dockerNetwork(network.id), encodeNetwork(network, "me"));
    const seen = watch();
    await until(() => last(seen).networks.coverage === "partial", "partial: what is unreadable is not absent");
    expect(last(seen).pools.coverage).toBe("complete");
    await put(keys.dockerNetwork(network.id), encodeNetwork({ ...network, index: 8 }, "me"));
    await until(() => last(seen).networks.items.get("n1")?.index === 8, "seen");
    expect(seen.events.filter(([event]) => event === "source.garbage")).toEqual([
      ["source.garbage", { source: "etcd", key: keys.dockerNetwork("bad" as NetworkId), reason: "it is not JSON" }],
    ]);
  });

  test("a newer layout is not read: unknown, with the cure, until it is one we know", async () => {
    await put(keys.schema, encodeSchema("me"));
    await put(keys.dockerNetwork(network.id), encodeNetwork(network, "me"));
    const seen = watch();
    await complete(seen);
    await put(keys.schema, JSON.stringify({ version: 2 }));
    await until(() => last(seen).networks.coverage === "unknown", "held");
    expect(last(seen).networks.items.size).toBe(1);
    expect(seen.events.at(-1)).toEqual(["source.lost", { source: "etcd", reason: expect.stringContaining("Upgrade flannel-np") }]);
    await put(keys.schema, encodeSchema("me"));
    await complete(seen);
  });
});
