/** What the state file brings back: whose leases were kept when the node's address has changed since. */
import { expect, it } from "@jest/globals";
import type { Ipv4 } from "../../src/core/ids.ts";
import { keysBelow } from "../../src/core/names.ts";
import { keep, leasesKept, recall } from "../../src/sources/kept.ts";
import { lease, MY_IP, publicIp, snapshotOf } from "../plan/builders.ts";

const keys = keysBelow("/flannel");
const kept = recall(JSON.parse(JSON.stringify(keep(snapshotOf({ subnets: { items: [lease(1, 1), lease(1, 2)] } }), {}, keys))), keys, () => undefined);
const holders = (now: Ipv4 | undefined): readonly Ipv4[] =>
  [...leasesKept(kept.views.subnets, kept.publicIp, now).items.values()].map((one) => one.publicIp).sort();

it("comes back with the address that the node had", () => { expect(kept.publicIp).toBe(MY_IP); });

it.each<[string, Ipv4 | undefined, readonly Ipv4[]]>([
  ["the same as before: all leases, its own among them", MY_IP, [MY_IP, publicIp(2)]],
  ["another node's: that node's lease is not taken for its own", publicIp(2), [MY_IP]],
  ["not known yet: all leases", undefined, [MY_IP, publicIp(2)]],
])("an address that is %s", (_name, now, expected) => { expect(holders(now)).toEqual([...expected].sort()); });

it("a file that names no address keeps all", () => {
  expect(leasesKept(kept.views.subnets, undefined, publicIp(2))).toBe(kept.views.subnets);
});
