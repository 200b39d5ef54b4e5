/**
 * What every planner must obey, as properties over random worlds (house rules, tests).
 *
 * A facility is a model of what the sink sees: `empty`, `apply` as the sink would, `disturb` as a stranger would.
 * What is observed was made by an earlier world, then disturbed; so leftovers and half-done work come by themselves.
 */
import { expect, it } from "@jest/globals";
import fc from "fast-check";
import type { EndpointId, NodeId } from "../../src/core/ids.ts";
import type { Change, Plan } from "../../src/core/plan.ts";
import type { Desired, Reconciler } from "../../src/core/reconciler.ts";
import { addressOf, container, endpoint, lease, network, NODE, OTHER, pool, service, snapshotOf, task, unbound, type World } from "./builders.ts";

export interface Facility<O, C extends Change> {
  readonly empty: O;
  apply(observed: O, changes: readonly C[]): O;
  /** Seeded by `pick`: a number per question, so a failure shrinks. */
  disturb(observed: O, pick: (most: number) => number): O;
  /** The same in another order of insertion. */
  reversed(observed: O): O;
}

interface NetworkPlan {
  readonly pool: "absent" | "unbound" | "bound" | "released";
  readonly docker: boolean; readonly own: boolean; readonly peers: readonly number[]; readonly incomplete: boolean; readonly hosts: readonly number[];
}
const networkPlan: fc.Arbitrary<NetworkPlan> = fc.record({
  pool: fc.constantFrom("absent", "unbound", "bound", "bound", "bound", "released"), docker: fc.boolean(), own: fc.boolean(),
  peers: fc.subarray([2, 3, 4]), incomplete: fc.boolean(), hosts: fc.subarray([2, 3, 4]),
});
const settled = fc.boolean();

/** Four networks in any state, each kind listed or not. */
export const worlds: fc.Arbitrary<World> = fc.record({
  plans: fc.array(networkPlan, { minLength: 4, maxLength: 4 }), joined: fc.boolean(), ended: fc.subarray(["ep-1-2", "ep-2-2", "ep-3-3"]),
  role: fc.constantFrom("leader", "manager", "worker"), underlay: fc.boolean(), dockerSeen: fc.boolean(), listed: fc.boolean(),
  flags: fc.record({ pools: settled, subnets: settled, endpoints: settled, services: settled, containers: settled }), from: fc.constantFrom("docker", "etcd"),
}).map(({ plans, joined, ended, role, underlay, dockerSeen, listed, flags, from }): World => {
  const each = <T>(make: (plan: NetworkPlan, n: number) => readonly T[]): readonly T[] => plans.flatMap((plan, at) => make(plan, at + 1));
  const ofSwarm = { settled: flags.services, from } as const;
  return {
    node: { role: role === "worker" ? "worker" : "manager", leader: role === "leader", dockerSeen, ...(underlay ? {} : { underlay: undefined as never }) },
    ended, networksListed: listed,
    networks: { items: each((plan, n) => (plan.docker ? [network(n)] : [])), settled: listed },
    services: { items: each((plan, n) => (plan.docker ? [service(n)] : [])), ...ofSwarm },
    tasks: { items: each((plan, n) => (plan.own ? [task(n, { index: n })] : [])), ...ofSwarm },
    containers: { items: each((plan, n) => [container(n, { node: (plan.docker ? NODE : OTHER) as NodeId })]), settled: flags.containers },
    endpoints: {
      items: each((plan, n) => plan.hosts.map((host) => endpoint(n, host, { address: addressOf(n, host), stage: joined ? "joined" : "created" })))
        .filter(({ id }) => !ended.includes(id as EndpointId)),
      settled: flags.endpoints,
    },
    pools: { items: each((plan, n) => (plan.pool === "absent" ? [] : [plan.pool === "unbound" ? unbound(n) : pool(n, plan.pool === "released" ? { releasedAtMs: 5 } : {})])), settled: flags.pools },
    subnets: {
      items: each((plan, n) => [...(plan.own ? [1] : []), ...plan.peers].map((node) => {
        const { vtepMac: _mac, ...reserved } = lease(n, node);
        return plan.incomplete ? reserved : lease(n, node);
      })),
      settled: flags.subnets,
    },
  };
});

/** The same world told in another order. */
export function told(world: World): World {
  const turned = Object.entries(world).map(([name, kind]: [string, unknown]) =>
    [name, typeof kind === "object" && kind !== null && "items" in kind ? { ...kind, items: [...(kind.items as unknown[])].reverse() } : kind]);
  return Object.fromEntries(turned) as World;
}

export const reversedMap = <K, V>(map: ReadonlyMap<K, V>): Map<K, V> => new Map([...map].reverse());

export interface Case<D, O, C extends Change> {
  readonly world: World; readonly desired: Desired<D>; readonly observed: O; readonly plan: Plan<C>; readonly after: O;
}

/** A world, and what an earlier world and a stranger left behind. */
export function casesOf<D, O, C extends Change>(reconciler: Reconciler<D, O, C>, facility: Facility<O, C>): fc.Arbitrary<Case<D, O, C>> {
  return fc.tuple(worlds, worlds, fc.infiniteStream(fc.nat()), fc.boolean()).map(([world, former, stream, calm]) => {
    const pick = (most: number): number => (stream.next().value as number) % most;
    const made = facility.apply(facility.empty, reconciler.plan(reconciler.desire(snapshotOf(former)), facility.empty).changes);
    const observed = calm ? made : facility.disturb(made, pick);
    const desired = reconciler.desire(snapshotOf(world));
    const plan = reconciler.plan(desired, observed);
    return { world, desired, observed, plan, after: facility.apply(observed, plan.changes) };
  });
}

export const forAll = <T>(cases: fc.Arbitrary<T>, check: (value: T) => void): void => fc.assert(fc.property(cases, check), { numRuns: 150 });

/** The laws that all share. `mayDelete`: deletes that are right even while nothing is settled. */
export function obeysTheLaws<D, O, C extends Change>(
  reconciler: Reconciler<D, O, C>, facility: Facility<O, C>, mayDelete: (change: C, world: World) => boolean = () => false,
): void {
  const cases = casesOf(reconciler, facility);
  it("plans nothing after its plan was applied", () => {
    forAll(cases, ({ desired, after }) => expect(reconciler.plan(desired, after).changes).toEqual([]));
  });
  it("plans the same in the same order, however it was told", () => {
    forAll(cases, ({ world, observed, plan }) =>
      expect(reconciler.plan(reconciler.desire(snapshotOf(told(world))), facility.reversed(observed))).toEqual(plan));
  });
  it("deletes nothing while nobody knows it all", () => {
    forAll(cases, ({ world, desired, plan }) => {
      if (desired.settled) expect(plan.held).toEqual([]);
      else expect(plan.changes.filter((change) => change.op === "delete" && !mayDelete(change, world))).toEqual([]);
    });
  });
  it("names a reason for every change, and no change twice", () => {
    forAll(cases, ({ plan }) => {
      const all = [...plan.changes, ...plan.held];
      expect(all.filter(({ why }) => why === "")).toEqual([]);
      expect(new Set(all.map(({ op, key }) => `${op} ${key}`)).size).toBe(all.length);
    });
  });
}
