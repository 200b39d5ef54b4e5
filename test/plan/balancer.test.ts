/** Balancer: a live service is never empty on the way; who drains is kept, never made, and goes when idle or late. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { EndpointId, ServiceId, TaskId } from "../../src/core/ids.ts";
import type { Container } from "../../src/core/model.ts";
import { balancerWith } from "../../src/reconcilers/balancer.ts";
import type { BalancerChange, BalancerState, SeenEntry, SeenServer } from "../../src/sinks/balancer.ts";
import { addressOf, container, ip, lease, network, networkId, OTHER, pool, service, snapshotOf, task, type World } from "./builders.ts";
import { obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const balancer = balancerWith({ engine: "ipvs", drainMs: 600_000 });
const VIP = "10.1.0.9";
const NONE: BalancerState = new Map();

function seen({ entry }: BalancerChange): SeenEntry {
  return entry.kind === "service" ? entry : { ...entry, drainingMs: 0, connections: 1 };
}
function apply(state: BalancerState, changes: readonly BalancerChange[]): BalancerState {
  const next = new Map(state);
  for (const change of changes) {
    if (change.op !== "delete") next.set(change.key, seen(change));
    else for (const key of next.keys()) if (key === change.key || key.startsWith(`${change.key}>`)) next.delete(key);
  }
  return next;
}
const facility: Facility<BalancerState, BalancerChange> = {
  empty: NONE, apply, reversed: reversedMap,
  disturb: (state, pick) => new Map([...state].flatMap(([key, entry]): [string, SeenEntry][] => {
    const fate = pick(4);
    if (fate === 0 && entry.kind === "server") return [];
    return [[key, fate === 1 ? { ...entry, fault: "changed by hand" } : entry]];
  })),
};
const serves = (host: number, more: Partial<Container> = {}): Container => container(host, {
  service: "svc-1" as ServiceId, task: `task-${host}` as TaskId,
  networks: { [networkId(1)]: { endpoint: `ep-1-${host}` as EndpointId, address: addressOf(1, host), aliases: [] } }, ...more,
});
const worldOf = (containers: readonly Container[], more: World = {}): World => ({
  networks: { items: [network(1)] }, pools: { items: [pool(1)] }, subnets: { items: [lease(1)] }, services: { items: [service(1)] },
  containers: { items: containers }, ...more,
});
const said = (world: World, state: BalancerState = NONE) =>
  balancer.plan(balancer.desire(snapshotOf(world)), state).changes.map(({ op, key, entry }) => `${op} ${key}${entry.kind === "server" && op !== "delete" ? ` ${entry.weight}` : ""}`);
const made = (...hosts: readonly number[]): BalancerState => {
  const snapshot = snapshotOf(worldOf(hosts.map((host) => serves(host))));
  return apply(NONE, balancer.plan(balancer.desire(snapshot), NONE).changes);
};
const key = (host: number): string => `${VIP}>${addressOf(1, host)}`;
const drained = (more: Partial<SeenServer>): BalancerState => new Map<string, SeenEntry>([
  ...made(3), [key(2), { kind: "server", vip: ip(VIP), address: addressOf(1, 2), weight: 0, connections: 1, drainingMs: 0, ...more }],
]);
const ending = { items: [task(2, { desiredState: "shutdown" })] };

describe("balancer", () => {
  obeysTheLaws(balancer, facility);

  it.each<[string, World, BalancerState, readonly string[]]>([
    ["a service with two tasks", worldOf([serves(2), serves(3)]), NONE, [`create ${VIP}`, `create ${key(2)} 1`, `create ${key(3)} 1`]],
    ["a new task takes over before the old one stops", worldOf([serves(2), serves(3)], { tasks: ending }), made(2), [`create ${key(3)} 1`, `update ${key(2)} 0`]],
    ["one that drains is never made", worldOf([serves(2)], { tasks: ending }), NONE, [`create ${VIP}`]],
    ["one that drains with connections stays", worldOf([serves(2), serves(3)], { tasks: ending }), drained({}), []],
    ["one that drained is taken out when idle", worldOf([serves(2), serves(3)], { tasks: ending }), drained({ connections: 0 }), [`delete ${key(2)}`]],
    ["… or when its time is over", worldOf([serves(2), serves(3)], { tasks: ending }), drained({ drainingMs: 600_000 }), [`delete ${key(2)}`]],
    ["a healthy one comes back", worldOf([serves(2), serves(3)]), drained({}), [`update ${key(2)} 1`]],
    ["the service goes and takes its servers along", worldOf([], { services: { items: [] } }), made(2, 3), [`delete ${VIP}`]],
    ["dnsrr has no VIP", worldOf([serves(2)], { services: { items: [service(1, { mode: "dnsrr" })] } }), made(2), [`delete ${VIP}`]],
  ])("%s", (_name, world, state, expected) => expect(said(world, state)).toEqual(expected));

  it("a service with somebody ready before and after is never empty on the way; nobody who drains is made", () => {
    const fates = fc.array(fc.constantFrom("absent", "ready", "ending", "starting"), { minLength: 4, maxLength: 4 });
    const worldWith = (fate: readonly string[]): World => {
      const there = fate.flatMap((one, n) => (one === "absent" ? [] : [serves(n + 2, one === "starting" ? { health: "starting" } : {})]));
      return worldOf(there, { tasks: { items: fate.flatMap((one, n) => (one === "ending" ? [task(n + 2, { desiredState: "shutdown" })] : [])) } });
    };
    const isServed = (state: BalancerState): boolean => [...state.values()].some((each) => each.kind === "server" && each.weight === 1);
    fc.assert(fc.property(fates, fates, (before, now) => {
      const first = balancer.plan(balancer.desire(snapshotOf(worldWith(before))), NONE);
      let state = apply(NONE, first.changes);
      const [was, { changes }] = [isServed(state), balancer.plan(balancer.desire(snapshotOf(worldWith(now))), state)];
      expect(changes.filter(({ op, entry }) => op === "create" && entry.kind === "server" && entry.weight === 0)).toEqual([]);
      for (const change of changes) {
        state = apply(state, [change]);
        if (was && now.includes("ready")) expect(isServed(state)).toBe(true);
      }
    }));
  });

  it("while etcd is away, lets go of a task of this node and of no other", () => {
    const remote = `${VIP}>10.1.5.2`;
    const state = new Map<string, SeenEntry>([...made(2), [remote, { kind: "server", vip: ip(VIP), address: ip("10.1.5.2"), weight: 1, drainingMs: 0 }]]);
    const world = worldOf([serves(9, { node: OTHER, service: "svc-9" as ServiceId })]);
    expect(said({ ...world, containers: { items: [], settled: false } }, state)).toEqual([`delete ${key(2)}`]);
  });

  it.each([
    ["flannel-np.scheduler", "fastest", "is none of rr, wrr, lc, sh"], ["flannel-np.affinity", "long", "is no duration"], ["flannel-np.drain-time", "10", "is no duration"],
  ])("label %s=%s costs that label alone and is named", (label, value, reason) => {
    const wish = balancer.desire(snapshotOf(worldOf([serves(2)], { services: { items: [service(1, { labels: { [label]: value } })] } })));
    expect(wish.blocked).toEqual([expect.stringContaining(`${label}=${value} ${reason}`)]);
    expect(wish.value.entries.get(VIP)).toMatchObject({ scheduler: "rr", affinitySeconds: 0 });
  });

  it("switched off, wants nothing and takes away what was there, whatever is known", () => {
    const off = balancerWith({ engine: "nftables", off: true, drainMs: 1_000 });
    const { changes } = off.plan(off.desire(snapshotOf({ services: { items: [service(1)], settled: false } })), made(2, 3));
    expect(changes.map(({ op, key: of }) => `${op} ${of}`)).toEqual([`delete ${VIP}`]);
  });

  it("refuses a VIP outside of the service range by name", () => {
    const wish = balancer.desire(snapshotOf(worldOf([serves(2)], { services: { items: [service(1, { vips: [{ network: networkId(1), address: ip("10.1.9.9") }] })] } })));
    expect(wish.value.entries.size).toBe(0);
    expect(wish.blocked).toEqual([expect.stringContaining("10.1.9.9 lies outside of the service range")]);
  });
});
