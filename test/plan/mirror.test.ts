/** Mirror: the leader's grants are in etcd, what it never knew goes only when it cannot matter any more. */
import { describe, expect, it } from "@jest/globals";
import type { Grant } from "../../src/core/addresses.ts";
import { keysBelow } from "../../src/core/names.ts";
import { encodeGrant } from "../../src/core/records.ts";
import { mirrorWith } from "../../src/reconcilers/mirror.ts";
import type { EtcdChange, EtcdTable } from "../../src/sinks/etcd.ts";
import { flannelId, ip, NOW, pool, snapshotOf, type World } from "./builders.ts";
import { applyToEtcd, entry } from "./etcd-model.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const keys = keysBelow("/flannel");
const mirror = mirrorWith(keys);
const grant = (host: number, more: Partial<Grant> = {}): Grant => ({ address: ip(`10.1.0.${host}`), owner: "swarm", grantedAtMs: NOW, ...more });
const keyOf = (host: number, n = 1): string => keys.serviceRange(flannelId(n), ip(`10.1.0.${host}`));
const facility: Facility<EtcdTable, EtcdChange> = {
  empty: new Map([[keyOf(5), entry(encodeGrant(grant(5, { grantedAtMs: 0 })))]]),
  apply: applyToEtcd,
  disturb: (observed, pick) => new Map([...observed].map(([key, is]) => [key, [is, entry("{"), entry(encodeGrant(grant(9)), 7n)][pick(3)] ?? is] as const)),
  reversed: reversedMap,
};
const planOf = (grants: readonly Grant[], observed: EtcdTable = new Map(), world: World = {}) => mirror.plan(mirror.desire({
  ...snapshotOf({ pools: { items: [pool(1)] }, ...world }),
  ownGrants: new Map(grants.map((one) => [`${flannelId(1)}/${one.address}`, one])),
}), observed);
const spelt = (plan: ReturnType<typeof planOf>): readonly string[] => plan.changes.map(({ op, key }) => `${op} ${key.slice(keys.serviceRanges.length)}`);

describe("mirror", () => {
  obeysTheLaws(mirror, facility);

  it("only the leader writes, only service ranges, and takes no young grant of a pool that is there away", () => {
    forAll(casesOf(mirror, facility), ({ world, observed, plan }) => {
      if (world.node?.leader !== true) expect(plan).toEqual({ changes: [], held: [] });
      for (const { op, key } of plan.changes) {
        expect(key.startsWith(keys.serviceRanges)).toBe(true);
        const isThere = world.pools?.items.some((one) => key.startsWith(`${keys.serviceRanges}${one.flannelId}/`)) === true;
        if (op === "delete" && isThere) expect(observed.get(key)?.value).not.toContain(`"grantedAtMs":${NOW}`);
      }
    });
  });

  it("writes what was granted and what rests, and no more once it is there", () => {
    const grants = [grant(2), grant(3, { releasedAtMs: NOW })];
    const plan = planOf(grants);
    expect(spelt(plan)).toEqual(["create flannel-1/10.1.0.2", "create flannel-1/10.1.0.3"]);
    expect(planOf(grants, applyToEtcd(new Map(), plan.changes)).changes).toEqual([]);
  });

  it.each<[string, World]>([["a manager that does not lead", { node: { leader: false } }], ["a worker", { node: { leader: false, role: "worker" } }]])("%s writes and deletes nothing", (_name, world) => {
    expect(planOf([grant(2)], new Map([[keyOf(7), entry("old")]]), world)).toEqual({ changes: [], held: [] });
  });

  it.each<[string, string, boolean]>([
    ["another leader granted just now", encodeGrant(grant(7)), false],
    ["rests since just now", encodeGrant(grant(7, { grantedAtMs: 0, releasedAtMs: NOW })), false],
    ["was granted long ago", encodeGrant(grant(7, { grantedAtMs: NOW - 3_600_000 })), true],
    ["nobody can read", "{", true],
  ])("an entry unknown here that %s", (_name, text, goes) => {
    expect(spelt(planOf([], new Map([[keyOf(7), entry(text)]])))).toEqual(goes ? ["delete flannel-1/10.1.0.7"] : []);
  });

  it("an entry goes with its pool, but not while pools are unlisted", () => {
    const stray = new Map([[keyOf(7, 9), entry(encodeGrant(grant(7)))]]);
    expect(spelt(planOf([], stray))).toEqual(["delete flannel-9/10.1.0.7"]);
    expect(planOf([], stray, { pools: { items: [pool(1)], settled: false } })).toMatchObject({ changes: [], held: [{ op: "delete" }] });
  });
});
