/** Which address comes next, and when a used one may come again. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { GRANT_GRACE_MS, isTaken, nextAddress, recycle, REST_MS, START_GRACE_MS, sweep, type Grant } from "../../src/core/addresses.ts";
import { contains, nth, sizeOf, type Ipv4 } from "../../src/core/ids.ts";
import { cidr, ip } from "../plan/builders.ts";

const RANGE = cidr("10.1.4.0/28");
const EDGES = { first: 2, spare: 1 };
const A = ip("10.1.4.5");
const grant = (more: Partial<Grant> = {}): Grant => ({ address: A, owner: "02:42:00:00:00:01", grantedAtMs: 0, ...more });
const only = (more: Partial<Grant> = {}): ReadonlyMap<string, Grant> => new Map([[A, grant(more)]]);

describe("the next address", () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 0, max: 15 }));
  it("is in the range, off its edges, free – and found whenever one is free", () => {
    fc.assert(fc.property(numbers, fc.option(fc.integer({ min: -20, max: 40 }), { nil: undefined }), (busy, last) => {
      const taken = new Set(busy.map((n) => nth(RANGE, n)));
      const found = nextAddress(RANGE, EDGES, last === undefined ? undefined : nth(RANGE, last), (address) => taken.has(address));
      const free = Array.from({ length: 13 }, (_, n) => nth(RANGE, n + 2)).filter((address) => !taken.has(address));
      if (found === undefined) expect(free).toEqual([]);
      else expect(free).toContain(found);
    }));
  });

  it("goes round: no address comes again before all others came", () => {
    const seen: Ipv4[] = [];
    for (let n = 0; n < 26; n++) seen.push(nextAddress(RANGE, EDGES, seen.at(-1), () => false) ?? ip("0.0.0.0"));
    expect(new Set(seen.slice(0, 13)).size).toBe(13);
    expect(seen.slice(13)).toEqual(seen.slice(0, 13));
    expect(seen.every((address) => contains(RANGE, address) && address !== nth(RANGE, 0) && address !== nth(RANGE, 1) && address !== nth(RANGE, sizeOf(RANGE) - 1))).toBe(true);
  });

  it.each(["10.1.4.0/30", "10.1.4.0/31", "10.1.4.0/32"])("of %s is one or none", (range) => {
    expect(nextAddress(cidr(range), EDGES, undefined, () => false)).toBe(range.endsWith("30") ? "10.1.4.2" : undefined);
  });
});

describe("a grant", () => {
  it.each<[string, Grant | undefined, number, boolean]>([
    ["none", undefined, 0, false], ["in use", grant(), 1e12, true],
    ["resting", grant({ releasedAtMs: 1000 }), 1000 + REST_MS - 1, true], ["rested", grant({ releasedAtMs: 1000 }), 1000 + REST_MS, false],
    ["released by a clock that went back since", grant({ releasedAtMs: 5000 }), 1000, true],
  ])("%s", (_name, one, nowMs, expected) => expect(isTaken(one, nowMs)).toBe(expected));
});

describe("the service range is recycled", () => {
  const listed = (...vips: string[]): ReadonlySet<string> => new Set(vips);
  it.each<[string, Partial<Grant>, ReadonlySet<string>, number, Partial<Grant> | undefined]>([
    ["a VIP stays", {}, listed(A), 1e9, {}],
    ["a VIP that was given up for lost comes back to life", { releasedAtMs: 5 }, listed(A), 1e9, {}],
    ["the gateway stays", { owner: "gateway" }, listed(), 1e9, { owner: "gateway" }],
    ["a young grant stays: the allocator may ask again", {}, listed(), GRANT_GRACE_MS, {}],
    ["an old one without VIP begins to rest", {}, listed(), GRANT_GRACE_MS + 1, { releasedAtMs: GRANT_GRACE_MS + 1 }],
    ["a resting one rests on", { releasedAtMs: 1000 }, listed(), 1000 + REST_MS - 1, { releasedAtMs: 1000 }],
    ["a rested one is free", { releasedAtMs: 1000 }, listed(), 1000 + REST_MS, undefined],
  ])("%s", (_name, was, vips, nowMs, expected) => {
    expect([...recycle(only(was), vips, nowMs).values()]).toEqual(expected === undefined ? [] : [grant(expected)]);
  });
});

describe("a node's subnet is swept", () => {
  const used = new Set<string>([A]);
  const nobody = new Set<string>();
  it.each<[string, Partial<Grant>, ReadonlySet<string>, boolean, number, Partial<Grant> | undefined]>([
    ["a container's address stays", {}, used, true, 1e9, {}],
    ["a starting container's address stays", {}, nobody, true, START_GRACE_MS, {}],
    ["one that Docker forgot to release begins to rest", {}, nobody, true, START_GRACE_MS + 1, { releasedAtMs: START_GRACE_MS + 1 }],
    ["but not before Docker has listed", {}, nobody, false, 1e9, {}],
    ["a resting one rests on, listed or not", { releasedAtMs: 1000 }, nobody, false, 1000 + REST_MS - 1, { releasedAtMs: 1000 }],
    ["a rested one is free", { releasedAtMs: 1000 }, nobody, false, 1000 + REST_MS, undefined],
  ])("%s", (_name, was, busy, complete, nowMs, expected) => {
    expect([...sweep(only(was), busy, complete, nowMs).values()]).toEqual(expected === undefined ? [] : [grant(expected)]);
  });
});
