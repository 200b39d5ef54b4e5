/** Leases: a pool goes in two steps and only at the leader's word; a node's lease goes when nothing of its network is left. */
import { describe, expect, it } from "@jest/globals";
import type { FlannelId } from "../../src/core/ids.ts";
import type { Pool } from "../../src/core/model.ts";
import { keysBelow } from "../../src/core/names.ts";
import { encodePool, encodeSubnetLease } from "../../src/core/records.ts";
import { leasesWith } from "../../src/reconcilers/leases.ts";
import type { EtcdChange, EtcdTable } from "../../src/sinks/etcd.ts";
import type { ObservedLeases } from "../../src/sinks/leases.ts";
import { endpoint, flannelId, lease, network, NODE, NOW, pool, range, snapshotOf, subnetOf, unbound, type World } from "./builders.ts";
import { applyToEtcd, entry } from "./etcd-model.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const keys = keysBelow("/flannel");
const leases = leasesWith(keys);

/** Everything that exists of networks 1–4, so that there is something to keep, release and collect. */
function everything(): EtcdTable {
  const table = new Map([[keys.schema, entry("1")]]);
  for (const n of [1, 2, 3, 4]) {
    table.set(keys.pool(range(n)), entry(encodePool(pool(n), "node-b"), BigInt(n)));
    table.set(keys.vni((100 + n) as never), entry("{}", 2n)).set(keys.config(flannelId(n)), entry("{}", 2n));
    for (const node of [1, 2]) table.set(keys.subnet(flannelId(n), subnetOf(n, node)), entry(encodeSubnetLease(lease(n, node)), BigInt(10 + n)));
  }
  return table;
}
const facility: Facility<ObservedLeases, EtcdChange> = {
  empty: { entries: everything(), carried: new Set() },
  apply: ({ entries, carried }, changes) => ({ entries: applyToEtcd(entries, changes), carried }),
  disturb: ({ entries }, pick) => ({
    entries: new Map([...entries].flatMap(([key, is]) => [[], [[key, is] as const], [[key, is] as const], [[key, entry('{"PublicIP":"172.16.0.9"}', 30n)] as const]][pick(4)] ?? [])),
    carried: new Set([1, 2, 3, 4].filter(() => pick(2) === 0).map(flannelId)),
  }),
  reversed: ({ entries, carried }) => ({ entries: reversedMap(entries), carried: new Set([...carried].reverse()) }),
};

const planOf = (world: World, observed: Partial<ObservedLeases> = {}) => leases.plan(leases.desire(snapshotOf(world)), { entries: new Map(), carried: new Set<FlannelId>(), ...observed });
const stored = (...pools: readonly Pool[]): EtcdTable => new Map(pools.map((one) => [keys.pool(one.cidr), entry(encodePool(one, "node-b"), 3n)]));
const released = pool(1, { releasedAtMs: 5 });
const ownKey = keys.subnet(flannelId(1), subnetOf(1, 1));

describe("leases", () => {
  obeysTheLaws(leases, facility);

  it.each<[string, World, boolean]>([
    ["Docker listed and lacks its network", {}, true],
    ["Docker has its network", { networks: { items: [network(1)] } }, false],
    ["Docker has not listed", { networksListed: false }, false],
    ["this node does not lead", { node: { leader: false } }, false],
    ["it was claimed a minute ago: Docker may not have committed", { nowMs: 60_000 }, false],
  ])("a pool is released: %s", (_name, world, expected) => {
    const { changes } = planOf({ ...world, pools: { items: [pool(1)] } }, { entries: stored(pool(1)) });
    expect(changes).toEqual(expected ? [{
      op: "update", key: keys.pool(range(1)), why: "Docker has no network net-1 any more",
      compare: [{ key: keys.pool(range(1)), target: "mod", op: "=", value: 3n }],
      ops: [{ do: "put", key: keys.pool(range(1)), value: encodePool({ ...pool(1), releasedAtMs: NOW }, NODE) }],
    }] : []);
  });

  it.each<[number, boolean]>([[600_000, false], [600_001, true]])("a pool without network is released after ten minutes: %i ms", (nowMs, expected) => {
    expect(planOf({ nowMs, pools: { items: [unbound(1)] } }, { entries: stored(unbound(1)) }).changes.map(({ why }) => why))
      .toEqual(expected ? ["no network was made of it"] : []);
  });

  it("does not overwrite a record that was bound or released since the snapshot", () => {
    expect(planOf({ pools: { items: [unbound(1)] } }, { entries: stored(pool(1)) }).changes).toEqual([]);
    expect(planOf({ pools: { items: [pool(1)] } }, { entries: stored(released) }).changes).toEqual([]);
    expect(planOf({ pools: { items: [unbound(1)] } }, { entries: new Map([[keys.pool(range(1)), entry('{"PublicIP":"172.16.0.9"}')]]) }).changes).toEqual([]);
  });

  it.each<[string, World, Partial<ObservedLeases>, "changes" | "held" | "nothing"]>([
    ["nothing is left here", {}, {}, "changes"],
    ["its flanneld or device is still here", {}, { carried: new Set([flannelId(1)]) }, "nothing"],
    ["a container is still on it", { endpoints: { items: [endpoint(1, 2)] } }, {}, "nothing"],
    ["Docker has not listed its containers", { endpoints: { items: [], settled: false } }, {}, "held"],
    ["its key belongs to somebody else by now", {}, { entries: new Map([[ownKey, entry('{"PublicIP":"172.16.0.2"}')]]) }, "nothing"],
  ])("this node gives its lease of a released network back: %s", (_name, world, observed, expected) => {
    const plan = planOf({ pools: { items: [released] }, subnets: { items: [lease(1)] }, ...world, node: { leader: false } }, { entries: new Map([[ownKey, entry(encodeSubnetLease(lease(1)), 8n)]]), ...observed });
    const deletion = [{ op: "delete", key: ownKey, why: expect.any(String), compare: [{ key: ownKey, target: "mod", op: "=", value: 8n }], ops: [{ do: "delete", key: ownKey }] }];
    expect(plan).toEqual({ changes: expected === "changes" ? deletion : [], held: expected === "held" ? deletion : [] });
  });

  it.each<[string, World, EtcdTable, "changes" | "held" | "nothing"]>([
    ["nobody holds a lease", {}, new Map(), "changes"],
    ["somebody holds a lease", { subnets: { items: [lease(1, 2)] } }, new Map(), "nothing"],
    ["leases are not listed", { subnets: { items: [], settled: false } }, new Map(), "held"],
    ["this node does not lead", { node: { leader: false } }, new Map(), "nothing"],
    ["a lease that the snapshot lacks is in etcd", {}, new Map([[keys.subnet(flannelId(1), subnetOf(1, 3)), entry("unreadable")]]), "nothing"],
  ])("a released pool is collected: %s", (_name, world, more, expected) => {
    const plan = planOf({ pools: { items: [released] }, ...world }, { entries: new Map([...stored(released), ...more]) });
    const where = expected === "nothing" ? [] : plan[expected];
    expect([...plan.changes, ...plan.held].length).toBe(where.length);
    if (expected === "nothing") return;
    expect(where).toMatchObject([{ op: "delete", compare: [{ value: 3n }, { key: keys.subnets(flannelId(1)), prefix: true, target: "create", op: "=", value: 0 }] }]);
    expect(where.flatMap(({ ops }) => ops)).toEqual([
      { do: "delete", key: keys.pool(range(1)) }, { do: "delete", key: keys.config(flannelId(1)) },
      { do: "deletePrefix", key: `${keys.serviceRanges}flannel-1/` }, { do: "delete", key: keys.vni(101 as never) },
    ]);
  });

  it.each<[string, World, EtcdTable, boolean]>([
    ["its key is gone", { subnets: { items: [lease(1)] } }, stored(pool(1)), true],
    ["etcd has listed without it, but a container lives in it", { endpoints: { items: [endpoint(1, 2)] } }, stored(pool(1)), true],
    ["its key is there", { subnets: { items: [lease(1)] } }, new Map([...stored(pool(1)), [ownKey, entry("{}")]]), false],
    ["its pool has been collected, only memory knows it", { subnets: { items: [lease(1)], settled: false } }, new Map(), false],
    ["another node has taken the subnet", { subnets: { items: [lease(1, 1, { publicIp: "172.16.0.2" as never })] }, endpoints: { items: [endpoint(1, 2)] } }, stored(pool(1)), false],
  ])("this node's lease is written again: %s", (_name, world, entries, expected) => {
    const plan = planOf({ networks: { items: [network(1)] }, pools: { items: [pool(1)] }, ...world }, { entries });
    expect(plan.changes).toEqual(expected ? [{
      op: "create", key: ownKey, why: "this node holds the subnet, its key is gone",
      compare: [{ key: ownKey, target: "mod", op: "=", value: 0n }], ops: [{ do: "put", key: ownKey, value: '{"PublicIP":"172.16.0.1"}' }],
    }] : []);
  });

  const node2 = { id: "node-2" as never, hostname: "two", publicIp: "172.16.0.2" as never, role: "worker" as const };
  it.each<[string, World, boolean]>([
    ["dead for a minute after the release", {}, true],
    ["the network was released a moment ago", { nowMs: 60_005 }, false],
    ["it speaks, or is in doubt: then its record is kept", { nodes: { items: [node2] } }, false],
    ["etcd has not listed the nodes", { nodes: { items: [], settled: false } }, false],
    ["this node does not lead", { node: { leader: false } }, false],
    ["the network is there", { pools: { items: [pool(1)] }, networks: { items: [network(1)] } }, false],
  ])("the leader takes the lease of a node that nobody knows: %s", (_name, world, expected) => {
    const key = keys.subnet(flannelId(1), subnetOf(1, 2));
    const { changes } = planOf({ pools: { items: [released] }, subnets: { items: [lease(1, 2)] }, nodes: { items: [] }, ...world }, { entries: new Map([...stored(released), [key, entry(encodeSubnetLease(lease(1, 2)), 8n)]]) });
    expect(changes).toEqual(expected ? [{ op: "delete", key, why: "its node is dead and the network is gone", compare: [{ key, target: "mod", op: "=", value: 8n }], ops: [{ do: "delete", key }] }] : []);
  });

  it("deletes leases of living nodes never, its own only uncarried, pools only released and without any lease", () => {
    forAll(casesOf(leases, facility), ({ world, observed, plan }) => {
      const given = plan.changes.filter(({ op }) => op === "delete").flatMap(({ ops }) => ops);
      for (const { key } of given.filter((op) => op.do === "delete" && op.key.includes("/subnets/"))) {
        const id = key.split("/")[3] as FlannelId;
        const value = observed.entries.get(key)?.value ?? "";
        if (!value.includes('"172.16.0.1"')) {
          expect(world.node?.leader).toBe(true);
          expect((world.nodes?.items ?? []).some(({ publicIp }) => value.includes(`"${publicIp}"`))).toBe(false);
          continue;
        }
        expect(observed.carried.has(id)).toBe(false);
        expect(world.endpoints?.items.some(({ network: on }) => `flannel-${on.slice(4)}` === id)).toBe(false);
      }
      for (const { key } of given.filter(({ key: one }) => one.startsWith(keys.pools))) {
        const gone = world.pools?.items.find((one) => keys.pool(one.cidr) === key);
        expect(gone?.releasedAtMs).toBeDefined();
        expect([...observed.entries.keys()].some((other) => other.startsWith(keys.subnets(gone?.flannelId ?? flannelId(0))))).toBe(false);
        expect(world.node?.leader).toBe(true);
      }
    });
  });
});
