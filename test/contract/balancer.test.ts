/** The balancer on this kernel: the contract of both engines with nftables, tables and packets. */
import { expect, test } from "@jest/globals";
import { fakeBalancer } from "../fakes/balancer.ts";
import { balancerWorld } from "./balancer-bed.ts";
import { B1, B2, OTHER, PAIR, put, server, service, tableCases, VIP } from "./balancer-cases.ts";
import { DAMAGES } from "./balancer-damage.ts";
import { PACKETS } from "./balancer-packets.ts";
import { contract } from "./suite.ts";

contract("balancer nftables", { fake: () => fakeBalancer("nftables"), kernel: () => balancerWorld({ engine: "nftables" }) }, {
  ...tableCases("nftables", Object.keys(DAMAGES.nftables)), ...PACKETS,
});

/** Three standard deviations are 2·10⁻³ of all runs; five are less than 10⁻⁶. */
const SIGMAS = 5;

test("services that share a chain are each spread at random, evenly", async () => {
  const world = await balancerWorld({ engine: "nftables", ownChains: 0 });
  try {
    const packets = await world.packets();
    await put(world, ...PAIR, service(OTHER), server(OTHER, B1), server(OTHER, B2));
    const count = 400;
    for (const { by, refused, silent } of await packets.ask("client", "tcp", [VIP, OTHER], count)) {
      expect([refused, silent]).toEqual([0, 0]);
      expect(Math.abs((by["b1"] ?? 0) - count / 2)).toBeLessThan((SIGMAS * Math.sqrt(count)) / 2);
    }
  } finally {
    await world.close();
  }
}, 60_000);
