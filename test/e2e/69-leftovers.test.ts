/**
 * Between the suites that use networks and those that kill engines and nodes: both kernels are, byte for byte, what they were.
 *
 * Must hold: links, addresses, routes, rules, iptables, nft, ipset and sysctls, without what carries our prefix. Needs the
 * pictures that setup.ts takes.
 */
import { expect, it } from "@jest/globals";
import { openedLab } from "./bed.ts";
import { pictures } from "./pictures.ts";
import { untilNothingIsLeft } from "./traces.ts";

it("nothing of ours is left on any node and in etcd", async () => { await untilNothingIsLeft(await openedLab()); });

it.each(["node1", "node2"])("the kernel of %s is byte for byte what it was before the first suite", async (name) => {
  const { before, after } = await pictures((await openedLab()).node(name), (text) => text);
  expect(after).toBe(before);
});
