/** Isolation and acceptance together: nothing is accepted at a time when nothing separates. */
import { expect, it } from "@jest/globals";
import type { Change } from "../../src/core/plan.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import { firewall, type FirewallChange } from "../../src/sinks/firewall.ts";
import { legacyTablesIn } from "../../src/sinks/iptables.ts";
import { FakeIptables } from "../fakes/iptables.ts";
import { FakeNft } from "../fakes/nft-table.ts";

const signal = new AbortController().signal;
const changes = (op: Change["op"]): readonly FirewallChange[] => [
  { op, key: "chain", why: "test", target: "chain" }, { op, key: "table", why: "test", target: "table", table: { networks: [] } },
];

async function orderOf(op: Change["op"]): Promise<readonly string[]> {
  const order: string[] = [];
  const noting = <O, C extends Change>(name: string, sink: Sink<O, C>): Sink<O, C> => ({
    observe: (abort) => sink.observe(abort),
    apply: (some, abort) => {
      if (some.length > 0) order.push(name);
      return sink.apply(some, abort);
    },
  });
  await firewall(noting("table", new FakeNft().table), noting("chain", new FakeIptables().chain)).apply(changes(op), signal);
  return order;
}

it("the table is written before the chain accepts", async () => expect(await orderOf("create")).toEqual(["table", "chain"]));
it("the chain stops accepting before the table goes", async () => expect(await orderOf("delete")).toEqual(["chain", "table"]));
it("both are observed", async () => {
  expect(await firewall(new FakeNft().table, new FakeIptables().chain).observe(signal)).toEqual({
    table: { networks: [], faults: [] }, chain: { flavours: ["nft"], present: false, faults: ["nft: FNP-FORWARD is missing"] },
  });
});
it("a kernel without iptables-legacy has no tables of it", async () => {
  expect(await legacyTablesIn("/proc/self/is-not-there")()).toBe("");
});
