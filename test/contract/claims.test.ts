/** Claims on a real etcd: parallel claimers never get the same pool, VNI or subnet; a replay gets the same again. */
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { overlaps, type Cidr, type Vni } from "../../src/core/ids.ts";
import type { Pool } from "../../src/core/model.ts";
import { keysBelow } from "../../src/core/names.ts";
import { encodePool, stableJson } from "../../src/core/records.ts";
import type { EtcdClient, Txn } from "../../src/core/store.ts";
import { EtcdClaims, type ClaimOptions } from "../../src/sinks/claims.ts";
import { readLease, readPool } from "../../src/sources/claimed.ts";
import { connectEtcd, type WatchingClient } from "../../src/sources/etcd-client.ts";
import { recorder } from "../core/world.ts";
import { cidr, flannelId, ip, networkId, publicIp } from "../plan/builders.ts";
import { startEtcd, type EtcdServer } from "./etcd-server.ts";

jest.setTimeout(120_000);

const keys = keysBelow("/flannel");
const CLAIMERS = 16;
let server: EtcdServer;
let client: WatchingClient;
const said = recorder();

beforeAll(async () => {
  server = await startEtcd();
  client = connectEtcd({ endpoints: [server.endpoint] });
});
afterEach(() => { server.ctl("del", "", "--prefix"); said.said.length = 0; });
afterAll(async () => {
  client.close();
  await server.remove();
});

const claimer = (more: Partial<ClaimOptions> = {}): EtcdClaims => new EtcdClaims({
  client, keys, available: [cidr("10.1.0.0/16")], networkLength: 20, hostLength: 25, serviceAddresses: 0, vniStart: 6514, routes: () => Promise.resolve([]),
  decodePool: (key, value) => readPool(keys, key, value), decodeLease: (key, value) => readLease(keys, key, value),
  owner: () => "node-a", now: () => 7, emit: said.emit, ...more,
});
const ask = { options: {}, replay: false };
const many = <T>(claim: (n: number) => Promise<T>, count = CLAIMERS): Promise<T[]> => Promise.all(Array.from({ length: count }, (_, n) => claim(n + 1)));
const stored = async (prefix: string): Promise<string[]> => (await client.range(prefix)).items.map(({ key }) => key);
const bound = async (n: number, range: Cidr): Promise<Pool> => {
  await claimer().claimPool({ ...ask, cidr: range });
  return claimer().bindPool({ network: networkId(n), cidr: range, options: {} });
};
const put = (key: string, value: string) => client.txn({ compare: [], success: [{ do: "put", key, value }] });

describe("pools", () => {
  test("of claimers at the same moment lie apart, until the ranges are full", async () => {
    const pools = await many(() => claimer().claimPool(ask));
    expect(new Set(pools.map(({ flannelId: id }) => id)).size).toBe(CLAIMERS);
    expect(pools.flatMap((a, n) => pools.slice(n + 1).filter((b) => overlaps(a.cidr, b.cidr)))).toEqual([]);
    expect((await stored(keys.pools)).sort()).toEqual(pools.map((one) => keys.pool(one.cidr)).sort());
    expect(said.named("pool.claimed")).toHaveLength(CLAIMERS);
    await expect(claimer().claimPool(ask)).rejects.toMatchObject({ code: "exhausted", message: "Cannot find a free /20: 16 networks and 0 other ranges of this node fill 10.1.0.0/16", cure: expect.stringContaining("AVAILABLE_SUBNETS") });
  });

  test("are divided as configured, or as the network's own options say", async () => {
    expect(await claimer().claimPool(ask)).toEqual({ flannelId: expect.any(String), cidr: "10.1.0.0/20", hostSubnetLength: 25, serviceRange: "10.1.0.0/22", claimedAtMs: 7 });
    expect(await claimer().claimPool({ ...ask, options: { "host-subnet-size": "28", "service-range-size": "64" } })).toMatchObject({ hostSubnetLength: 28, serviceRange: "10.1.16.0/26" });
    expect(await claimer().claimPool({ ...ask, cidr: cidr("192.168.7.0/24") })).toMatchObject({ cidr: "192.168.7.0/24", hostSubnetLength: 27, serviceRange: "192.168.7.0/26" });
    await expect(claimer().claimPool({ ...ask, options: { "host-subnet-size": "21" } })).rejects.toMatchObject({ code: "invalid", message: expect.stringContaining("holds 2 node subnets") });
  });

  test("avoid what nodes route elsewhere", async () => {
    const routes = (): Promise<readonly Cidr[]> => Promise.resolve([cidr("10.1.0.0/17"), cidr("10.1.129.0/24")]);
    expect((await claimer({ routes }).claimPool(ask)).cidr).toBe("10.1.144.0/20");
    expect((await claimer({ available: "any", routes: () => Promise.resolve([cidr("10.0.0.0/9")]) }).claimPool(ask)).cidr).toBe("10.128.0.0/20");
  });

  test("are the same again in a replay, also on another manager, also when etcd has lost them", async () => {
    const pool = await claimer().claimPool(ask);
    expect(await claimer().claimPool({ ...ask, cidr: pool.cidr, replay: true })).toEqual(pool);
    server.ctl("del", "", "--prefix");
    expect(await claimer().claimPool({ ...ask, cidr: pool.cidr, flannelId: pool.flannelId, replay: true })).toEqual(pool);
    expect(await claimer().claimPool({ ...ask, cidr: pool.cidr, flannelId: pool.flannelId, replay: true })).toEqual(pool);
  });

  test("that overlap are refused, with who is in the way", async () => {
    await bound(1, cidr("10.7.0.0/16"));
    for (const range of ["10.7.16.0/20", "10.0.0.0/8"]) {
      await expect(claimer().claimPool({ ...ask, cidr: cidr(range) })).rejects.toMatchObject({ code: "conflict", message: `Cannot use ${range}: it overlaps 10.7.0.0/16`, cure: expect.stringContaining("--subnet") });
    }
  });

  test("are the same again for swarm's unmarked repetition, which is all a network without options gets; a second network is refused when bound", async () => {
    const pool = await bound(1, cidr("10.7.0.0/16"));
    expect(await claimer().claimPool({ ...ask, cidr: pool.cidr })).toEqual(pool);
    await expect(claimer().bindPool({ network: networkId(2), cidr: pool.cidr, options: {} })).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining(networkId(1)), cure: expect.stringContaining("--subnet") });
    await expect(claimer().claimPool({ ...ask, cidr: pool.cidr, flannelId: flannelId(9) })).rejects.toMatchObject({ code: "conflict" });
    await claimer().releasePool(pool);
    await expect(claimer().claimPool({ ...ask, cidr: pool.cidr })).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("still giving back") });
  });

  test("whose network was never made give way to who asks for their range by name, and after a minute to anybody", async () => {
    await claimer().claimPool({ ...ask, cidr: cidr("10.1.0.0/17") });
    const named = await claimer().claimPool({ ...ask, cidr: cidr("10.1.0.0/18") });
    expect(await stored(keys.pools)).toEqual([keys.pool(named.cidr)]);
    expect((await claimer().claimPool(ask)).cidr).toBe("10.1.64.0/20");
    expect((await claimer({ now: () => 60_008 }).claimPool(ask)).cidr).toBe("10.1.0.0/20");
    expect(await stored(keys.pools)).toEqual([keys.pool(cidr("10.1.0.0/20")), keys.pool(cidr("10.1.64.0/20"))]);
  });

  test("of one flannel-id are one pool until it has a network, then it is taken", async () => {
    const named = { ...ask, flannelId: flannelId(1) };
    const pools = await many(() => claimer().claimPool(named));
    expect(new Set(pools.map(({ cidr: range }) => range)).size).toBe(1);
    await claimer().bindPool({ network: networkId(1), cidr: pools[0]?.cidr ?? cidr("0.0.0.0/0"), options: {} });
    await expect(claimer().claimPool(named)).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("flannel-1") });
  });

  test("whose record nobody can read keep their range", async () => {
    await put(keys.pool(cidr("10.1.0.0/20")), "written by a later version");
    expect((await claimer().claimPool(ask)).cidr).toBe("10.1.16.0/20");
    await expect(claimer().claimPool({ ...ask, cidr: cidr("10.1.0.0/20") })).rejects.toMatchObject({ code: "conflict" });
  });
});

describe("VNIs", () => {
  test("of networks bound at the same moment differ, and stand in all three places", async () => {
    const pools = await many(() => claimer().claimPool(ask));
    const all = await many((n) => claimer().bindPool({ network: networkId(n), cidr: pools[n - 1]?.cidr ?? cidr("0.0.0.0/0"), options: {} }));
    expect(all.map(({ vni }) => vni).sort()).toEqual(Array.from({ length: CLAIMERS }, (_, n) => 6514 + n));
    expect(await stored(keys.vnis)).toHaveLength(CLAIMERS);
    for (const pool of all) {
      expect(JSON.parse((await client.get(keys.config(pool.flannelId)))?.value ?? "")).toMatchObject({ Network: pool.cidr, SubnetLen: 25, Backend: { Type: "vxlan", VNI: pool.vni } });
      expect(await claimer().findPool(pool.cidr)).toEqual(pool);
    }
  });

  test("are bound once: all who bind one network get one answer", async () => {
    const { cidr: range } = await claimer().claimPool(ask);
    const all = await many(() => claimer().bindPool({ network: networkId(1), cidr: range, options: { vni: "77", mtu: "1400" } }));
    expect(new Set(all.map(stableJson)).size).toBe(1);
    expect(all[0]).toMatchObject({ network: "net-1", vni: 77, backend: { Type: "vxlan", MTU: 1450, VNI: 77 } });
    await expect(claimer().bindPool({ network: networkId(2), cidr: range, options: {} })).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("net-1") });
  });

  test("that are taken, used up, or of no pool are refused with the reason", async () => {
    await bound(1, cidr("10.2.0.0/16"));
    await claimer().claimPool({ ...ask, cidr: cidr("10.3.0.0/16") });
    const bind = (options: Readonly<Record<string, string>>, more: Partial<ClaimOptions> = {}) => claimer(more).bindPool({ network: networkId(2), cidr: cidr("10.3.0.0/16"), options });
    await expect(bind({ vni: "6514" })).rejects.toMatchObject({ code: "conflict", message: "Cannot use VNI 6514: another network has it", cure: expect.any(String) });
    await put(keys.vni(9_999_999 as Vni), "{}");
    await expect(bind({}, { vniStart: 9_999_999 })).rejects.toMatchObject({ code: "exhausted", cure: expect.stringContaining("VNI_START") });
    await expect(claimer().bindPool({ network: networkId(2), cidr: cidr("10.4.0.0/16"), options: {} })).rejects.toMatchObject({ code: "not-found", cure: expect.stringContaining("--ipam-driver") });
  });
});

describe("node subnets", () => {
  const lease = (pool: Pool, n: number) => claimer().claimLease(pool, publicIp(n));

  test("of nodes that come at the same moment lie apart and beside the service range; each comes again to its own", async () => {
    const pool = await bound(1, cidr("10.1.0.0/20"));
    const leases = await many((n) => lease(pool, n));
    expect(new Set(leases.map(({ subnet }) => subnet)).size).toBe(CLAIMERS);
    expect(leases.filter(({ subnet }) => overlaps(subnet, pool.serviceRange))).toEqual([]);
    expect(await many((n) => lease(pool, n))).toEqual(leases);
    expect((await stored(keys.subnets(pool.flannelId))).sort()).toEqual(leases.map(({ subnet }) => keys.subnet(pool.flannelId, subnet)).sort());
  });

  test("of a hundred nodes that start one service together are all claimed within Docker's patience", async () => {
    const pool = await bound(1, cidr("10.16.0.0/12"));
    const started = performance.now();
    const leases = await many((n) => claimer().claimLease(pool, ip(`172.16.1.${n}`)), 100);
    expect(performance.now() - started).toBeLessThan(20 * 2_000);
    expect(new Set(leases.map(({ subnet }) => subnet)).size).toBe(100);
  });

  test("are one for two calls of one node at the same moment", async () => {
    const pool = await bound(1, cidr("10.1.0.0/20"));
    const own = claimer();
    expect(new Set((await many(() => own.claimLease(pool, publicIp(1)))).map(({ subnet }) => subnet)).size).toBe(1);
  });

  test("run out with the arithmetic; one that nobody can read is held", async () => {
    const pool = await bound(1, cidr("10.1.0.0/28"));
    expect(pool).toMatchObject({ hostSubnetLength: 30, serviceRange: "10.1.0.0/30" });
    await put(keys.subnet(pool.flannelId, cidr("10.1.0.4/30")), "{");
    expect((await many((n) => lease(pool, n), 2)).map(({ subnet }) => subnet).sort()).toEqual(["10.1.0.12/30", "10.1.0.8/30"]);
    await expect(lease(pool, 3)).rejects.toMatchObject({ code: "exhausted", message: expect.stringContaining("all its 3 node subnets of /30 are held"), cure: expect.any(String) });
  });

  test("that flannel would not take are not this node's", async () => {
    const pool = await bound(1, cidr("10.1.0.0/20"));
    await put(keys.subnet(pool.flannelId, cidr("10.1.8.0/24")), JSON.stringify({ PublicIP: publicIp(1) }));
    expect((await lease(pool, 1)).subnet).toBe("10.1.4.0/25");
  });

  test("are none of a network that is gone", async () => {
    const pool = await bound(1, cidr("10.1.0.0/20"));
    server.ctl("del", keys.pool(pool.cidr));
    await expect(lease(pool, 1)).rejects.toMatchObject({ code: "not-found" });
  });
});

describe("a release", () => {
  test("is noted once, and not over a pool that belongs to another network by now", async () => {
    const pool = await bound(1, cidr("10.1.0.0/20"));
    const released = await claimer({ now: () => 99 }).releasePool(pool);
    expect(released).toEqual({ ...pool, releasedAtMs: 99 });
    expect(await claimer({ now: () => 100 }).releasePool(pool)).toEqual(released);
    const next: Pool = { ...pool, network: networkId(2) };
    await put(keys.pool(pool.cidr), encodePool(next, "node-b"));
    expect(await claimer().releasePool(pool)).toEqual(next);
    server.ctl("del", keys.pool(pool.cidr));
    expect(await claimer().releasePool(pool)).toEqual(pool);
  });
});

test("a race that is always lost ends with what happened, after many tries", async () => {
  const losing: EtcdClient = { ...client, txn: (txn: Txn) => client.txn({ ...txn, compare: [...txn.compare, { key: keys.schema, target: "mod", op: "=", value: 1n }] }) };
  await expect(claimer({ client: losing }).claimPool(ask)).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("others wrote at the same time"), cure: expect.any(String) });
  expect(await stored(keys.pools)).toEqual([]);
});
