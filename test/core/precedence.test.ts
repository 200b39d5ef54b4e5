/** The laws of "Docker > etcd > memory" (ARCHITECTURE.md), over generated views. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { overlay, resolve, unite, unknownView, values, type Authority, type Coverage, type Resolved, type View } from "../../src/core/precedence.ts";

const RANK: readonly Authority[] = ["docker", "etcd", "memory"];
const key = fc.constantFrom<string>("a", "b", "c", "d", "e");
const items = fc.array(fc.tuple(key, fc.integer())).map((entries) => new Map(entries));
const view: fc.Arbitrary<View<number>> = fc.record({ coverage: fc.constantFrom<Coverage>("complete", "partial", "unknown"), items });
const views = fc.record({ docker: view, etcd: view, memory: view });
const resolved: fc.Arbitrary<Resolved<number>> = views.map(resolve);
const none = new Map<string, number>();

const law = (name: string, holds: (all: Readonly<Record<Authority, View<number>>>) => void): void =>
  it(name, () => fc.assert(fc.property(views, holds)));

describe("resolve", () => {
  law("a key Docker knows has Docker's value", (all) => {
    const { facts } = resolve(all);
    for (const [k, value] of all.docker.items) expect(facts.get(k)).toEqual({ value, from: "docker" });
  });

  law("a complete Docker view fixes the key set", (all) => {
    const { facts } = resolve({ ...all, docker: { ...all.docker, coverage: "complete" } });
    expect([...facts.keys()].sort()).toEqual([...all.docker.items.keys()].sort());
  });

  law("settled if and only if some view is complete", (all) => {
    expect(resolve(all).settled).toBe(RANK.some((from) => all[from].coverage === "complete"));
  });

  law("nothing ranks below the first complete view", (all) => {
    const last = RANK.findIndex((from) => all[from].coverage === "complete");
    const heard = last < 0 ? RANK : RANK.slice(0, last + 1);
    const { facts } = resolve(all);
    expect([...facts.keys()].sort()).toEqual([...new Set(heard.flatMap((from) => [...all[from].items.keys()]))].sort());
    for (const [k, fact] of facts) expect(fact.from).toBe(heard.find((from) => all[from].items.has(k)));
  });

  law("losing a source keeps its items and can only add others", (all) => {
    const lost = resolve({ ...all, docker: unknownView(all.docker.items) });
    for (const k of resolve(all).facts.keys()) expect(lost.facts.has(k)).toBe(true);
  });

  law("leaves what it was given alone", (all) => {
    const before = JSON.stringify(RANK.map((from) => [...all[from].items]));
    resolve(all);
    expect(JSON.stringify(RANK.map((from) => [...all[from].items]))).toBe(before);
  });
});

describe("unite", () => {
  it("holds the keys of both, the first one's values, and is settled only if both are", () => {
    fc.assert(fc.property(resolved, resolved, (a, b) => {
      const both = unite(a, b);
      expect([...both.facts.keys()].sort()).toEqual([...new Set([...a.facts.keys(), ...b.facts.keys()])].sort());
      for (const [k, fact] of a.facts) expect(both.facts.get(k)).toBe(fact);
      expect(both.settled).toBe(a.settled && b.settled);
    }));
  });
});

describe("overlay", () => {
  it("adds what has begun, takes away what has ended, and settles nothing", () => {
    fc.assert(fc.property(resolved, items, fc.array(key), (before, begun, gone) => {
      const ended = new Set(gone);
      const after = overlay(before, begun, ended);
      expect(after.settled).toBe(before.settled);
      for (const k of ended) expect(after.facts.has(k)).toBe(false);
      for (const [k, value] of begun) if (!ended.has(k)) expect(after.facts.get(k)).toEqual({ value, from: "memory" });
      for (const [k, fact] of before.facts) if (!ended.has(k) && !begun.has(k)) expect(after.facts.get(k)).toBe(fact);
    }));
  });

  it("of nothing changes nothing", () => fc.assert(fc.property(resolved, (before) => expect(overlay(before, none, new Set())).toEqual(before))));
});

it("values are the facts without their authors", () => {
  const { docker, etcd, memory } = { docker: unknownView(new Map([["a", 1]])), etcd: unknownView(new Map([["a", 2], ["b", 3]])), memory: unknownView<number>() };
  expect(values(resolve({ docker, etcd, memory }))).toEqual([1, 3]);
});
