/** Memory: what this process said last, until its own source says it too. */
import { describe, expect, it } from "@jest/globals";
import type { Endpoint, Intents, Pool, SubnetLease, Views } from "../../src/core/model.ts";
import { unknownView, type Coverage, type View } from "../../src/core/precedence.ts";
import { Memory } from "../../src/sources/memory.ts";
import { endpoint, lease, mac, pool, unbound } from "../plan/builders.ts";

const EMPTY: Views = {
  networks: unknownView(), services: unknownView(), tasks: unknownView(), containers: unknownView(), endpoints: unknownView(),
  pools: unknownView(), subnets: unknownView(), members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
};
const box = endpoint(1, 2);
const view = <T>(items: readonly T[], keyOf: (item: T) => string, coverage: Coverage = "complete"): View<T> => ({ coverage, items: new Map(items.map((item) => [keyOf(item), item])) });
const docker = (items: readonly Endpoint[], coverage?: Coverage): Views => ({ ...EMPTY, endpoints: view(items, ({ id }) => id, coverage) });
const etcd = (pools: readonly Pool[], subnets: readonly SubnetLease[] = [], coverage?: Coverage): Views =>
  ({ ...EMPTY, pools: view(pools, ({ cidr }) => cidr, coverage), subnets: view(subnets, (one) => `${one.flannelId}/${one.subnet}`, coverage) });

interface Desk { nowMs: number; readonly memory: Memory; readonly seen: Intents[]; last(): Intents }
function desk(kept: Views = EMPTY): Desk {
  const seen: Intents[] = [];
  const state: Desk = { nowMs: 0, memory: new Memory(kept, () => state.nowMs), seen, last: () => seen.at(-1) as Intents };
  state.memory.intents$.subscribe((intents) => seen.push(intents));
  return state;
}

describe("what the state file kept", () => {
  const kept: Views = { ...docker([box, endpoint(1, 3)], "unknown"), ...{ pools: view([pool(1), pool(2)], ({ cidr }) => cidr, "unknown") } };
  const left = (views: Views[]): readonly string[] => [...views.at(-1)?.endpoints.items.keys() ?? [], ...views.at(-1)?.pools.items.keys() ?? []];

  it.each<[string, Coverage, readonly string[]]>([
    ["a complete listing lacks: forgotten, a loss of its source brings it not back", "complete", ["ep-1-2", "10.1.0.0/16"]],
    ["an incomplete listing lacks: kept", "partial", ["ep-1-2", "ep-1-3", "10.1.0.0/16", "10.2.0.0/16"]],
    ["a silent source lacks: kept", "unknown", ["ep-1-2", "ep-1-3", "10.1.0.0/16", "10.2.0.0/16"]],
  ])("and %s", (_name, coverage, expected) => {
    const { memory } = desk(kept);
    const seen: Views[] = [];
    memory.views$.subscribe((views) => seen.push(views));
    memory.confirmDocker(docker([box], coverage));
    memory.confirmEtcd(etcd([pool(1)], [], coverage));
    memory.confirmEtcd(etcd([pool(1)], [], "unknown"));
    expect(left(seen)).toEqual(expected);
    expect(seen.at(-1)?.endpoints.coverage).toBe("unknown");
  });
});

describe("driver calls", () => {
  it("are told at once: begun, joined, ended", () => {
    const { memory, last } = desk();
    memory.begin(box);
    expect([...last().begun.values()]).toEqual([box]);
    memory.begin({ ...box, stage: "joined" });
    expect([memory.endpoint(box.id)?.stage, [...last().ended]]).toEqual(["joined", []]);
    memory.end(box.id);
    expect([memory.endpoint(box.id), [...last().begun], [...last().ended]]).toEqual([undefined, [], [box.id]]);
    memory.begin(box);
    expect([[...last().begun.keys()], [...last().ended]]).toEqual([[box.id], []]);
  });

  it.each<[string, Views, number, number]>([
    ["a complete listing shows it: told by Docker from now on", docker([box]), 0, 0],
    ["a complete listing lacks it: it may have begun before the endpoint did", docker([]), 120_000, 1],
    ["after two minutes without being listed: Docker gave it up", docker([]), 120_001, 0],
    ["an incomplete listing shows it: nothing is confirmed", docker([box], "partial"), 1e9, 1],
    ["Docker is silent: it stays", docker([], "unknown"), 1e9, 1],
  ])("begun, and %s", (_name, views, nowMs, left) => {
    const state = desk();
    state.memory.begin(box);
    state.nowMs = nowMs;
    state.memory.confirmDocker(views);
    expect(state.last().begun.size).toBe(left);
  });

  it.each<[string, Views, number, number]>([
    ["a listing that began earlier may still show it", docker([box]), 300_000, 1], ["after five minutes none can", docker([]), 300_001, 0], ["Docker is silent", docker([], "unknown"), 1e9, 1],
  ])("ended, and %s", (_name, views, nowMs, left) => {
    const state = desk();
    state.memory.end(box.id);
    state.nowMs = nowMs;
    state.memory.confirmDocker(views);
    expect(state.last().ended.size).toBe(left);
  });
});

describe("own writes", () => {
  it.each<[string, Views, number, number]>([
    ["etcd shows it", etcd([pool(1)]), 0, 0],
    ["etcd shows more than was written: somebody bound it since", etcd([pool(1)]), 0, 0],
    ["etcd shows an older record", etcd([unbound(1)]), 10_000, 1],
    ["etcd shows something else for ten seconds: overwritten", etcd([unbound(1)]), 10_001, 0],
    ["etcd has listed without it for ten seconds: deleted", etcd([]), 10_001, 0],
    ["etcd is silent: it stays", etcd([pool(1)], [], "unknown"), 1e9, 1],
  ])("of a pool, and %s", (name, views, nowMs, left) => {
    const state = desk();
    state.memory.wrotePool(name.includes("more than") ? unbound(1) : pool(1));
    state.nowMs = nowMs;
    state.memory.confirmEtcd(views);
    expect(state.last().pools.size).toBe(left);
  });

  it("of a lease are confirmed by what flanneld made of it", () => {
    const { memory, last } = desk();
    const { vtepMac: _mac, ...reserved } = lease(1);
    memory.wroteLease(reserved);
    expect([...last().subnets]).toEqual([[`${reserved.flannelId}/${reserved.subnet}`, reserved]]);
    memory.confirmEtcd(etcd([], [lease(1, 1, { publicIp: "172.16.0.9" as never })]));
    expect(last().subnets.size).toBe(1);
    memory.confirmEtcd(etcd([], [lease(1, 1, { vtepMac: mac(1, 1) })]));
    expect(last().subnets.size).toBe(0);
  });
});

it("says nothing new when a listing confirms nothing", () => {
  const { memory, seen } = desk();
  memory.begin(box);
  const before = seen.length;
  memory.confirmDocker(docker([]));
  memory.confirmEtcd(etcd([]));
  expect(seen).toHaveLength(before);
});

it("gives what was told away: a later call does not change it", () => {
  const { memory, last } = desk();
  memory.begin(box);
  const told = last();
  memory.end(box.id);
  expect([...told.begun.keys()]).toEqual([box.id]);
});

it("keeps what the state file held, as unknown", () => {
  const kept: Views = { ...EMPTY, pools: unknownView(new Map([[pool(1).cidr, pool(1)]])) };
  let views: Views | undefined;
  desk(kept).memory.views$.subscribe((seen) => { views = seen; });
  expect(views).toBe(kept);
  expect(views?.pools.coverage).toBe("unknown");
});
