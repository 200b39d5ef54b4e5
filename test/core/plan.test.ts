/** The laws of a plan: it leads to what is desired, in one order, and deletes nothing while unsettled. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { diff, isEmpty, withhold, type Change, type Plan } from "../../src/core/plan.ts";

const table = fc.dictionary(fc.string({ maxLength: 2 }), fc.integer({ min: 0, max: 3 })).map((rows) => new Map(Object.entries(rows)));
const same = (a: number, b: number): boolean => a === b;
interface Row extends Change { readonly value: number }

function planOf(desired: ReadonlyMap<string, number>, observed: ReadonlyMap<string, number>, settled: boolean): Plan<Row> {
  const { create, update, remove } = diff(desired, observed, same);
  return withhold<Row>([
    ...create.map(([key, value]): Row => ({ op: "create", key, value, why: "missing" })),
    ...update.map(([key, value, was]): Row => ({ op: "update", key, value, why: `${was} → ${value}` })),
    ...remove.map(([key, value]): Row => ({ op: "delete", key, value, why: "not desired" })),
  ], settled);
}

function applied(observed: ReadonlyMap<string, number>, { changes }: Plan<Row>): ReadonlyMap<string, number> {
  const rows = new Map(observed);
  for (const { op, key, value } of changes) {
    if (op === "delete") rows.delete(key);
    else rows.set(key, value);
  }
  return rows;
}

const law = (name: string, holds: (desired: ReadonlyMap<string, number>, observed: ReadonlyMap<string, number>, settled: boolean) => void): void =>
  it(name, () => fc.assert(fc.property(table, table, fc.boolean(), holds)));

describe("a plan", () => {
  law("once applied leaves nothing to change", (desired, observed, settled) => {
    expect(isEmpty(planOf(desired, applied(observed, planOf(desired, observed, settled)), settled))).toBe(true);
  });

  law("once applied while settled makes reality what is desired", (desired, observed) => {
    expect(new Map([...applied(observed, planOf(desired, observed, true))].sort())).toEqual(new Map([...desired].sort()));
  });

  law("has one order, whatever order its input has", (desired, observed, settled) => {
    const turned = planOf(new Map([...desired].reverse()), new Map([...observed].reverse()), settled);
    expect(turned).toEqual(planOf(desired, observed, settled));
  });

  law("deletes nothing while unsettled, and holds exactly what it would delete", (desired, observed) => {
    const [held, free] = [planOf(desired, observed, false), planOf(desired, observed, true)];
    expect(held.changes.some(({ op }) => op === "delete")).toBe(false);
    expect([...held.changes, ...held.held]).toEqual(free.changes);
    expect(free.held).toEqual([]);
  });

  law("touches only what differs", (desired, observed) => {
    for (const { key } of planOf(desired, observed, true).changes) expect(desired.get(key)).not.toBe(observed.get(key));
  });
});

it("is empty when nothing is to be changed, even if something is held", () => {
  const held: Change = { op: "delete", key: "a", why: "not desired" };
  expect(isEmpty({ changes: [], held: [held] })).toBe(true);
  expect(isEmpty({ changes: [held], held: [] })).toBe(false);
});

it("tells values that are undefined from keys that are absent", () => {
  const key = new Map([["a", undefined]]);
  expect(diff(key, new Map(), () => true)).toEqual({ create: [["a", undefined]], update: [], remove: [] });
  expect(diff(key, key, () => false)).toEqual({ create: [], update: [["a", undefined, undefined]], remove: [] });
});
