/** The address book: no address twice while in use or resting, whatever happens; pools and leases by claim. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { AddressBook, type AddressBookPorts, type Claims, type LedgerState } from "../../src/core/address-book.ts";
import { GRANT_GRACE_MS, REST_MS, type Grant } from "../../src/core/addresses.ts";
import type { EndpointId, Ipv4 } from "../../src/core/ids.ts";
import type { Pool, Snapshot, SubnetLease } from "../../src/core/model.ts";
import { container, endpoint, flannelId, ip, lease, network, networkId, NOW, pool, range, service, snapshotOf, subnetOf, unbound, type World } from "../plan/builders.ts";
import { Model, OWN, SMALL, type Step } from "./address-book-model.ts";
import { recorder } from "./world.ts";

const some = fc.array(fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("start", "vip", "placeholder"), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("stop", "crash", "unvip", "restart", "node-gateway", "lost-start", "failed-start") }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("clock"), ms: fc.constantFrom(1, 5_000, 15_000, 29_999, 30_000, 100_000, 400_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("hint"), host: fc.nat(31) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("listing"), complete: fc.boolean() }) },
), { minLength: 1, maxLength: 60, size: "max" }) as fc.Arbitrary<Step[]>;
/** Some stories happen while Docker is silent; some of those only add containers, so that the range fills. */
const steps: fc.Arbitrary<Step[]> = fc.tuple(some, fc.constantFrom("any", "silent", "growing")).map(([all, story]) => {
  if (story === "any") return all;
  const fits = (step: Step): boolean => (story === "growing" ? ["start", "vip", "restart", "clock"].includes(step.do) : step.do !== "listing");
  return [{ do: "listing", complete: false }, ...all.filter(fits)];
});

interface Desk { world: World; nowMs: number; saves: number; readonly book: AddressBook; readonly said: ReturnType<typeof recorder>; readonly claimed: string[]; readonly own: (Pool | SubnetLease)[]; mirrored: ReadonlyMap<string, Grant> }
function desk(world: World, claims: Partial<Claims> = {}, kept: LedgerState = {}, more: Partial<Snapshot> = {}): Desk {
  const said = recorder();
  const claimed: string[] = [];
  const own: (Pool | SubnetLease)[] = [];
  const naming = new Proxy(claims, { get: (target, name: keyof Claims) => { claimed.push(name); return target[name] ?? (() => Promise.reject(new Error(`${name} must not be needed`))); } }) as Claims;
  const ports: AddressBookPorts = {
    claims: naming, emit: said.emit, now: () => state.nowMs, snapshot: () => ({ ...snapshotOf({ ...state.world, nowMs: state.nowMs }), ...more }),
    own: { wrotePool: (one) => void own.push(one), wroteLease: (one) => void own.push(one), granted: (grants) => { state.mirrored = grants; } }, save: () => { state.saves += 1; return Promise.resolve(); },
  };
  const state: Desk = { world, nowMs: NOW, saves: 0, book: new AddressBook(ports, kept), said, claimed, own, mirrored: new Map() };
  return state;
}
const HELD: World = { pools: { items: [SMALL] }, subnets: { items: [lease(1, 1, { subnet: OWN })] } };
const id = SMALL.flannelId;
const node = { gateway: false, owner: "mac" };
const bare = (answer: string): Ipv4 => ip(answer.split("/")[0] ?? "");

describe("addresses", () => {
  it("are never given twice while in use or resting, and never out of the other side's range", async () => {
    await fc.assert(fc.asyncProperty(steps, async (all) => {
      const model = new Model();
      for (const step of all) await model.step(step);
    }), { numRuns: 300 });
  }, 120_000);

  it("come with the prefix length of the node's subnet, VIPs with the network's", async () => {
    const { book } = desk(HELD);
    expect(await book.nodeAddress(id, node)).toBe("10.1.0.10/29");
    expect(await book.nodeAddress(id, { ...node, gateway: true })).toBe("10.1.0.9/29");
    expect(await book.managerAddress(id, { gateway: false })).toBe("10.1.0.2/27");
    expect(await book.managerAddress(id, { gateway: true })).toBe("10.1.0.1/27");
  });

  it("of the service range are told for the mirror, each with its network", async () => {
    const state = desk(HELD);
    await state.book.managerAddress(id, { gateway: false });
    expect([...state.mirrored]).toEqual([[`${id}/10.1.0.2`, { address: "10.1.0.2", owner: "swarm", grantedAtMs: NOW }]]);
  });

  it("that an earlier leader let rest a moment ago are not given by the next one", async () => {
    const grants = (releasedAtMs: number): Snapshot["grants"] => ({ settled: true, facts: new Map([[`${id}/10.1.0.2`, { from: "etcd", value: { address: ip("10.1.0.2"), owner: "swarm", grantedAtMs: 0, releasedAtMs } }]]) });
    for (const [agoMs, expected] of [[1_000, "10.1.0.3/27"], [REST_MS + 1, "10.1.0.2/27"]] as const) {
      const { book } = desk(HELD, {}, {}, { grants: grants(NOW - agoMs) });
      expect(await book.managerAddress(id, { gateway: false })).toBe(expected);
    }
  });

  it("are held back for ever by no clock that was set back", async () => {
    const ahead = { owner: "swarm", grantedAtMs: NOW + 9e9, releasedAtMs: NOW + 9e9 };
    const state = desk(HELD, {}, { [`G:${id}`]: [2, 3, 4, 5, 6].map((host) => ({ address: ip(`10.1.0.${host}`), ...ahead })) });
    await expect(state.book.managerAddress(id, { gateway: false })).rejects.toMatchObject({ code: "exhausted" });
    state.nowMs += REST_MS;
    expect(await state.book.managerAddress(id, { gateway: false })).toBe("10.1.0.2/27");
  });

  it("are not recycled on etcd's copy of the services", async () => {
    const state = desk({ ...HELD, servicesListed: false }, {}, { [`G:${id}`]: [2, 3, 4, 5, 6].map((host) => ({ address: ip(`10.1.0.${host}`), owner: "swarm", grantedAtMs: 0 })) });
    await expect(state.book.managerAddress(id, { gateway: false })).rejects.toMatchObject({ code: "exhausted" });
    state.nowMs += 2 * REST_MS;
    await expect(state.book.managerAddress(id, { gateway: false })).rejects.toMatchObject({ code: "exhausted" });
  });

  it("that become few are told once, at four fifths of a range, with the setting that helps", async () => {
    const { book, said } = desk(HELD);
    for (const expected of [0, 0, 0, 1, 1]) {
      await book.managerAddress(id, { gateway: false });
      expect(said.named("address.nearly-full")).toHaveLength(expected);
    }
    expect(said.named("address.nearly-full")[0]?.fields).toEqual({ range: "10.1.0.0/29", held: 4, capacity: 5, cure: expect.stringContaining("SERVICE_RANGE_SIZE") });
  });

  it("that nothing explains are found, and rest once they are fixed", async () => {
    const old = { owner: "swarm", grantedAtMs: NOW - 1e7 };
    const state = desk({ ...HELD, endpoints: { items: [endpoint(1, 10, { address: ip("10.1.0.10") })] }, services: { items: [service(1, { vips: [{ network: networkId(1), address: ip("10.1.0.2") }] })] } }, {}, {
      [`G:${id}`]: [{ address: ip("10.1.0.1"), ...old, owner: "gateway" }, { address: ip("10.1.0.2"), ...old }, { address: ip("10.1.0.3"), ...old }, { address: ip("10.1.0.4"), ...old, grantedAtMs: NOW }],
      [`L:${id}`]: [{ address: ip("10.1.0.10"), ...old }, { address: ip("10.1.0.11"), ...old }, { address: ip("10.1.0.12"), ...old, releasedAtMs: NOW }],
    });
    const { ranges, findings } = state.book.report();
    expect(ranges.map(({ node: where, capacity, used, resting, leaked }) => [where, capacity, used, resting, leaked])).toEqual([["services", 5, 2, 0, 1], ["box-a", 5, 1, 1, 1]]);
    expect(findings.map(({ kind, address }) => `${kind} ${address}`)).toEqual(["leaked 10.1.0.3", "leaked 10.1.0.11"]);
    expect((await state.book.fix()).findings).toEqual(findings);
    expect(state.book.report()).toMatchObject({ findings: [], ranges: [{ resting: 1, leaked: 0 }, { resting: 2, leaked: 0 }] });
  });

  it("held by two containers are named", () => {
    const twins = [1, 2].map((n) => container(n, { networks: { [networkId(1)]: { endpoint: `e${n}` as EndpointId, address: ip("10.1.0.10"), aliases: [] } } }));
    expect(desk({ ...HELD, containers: { items: twins } }).book.report().findings).toMatchObject([{ kind: "duplicate", address: "10.1.0.10", why: "containers box1 and box2 have it" }]);
  });

  it("are in the state before they are answered", async () => {
    const state = desk(HELD);
    const [address, vip] = [bare(await state.book.nodeAddress(id, node)), bare(await state.book.managerAddress(id, { gateway: false }))];
    expect(state.saves).toBe(2);
    expect(state.book.state()).toEqual({
      [`L:${id}`]: [{ address, owner: "mac", grantedAtMs: NOW }], [`G:${id}`]: [{ address: vip, owner: "swarm", grantedAtMs: NOW }],
    });
  });

  it("are released in the state at once; a manager's word frees nothing", async () => {
    const state = desk(HELD);
    const [address, vip] = [bare(await state.book.nodeAddress(id, node)), bare(await state.book.managerAddress(id, { gateway: false }))];
    const before = state.book.state();
    for (const one of [address, vip]) await state.book.release("manager", id, one);
    await state.book.release("node", id, vip);
    expect([state.book.state(), state.saves]).toEqual([before, 2]);
    state.nowMs += 7;
    for (const _time of [1, 2]) await state.book.release("node", id, address);
    expect([state.book.state()[`L:${id}`], state.saves]).toEqual([[{ address, owner: "mac", grantedAtMs: NOW, releasedAtMs: NOW + 7 }], 3]);
  });

  it("run out with the range, the reason and a cure; and come back when they have rested", async () => {
    const state = desk(HELD);
    const given: Ipv4[] = [];
    for (let n = 0; n < 5; n++) given.push(bare(await state.book.nodeAddress(id, node)));
    expect(new Set(given).size).toBe(5);
    await expect(state.book.nodeAddress(id, node)).rejects.toMatchObject({ code: "exhausted", message: expect.stringContaining(`all 5 addresses of ${OWN}`), cure: expect.any(String) });
    expect(state.said.named("address.exhausted")).toHaveLength(1);
    await state.book.release("node", id, given[3] ?? ip("0.0.0.0"));
    state.nowMs += REST_MS - 1;
    await expect(state.book.nodeAddress(id, node)).rejects.toMatchObject({ code: "exhausted" });
    state.nowMs += 1;
    expect(bare(await state.book.nodeAddress(id, node))).toBe(given[3]);
  });

  it("avoid what Docker lists although the book does not know it", async () => {
    const { book } = desk({ ...HELD, endpoints: { items: [endpoint(1, 2, { address: ip("10.1.0.10") })], settled: false }, services: { items: [service(1, { vips: [{ network: networkId(1), address: ip("10.1.0.2") }] })], settled: false } });
    expect([await book.nodeAddress(id, node), await book.managerAddress(id, { gateway: false })]).toEqual(["10.1.0.11/29", "10.1.0.3/27"]);
  });

  it("of the service range are recycled when placeholders have aged and rested, not before all services are listed", async () => {
    const state = desk({ ...HELD, services: { items: [], settled: false } });
    for (let n = 0; n < 5; n++) await state.book.managerAddress(id, { gateway: false });
    state.nowMs += GRANT_GRACE_MS + 1;
    await expect(state.book.managerAddress(id, { gateway: false })).rejects.toMatchObject({ code: "exhausted" });
    state.nowMs += REST_MS;
    await expect(state.book.managerAddress(id, { gateway: false })).rejects.toMatchObject({ code: "exhausted" });
    state.world = HELD;
    await expect(state.book.managerAddress(id, { gateway: false })).rejects.toMatchObject({ code: "exhausted" });
    state.nowMs += REST_MS;
    expect(await state.book.managerAddress(id, { gateway: false })).toBe("10.1.0.2/27");
  });

  it("that swarm replays are granted again without a question, but only of the service range", async () => {
    const { book } = desk(HELD);
    for (const _time of [1, 2]) expect(await book.managerAddress(id, { gateway: false, address: ip("10.1.0.6") })).toBe("10.1.0.6/27");
    expect(await book.managerAddress(id, { gateway: true, address: ip("10.1.0.5") })).toBe("10.1.0.5/27");
    await expect(book.managerAddress(id, { gateway: false, address: ip("10.1.0.10") })).rejects.toMatchObject({ code: "invalid", cure: expect.stringContaining("--ip") });
  });

  it("of a network nobody knows here are refused", async () => {
    const { book } = desk({});
    for (const asked of [book.nodeAddress(id, node), book.managerAddress(id, { gateway: false })]) await expect(asked).rejects.toMatchObject({ code: "not-found" });
    await book.release("node", id, ip("10.1.0.10"));
    await book.release("manager", id, ip("10.1.0.2"));
  });

  it.each<[string, World, boolean]>([
    ["while their network has its pool", HELD, true],
    ["no longer when the pool is gone", {}, false],
    ["while not all pools are listed", { pools: { items: [], settled: false } }, true],
    ["while not all containers are listed", { endpoints: { items: [], settled: false } }, true],
    ["while Docker still has the network: then etcd lost the pool", { networks: { items: [network(1)] } }, true],
    ["while a container hangs on the network", { endpoints: { items: [endpoint(1, 2)] } }, true],
  ])("are remembered %s", async (_name, world, remembered) => {
    const state = desk(HELD);
    await state.book.nodeAddress(id, node);
    state.world = world;
    expect(Object.keys(state.book.state())).toEqual(remembered ? [`L:${id}`] : []);
  });
});

describe("pools", () => {
  const BOUND: World = { pools: { items: [pool(1)] }, subnets: { items: [lease(1)] } };
  it("are claimed once, and answered again from memory when swarm replays", async () => {
    const fresh = desk({}, { claimPool: () => Promise.resolve(pool(1)) });
    expect(await fresh.book.managerPool({ options: {}, replay: false })).toEqual(pool(1));
    expect([fresh.claimed, fresh.own, fresh.saves]).toEqual([["claimPool"], [pool(1)], 1]);
    const known = desk(BOUND);
    for (const by of [{ cidr: range(1) }, { flannelId: flannelId(1) }]) expect(await known.book.managerPool({ ...by, options: {}, replay: true })).toEqual(pool(1));
    expect(known.claimed).toEqual([]);
  });

  it("are bound once", async () => {
    const asked = { network: networkId(1), cidr: range(1), options: {} };
    const fresh = desk({ pools: { items: [unbound(1)] } }, { bindPool: () => Promise.resolve(pool(1)) });
    expect(await fresh.book.bind(asked)).toEqual(pool(1));
    expect(fresh.said.named("pool.bound")).toMatchObject([{ fields: { network: "net-1", vni: 101, flannelId: "flannel-1", cidr: range(1) } }]);
    const known = desk(BOUND);
    expect(await known.book.bind(asked)).toEqual(pool(1));
    expect([known.claimed, known.said.said]).toEqual([[], []]);
  });

  it("on a node: etcd is asked only for what is not known here", async () => {
    const held = desk(BOUND);
    expect(await held.book.nodePool({ cidr: range(1), options: {}, replay: true })).toEqual(pool(1));
    expect(held.claimed).toEqual([]);
    const fresh = desk({}, { findPool: () => Promise.resolve(pool(1)), claimLease: (one, publicIp) => Promise.resolve({ flannelId: one.flannelId, subnet: subnetOf(1, 1), publicIp }) });
    expect(await fresh.book.nodePool({ cidr: range(1), options: {}, replay: true })).toEqual(pool(1));
    expect(fresh.claimed).toEqual(["findPool", "claimLease"]);
    expect(fresh.own).toEqual([{ flannelId: flannelId(1), subnet: subnetOf(1, 1), publicIp: ip("172.16.0.1") }, pool(1)]);
    expect(fresh.said.named("lease.claimed")).toHaveLength(1);
  });

  it.each<[string, World, string]>([
    ["no pool of the range", {}, "not-found"], ["no link between the nodes", { pools: BOUND.pools ?? { items: [] }, node: { underlay: undefined as never } }, "unavailable"],
  ])("on a node: %s", async (_name, world, code) => {
    const { book } = desk(world, { findPool: () => Promise.resolve(undefined) });
    await expect(book.nodePool({ cidr: range(1), options: {}, replay: false })).rejects.toMatchObject({ code, cure: expect.any(String) });
  });
});
