/** Structural equality: a copy is equal, any change is not, doubt is "not equal". */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { equal } from "../../src/core/equal.ts";

const tree = fc.letrec((tie) => ({
  leaf: fc.oneof(fc.string(), fc.integer(), fc.double(), fc.boolean(), fc.constant(null), fc.constant(undefined), fc.bigInt()),
  node: fc.oneof(
    { maxDepth: 3 }, tie("leaf"), fc.array(tie("node"), { maxLength: 4 }), fc.dictionary(fc.string(), tie("node"), { maxKeys: 4, noNullPrototype: true }),
    fc.array(fc.tuple(fc.string(), tie("node")), { maxLength: 4 }).map((entries) => new Map(entries)),
    fc.array(fc.string(), { maxLength: 4 }).map((members) => new Set(members)),
  ),
})).node;

/** structuredClone makes objects of another realm under Jest. */
function copy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copy);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, copy(item)]));
  if (value instanceof Set) return new Set(value);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copy(item)]));
}

describe("equal", () => {
  it("finds every copy equal", () => fc.assert(fc.property(tree, (value) => expect(equal(value, copy(value))).toBe(true))));

  it("is symmetric", () => fc.assert(fc.property(tree, tree, (a, b) => expect(equal(a, b)).toBe(equal(b, a)))));

  it("sees one changed leaf anywhere", () => fc.assert(fc.property(tree, (value) => {
    expect(equal([value, 1], [value, 2])).toBe(false);
    expect(equal({ value, leaf: { deep: 1 } }, { value, leaf: { deep: "1" } })).toBe(false);
    expect(equal(new Map([["k", [value, 1]]]), new Map([["k", [value, 2]]]))).toBe(false);
  })));

  it("does not care for the order of keys, but of items", () => {
    expect(equal({ a: 1, b: 2 }, { b: 2, a: 1 })).toBe(true);
    expect(equal(new Map([["a", 1], ["b", 2]]), new Map([["b", 2], ["a", 1]]))).toBe(true);
    expect(equal(new Set(["a", "b"]), new Set(["b", "a"]))).toBe(true);
    expect(equal(["a", "b"], ["b", "a"])).toBe(false);
  });

  it.each([
    ["a missing field and an undefined one", { a: undefined }, { b: undefined }],
    ["fields and no fields", { a: undefined }, {}],
    ["lists of different length", [1], [1, 2]],
    ["a list and an object", [1], { 0: 1 }],
    ["a map and a set", new Map(), new Set()],
    ["null and an object", null, {}],
    ["a map and a longer one", new Map([["a", 1]]), new Map([["a", 1], ["b", 2]])],
    ["a set and a longer one", new Set(["a"]), new Set(["a", "b"])],
    ["a key that is missing", new Map([["a", 1]]), new Map([["b", 1]])],
    ["objects of a class, which may hide something", new Date(0), new Date(0)],
    ["functions", () => 1, () => 1],
  ])("tells apart %s", (_, a, b) => {
    expect(equal(a, b)).toBe(false);
    expect(equal(b, a)).toBe(false);
  });
});
