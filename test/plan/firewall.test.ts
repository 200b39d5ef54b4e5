/** Firewall: networks stay apart at every moment; what is accepted is never accepted without what is dropped. */
import { describe, expect, it } from "@jest/globals";
import { firewall } from "../../src/reconcilers/firewall.ts";
import type { FirewallChange, FirewallState } from "../../src/sinks/firewall.ts";
import type { IsolatedNetwork } from "../../src/sinks/nft-table.ts";
import { endpoint, lease, network, pool, range, snapshotOf, type World } from "./builders.ts";
import { casesOf, forAll, obeysTheLaws, type Facility } from "./laws.ts";

const NOTHING: FirewallState = { table: { networks: [], faults: [] }, chain: { flavours: ["nft"], present: false, faults: ["no chain"] } };

function one(state: FirewallState, change: FirewallChange): FirewallState {
  if (change.target === "table") return { ...state, table: { networks: change.table.networks, faults: [] } };
  const gone = change.op === "delete";
  return { ...state, chain: { flavours: ["nft"], present: !gone, faults: gone ? ["no chain"] : [] } };
}
/** Every state on the way, first and last included. */
const steps = (state: FirewallState, changes: readonly FirewallChange[]): readonly FirewallState[] =>
  changes.reduce<FirewallState[]>((seen, change) => [...seen, one(seen.at(-1) ?? state, change)], [state]);

const facility: Facility<FirewallState, FirewallChange> = {
  empty: NOTHING,
  apply: (state, changes) => steps(state, changes).at(-1) ?? state,
  disturb: ({ table, chain }, pick) => ({
    table: [table, NOTHING.table, { ...table, faults: ["a rule is foreign"] }, { networks: table.networks.slice(1), faults: [] }][pick(4)] ?? table,
    chain: [chain, NOTHING.chain, { ...chain, present: true, faults: ["the jump is not behind DOCKER-USER's"] }][pick(3)] ?? chain,
  }),
  reversed: (state) => state,
};
const net = (n: number): IsolatedNetwork => ({ vni: (100 + n) as never, cidr: range(n), vethPrefix: `fnp000${(100 + n).toString(36).padStart(2, "0")}`, vxlan: `flannel.${100 + n}` });
const worldOf = (...networks: readonly number[]): World => ({
  networks: { items: networks.map((n) => network(n)) }, pools: { items: networks.map((n) => pool(n)) }, subnets: { items: networks.map((n) => lease(n)) },
});
const planOf = (world: World, observed: FirewallState = NOTHING) => firewall.plan(firewall.desire(snapshotOf(world)), observed);
const whole = (...networks: readonly number[]): FirewallState => ({ table: { networks: networks.map(net), faults: [] }, chain: { flavours: ["nft"], present: true, faults: [] } });
const said = (world: World, observed?: FirewallState) => planOf(world, observed).changes.map(({ op, key, why }) => `${op} ${key}: ${why}`);

describe("firewall", () => {
  obeysTheLaws(firewall, facility);

  it.each<[string, World, FirewallState, readonly string[]]>([
    ["the first network: drops, then accepts", worldOf(1), NOTHING, ["create table: networks differ: +101", "create chain: no chain"]],
    ["one more network", worldOf(2, 1), whole(1), ["update table: networks differ: +102"]],
    ["one network less", worldOf(1), whole(1, 2), ["update table: networks differ: -102"]],
    ["the last network goes: accepts, then drops", {}, whole(1), ["delete chain: no network is carried here", "delete table: no network is carried here"]],
    ["a stranger flushed our table", worldOf(1), { ...whole(1), table: NOTHING.table }, ["create table: networks differ: +101"]],
    ["a stranger changed our table", worldOf(1), { ...whole(1), table: { networks: [net(1)], faults: ["a rule is foreign"] } }, ["update table: a rule is foreign"]],
    ["a stranger moved our jump", worldOf(1), { ...whole(1), chain: { flavours: ["nft"], present: true, faults: ["the jump moved"] } }, ["update chain: the jump moved"]],
    ["all is well", worldOf(1, 2), whole(1, 2), []],
  ])("%s", (_name, world, observed, expected) => expect(said(world, observed)).toEqual(expected));

  it.each<[string, World]>([
    ["pools are not listed", { ...worldOf(2), pools: { items: [pool(2)], settled: false } }],
    ["leases are not listed", { ...worldOf(2), subnets: { items: [lease(2)], settled: false } }],
    ["etcd has forgotten the network of a container", { ...worldOf(2), endpoints: { items: [endpoint(1, 2)] } }],
  ])("keeps a network apart while %s", (_name, world) => {
    expect(planOf(world, whole(1)).changes).toEqual([expect.objectContaining({ table: { networks: [net(1), net(2)] } })]);
    expect(planOf({ ...world, pools: { items: [], settled: false } }, whole(1))).toEqual({ changes: [], held: [] });
  });

  it("lists networks by VNI, whatever their ranges", () => {
    const world: World = { ...worldOf(1, 2), pools: { items: [pool(1, { vni: 900 as never }), pool(2)] } };
    expect(firewall.desire(snapshotOf(world)).value.map(({ vni }) => vni)).toEqual([102, 900]);
  });

  it("drops at every moment what it accepts at any: no step has the chain without the table", () => {
    forAll(casesOf(firewall, facility), ({ observed, plan }) => {
      // What was found broken is mended table first: from the first change on there is no gap.
      const [, ...later] = steps(observed, plan.changes);
      expect(later.filter(({ table, chain }) => chain.present && table.networks.length === 0)).toEqual([]);
    });
  });

  it("takes a network out of the table only when all sources have listed", () => {
    forAll(casesOf(firewall, facility), ({ observed, desired, after }) => {
      const left = new Set(after.table.networks.map(({ vni }) => vni));
      const lost = observed.table.networks.filter(({ vni }) => !left.has(vni));
      if (!desired.settled) expect(lost).toEqual([]);
      else expect(lost.filter(({ vni }) => desired.value.some((wanted) => wanted.vni === vni))).toEqual([]);
    });
  });
});
