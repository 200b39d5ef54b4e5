/** Refused networks find their names by the time they were made, and are forgotten with them. */
import { describe, expect, it } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import type { NetworkId } from "../../src/core/ids.ts";
import { Refusals, type WaitingNetwork } from "../../src/core/refusals.ts";

const no = (reason: string): OperatorError => new OperatorError("invalid", `Cannot use it: ${reason}`, { cure: "Do better" });
const waiting = (name: string, createdAtMs: number): WaitingNetwork => ({ id: `id-${name}` as NetworkId, name, createdAtMs });
const clock = (): { now: number; refusals: Refusals } => {
  const time = { now: 0 };
  return Object.assign(time, { refusals: new Refusals(() => time.now) });
};
const whats = (refusals: Refusals): readonly string[] => refusals.problems().map(({ what }) => what);

describe("a refused network", () => {
  it("is the last one made before, whatever else waits", () => {
    const held = clock();
    for (const [at, asked] of [[100, "a"], [200, "b"]] as const) {
      held.now = at + 5;
      held.refusals.refused({ asked, by: "network", what: `a network of ${asked}`, error: no(asked) });
    }
    expect(whats(held.refusals)).toEqual(["a network of a", "a network of b"]);
    const networks = [waiting("old", -60_000), waiting("two", 200), waiting("one", 100), waiting("next", 300)];
    expect(held.refusals.listed(networks).map(({ network, error }) => [network, error.message])).toEqual([["id-one", "Cannot use it: a"], ["id-two", "Cannot use it: b"]]);
    expect(held.refusals.listed(networks)).toEqual([]);
    expect(held.refusals.problems()[0]).toEqual({ what: "network one", reason: "Cannot use it: a", cure: "Do better. Then remove this one: docker network rm one" });
  });

  it("keeps its name from a repetition of another that comes just before it", () => {
    const held = clock();
    const refused = (asked: string, at: number): void => {
      held.now = at;
      held.refusals.refused({ asked, by: "network", what: `a network of ${asked}`, error: no(asked) });
    };
    refused("a", 105);
    expect(held.refusals.listed([waiting("one", 100)])).toHaveLength(1);
    refused("a", 205);
    refused("b", 206);
    expect(held.refusals.listed([waiting("one", 100), waiting("two", 200)]).map(({ network, error }) => [network, error.message])).toEqual([["id-two", "Cannot use it: b"]]);
  });

  it("waits for the next list when this one was asked for before", () => {
    const held = clock();
    held.now = 105;
    held.refusals.refused({ asked: "a", by: "network", what: "a network of a", error: no("a") });
    expect(held.refusals.listed([], 99)).toEqual([]);
    expect(held.refusals.listed([waiting("one", 100)], 106).map(({ network }) => network)).toEqual(["id-one"]);
  });

  it("goes when Docker has it no more, or when it is granted; a repetition changes its reason, not its name", () => {
    const held = clock();
    held.refusals.refused({ asked: "a", by: "network", what: "a", error: no("first") });
    held.refusals.listed([waiting("one", 0)]);
    held.refusals.refused({ asked: "a", by: "network", what: "a", error: no("second") });
    held.refusals.listed([waiting("one", 0), waiting("other", 1)]);
    expect(held.refusals.problems()).toEqual([expect.objectContaining({ what: "network one", reason: "Cannot use it: second" })]);
    held.refusals.listed([waiting("other", 1)]);
    expect(held.refusals.isEmpty).toBe(true);
    held.refusals.refused({ asked: "b", by: "network", what: "b", error: no("b") });
    held.refusals.granted("b");
    expect(held.refusals.isEmpty).toBe(true);
  });

  it("is known at once where Docker names it, and stays nameless while none can be told", () => {
    const held = clock();
    held.refusals.refused({ asked: "a", by: "network", what: "network id-one", error: no("a"), network: "id-one" as NetworkId });
    held.refusals.refused({ asked: "b", by: "network", what: "a network", error: no("b") });
    expect(held.refusals.listed([waiting("one", 0), waiting("far", -60_000)])).toEqual([]);
    expect(whats(held.refusals)).toEqual(["network one", "a network"]);
    held.refusals.listed([waiting("one", 0)]);
    expect(whats(held.refusals)).toEqual(["network one"]);
  });
});

describe("a refused container", () => {
  it("is shown half a minute, and takes no network's name", () => {
    const held = clock();
    held.refusals.refused({ asked: "c", by: "container", what: "an address", error: no("c") });
    expect(held.refusals.listed([waiting("one", 0)])).toEqual([]);
    held.now = 30_001;
    held.refusals.listed([]);
    expect(held.refusals.isEmpty).toBe(true);
  });
});

it("no flood of refusals fills the memory", () => {
  const { refusals } = clock();
  for (let n = 0; n < 1_000; n += 1) refusals.refused({ asked: String(n), by: "network", what: "a network", error: no("n") });
  expect(refusals.problems()).toHaveLength(100);
});
