/** A table that arrives by differences is the table, whatever came before; and orders stay small. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { difference } from "../../../src/sinks/dns/difference.ts";
import type { LookupTable } from "../../../src/sinks/dns/lookup.ts";
import type { Order } from "../../../src/sinks/dns/messages.ts";
import { StagedTable } from "../../../src/sinks/dns/staged-table.ts";
import type { DnsSandbox, DnsTable } from "../../../src/sinks/dns/vocabulary.ts";
import { named, sandbox, served, table, zone } from "./builders.ts";

type Held = { readonly table: LookupTable; readonly sandboxes: ReadonlyMap<string, DnsSandbox> } | undefined;
type TableOrder = Parameters<StagedTable["take"]>[0];

function fed(staged: StagedTable, orders: Iterable<Order>): Held {
  let held: Held;
  for (const order of orders) held = staged.take(structuredClone(order) as TableOrder) ?? held;
  return held;
}

/** As plain values, so that two can be compared. */
const plain = ({ mode, zones, ranges }: LookupTable, sandboxes: ReadonlyMap<string, DnsSandbox>): unknown => ({
  mode, ranges: [...ranges], sandboxes: [...sandboxes.values()].sort((a, b) => (a.sandbox < b.sandbox ? -1 : 1)),
  zones: [...zones.values()].map((each) => ({ ...each, names: sorted(each.names), pointers: sorted(each.pointers), services: sorted(each.services) })).sort((a, b) => (a.network < b.network ? -1 : 1)),
});
const sorted = <V>(map: ReadonlyMap<string, V>): readonly (readonly [string, V])[] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

const word = fc.constantFrom("a", "b", "c", "d");
const addresses = fc.uniqueArray(fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3"), { maxLength: 3 });
const zones = fc.uniqueArray(word, { maxLength: 4 }).chain((names) => fc.tuple(...names.map((name) => fc.record({
  names: fc.dictionary(word, addresses.map((list) => named(...list))), pointers: fc.dictionary(fc.constantFrom("10.0.0.1", "10.0.0.2"), word),
  services: fc.dictionary(word, addresses.map((list) => [served(80, "t", ...list)])), ttlSeconds: fc.constantFrom(5, 30),
}).map((parts) => zone(name, parts)))));
const sandboxes = fc.uniqueArray(word, { maxLength: 4 }).chain((names) => fc.tuple(...names.map((name) =>
  fc.record({ zones: fc.uniqueArray(word), links: fc.dictionary(word, word) }).map((parts) => sandbox(parts.zones, parts.links, name)))));
const tables: fc.Arbitrary<DnsTable> = fc.tuple(fc.constantFrom("compatible" as const, "complete" as const), zones, sandboxes, fc.uniqueArray(fc.constantFrom("10.0.0.0/8", "172.16.0.0/12")))
  .map(([mode, zoneList, sandboxList, ranges]) => table(mode, zoneList, sandboxList, ranges));

describe("differences", () => {
  it("lead from any table to any other", () => fc.assert(fc.property(fc.array(tables, { minLength: 1, maxLength: 5 }), (list) => {
    const staged = new StagedTable();
    let before: DnsTable | undefined;
    for (const next of list) {
      const held = fed(staged, difference(before, next));
      expect(held && plain(held.table, held.sandboxes)).toEqual(plain(next, next.sandboxes));
      before = next;
    }
  })));

  it("say nothing over a table that says the same in other objects", () => fc.assert(fc.property(tables, (one) => {
    const orders = [...difference(one, structuredClone(one))];
    expect(orders.map(({ kind }) => kind)).toEqual(["commit"]);
  })));

  it("a table of ten thousand names comes in orders of at most 500, and a change of one name in one of one", () => {
    const names = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`n${n}`, named("10.0.0.1")]));
    const whole = table("compatible", [zone("net", { names })], [sandbox(["net"])]);
    const sizes = (orders: Iterable<Order>): readonly number[] => [...orders].flatMap((order) => (order.kind === "zone" ? [order.part.names.length] : []));
    expect(sizes(difference(undefined, whole))).toEqual(Array<number>(20).fill(500));
    expect(sizes(difference(whole, table("compatible", [zone("net", { names: { ...names, n77: named("10.0.0.2") } })], [sandbox(["net"])])))).toEqual([1]);
  });
});

it("holds nothing half: before the commit the old table stands, unchanged", () => {
  const staged = new StagedTable();
  const before = table("compatible", [zone("net", { names: { a: named("10.0.0.1") } })], [sandbox(["net"])]);
  const held = fed(staged, difference(undefined, before));
  const after = table("compatible", [zone("net", { names: { b: named("10.0.0.2") } }), zone("more", { names: { c: named("10.0.0.3") } })], [sandbox(["more"])]);
  const orders = [...difference(before, after)];
  expect(fed(staged, orders.slice(0, -1))).toBeUndefined();
  expect(held && plain(held.table, held.sandboxes)).toEqual(plain(before, before.sandboxes));
  const now = fed(staged, orders.slice(-1));
  expect(now && plain(now.table, now.sandboxes)).toEqual(plain(after, after.sandboxes));
});
