/** Vips: the frame, with guards and refusal, is there before any network's VIPs and goes after the last. */
import { describe, expect, it } from "@jest/globals";
import { vips } from "../../src/reconcilers/vips.ts";
import { vipKey, type VipChange, type VipEntry, type VipState } from "../../src/sinks/vip-table.ts";
import { addressOf, endpoint, lease, network, pool, snapshotOf, type World } from "./builders.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const NOTHING: VipState = { entries: new Map(), faults: [] };

function apply(state: VipState, changes: readonly VipChange[]): VipState {
  const entries = new Map(state.entries);
  let { faults } = state;
  for (const { op, key, entry } of changes) {
    if (op === "delete") entries.delete(key);
    else entries.set(key, entry);
    if (key === "frame") faults = [];
  }
  return { entries, faults };
}

const facility: Facility<VipState, VipChange> = {
  empty: NOTHING, apply,
  disturb: (state, pick) => [
    NOTHING, { ...state, faults: state.entries.has("frame") ? ["rule 1 of chain late is missing"] : [] },
    { ...state, entries: new Map([...state.entries].filter(([key]) => key === "frame" || pick(2) === 0)) }, state,
  ][pick(4)] ?? state,
  reversed: (state) => ({ ...state, entries: reversedMap(state.entries) }),
};
const worldOf = (...ns: readonly number[]): World => ({
  networks: { items: ns.map((n) => network(n)) }, pools: { items: ns.map((n) => pool(n)) }, subnets: { items: ns.map((n) => lease(n)) },
  endpoints: { items: ns.map((n) => endpoint(n, 2)) },
});
const said = (world: World, state: VipState = NOTHING) => vips.plan(vips.desire(snapshotOf(world)), state).changes.map(({ op, key }) => `${op} ${key}`);
const whole = (...ns: readonly number[]): VipState => apply(NOTHING, vips.plan(vips.desire(snapshotOf(worldOf(...ns))), NOTHING).changes);

describe("vips", () => {
  obeysTheLaws(vips, facility);

  it.each<[string, World, VipState, readonly string[]]>([
    ["the first network", worldOf(1), NOTHING, ["create frame", "create network 101", `create loop ${addressOf(1, 2)}`]],
    ["the last one goes", {}, whole(1), [`delete loop ${addressOf(1, 2)}`, "delete network 101", "delete frame"]],
    ["a hand in the frame", worldOf(1), { ...whole(1), faults: ["rule 1 of chain late is missing"] }, ["update frame"]],
    ["all is well", worldOf(1, 2), whole(1, 2), []],
  ])("%s", (_name, world, state, expected) => expect(said(world, state)).toEqual(expected));

  it("never has a network's VIPs without the frame", () => {
    forAll(casesOf(vips, facility), ({ observed, plan }) => {
      let state = observed;
      for (const change of plan.changes) {
        state = apply(state, [change]);
        const [first] = [...state.entries.values()].filter(({ kind }: VipEntry) => kind !== "frame");
        if (first !== undefined && observed.entries.has("frame")) expect(state.entries.has("frame")).toBe(true);
        if (first !== undefined && plan.changes[0]?.key === "frame") expect(state.entries.has("frame") || vipKey(first) === "frame").toBe(true);
      }
    });
  });
});
