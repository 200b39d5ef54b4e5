/** The words of iptables-save, as recorded, and the transaction we write for iptables-restore. */
import { expect, it, test } from "@jest/globals";
import { observedChain, parseFilterTable, renderChain, renderRemoval } from "../../src/sinks/iptables/chain.ts";
import { recordings } from "./recordings.ts";

test.each(recordings("iptables", "nft-save.txt"))("%s, nft: our chain is right", (_version, text) => {
  expect(observedChain(new Map([["nft", parseFilterTable(text)]]))).toEqual({ flavours: ["nft"], present: true, faults: [] });
});

test.each(recordings("iptables", "legacy-save.txt"))("%s, legacy: Docker's chain is there, ours is not", (_version, text) => {
  expect(observedChain(new Map([["nft", parseFilterTable("")], ["legacy", parseFilterTable(text)]]))).toEqual({
    flavours: ["legacy"], present: false, faults: ["legacy: FNP-FORWARD is missing"],
  });
});

it("chain and jump are written in one transaction; the jump follows DOCKER-USER's", () => {
  const table = parseFilterTable(":FNP-FORWARD - [0:0]\n-A FORWARD -j FNP-FORWARD\n-A FORWARD -i docker0 -j ACCEPT\n-A FORWARD -j DOCKER-USER\n");
  expect(renderChain(table)).toBe(`*filter
:FNP-FORWARD - [0:0]
-A FNP-FORWARD -i fnp+ -o fnp+ -j ACCEPT
-A FNP-FORWARD -i fnp+ -o flannel.+ -j ACCEPT
-A FNP-FORWARD -i flannel.+ -o fnp+ -j ACCEPT
-D FORWARD -j FNP-FORWARD
-I FORWARD 3 -j FNP-FORWARD
COMMIT
`);
});

it("nothing of ours, nothing to take away", () => expect(renderRemoval(parseFilterTable(":FORWARD ACCEPT [0:0]\n"))).toBeUndefined());
it("garbage is an empty table", () => expect(parseFilterTable("what\n-A\n:\n")).toEqual({ chains: new Set(), rules: new Map() }));
