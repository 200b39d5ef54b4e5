/**
 * A VIP per service and network, and nothing left of one that is no more.
 *
 * Must hold: a service on two networks has two; what a service leaves behind, of a network, of its mode or of itself, is gone from
 * every table.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, removeNetwork, until, type Box } from "./bed.ts";
import { inside } from "./reach.ts";
import { removeService } from "./tasks.ts";
import { createService, floodFrom, mentions, untilAnswering, untilForgotten, untilTasks, vipOf, VipStand } from "./vip-bed.ts";

const NET = "vips-a";
const OTHER = "vips-b";
let stand: VipStand;
let lab: Lab;
let clients: readonly Box[];

beforeAll(async () => {
  stand = await VipStand.open(NET);
  ({ lab, clients } = stand);
  await makeNetwork(lab.node("node1"), OTHER);
}, 400_000);

afterAll(async () => {
  await removeService(lab, "vip-two");
  await stand.close();
  await removeNetwork(lab.node("node1"), OTHER);
});

describe("a service on two networks", () => {
  let one: string;
  let two: string;
  const update = (...options: readonly string[]): Promise<string> =>
    must(lab.node("node1"), ["docker", "service", "update", "--detach", "--no-resolve-image", ...options, "vip-two"]);
  /** The VIP there answers from the first client, with the tasks there are by then. */
  async function untilServed(network: string): Promise<string> {
    const address = await vipOf(lab.node("node1"), "vip-two", network);
    const [client] = clients as readonly [Box];
    await until(`the tasks at ${address}`, async () => untilAnswering(inside(client), address, await untilTasks(lab, "vip-two", 2), "http", 3_000));
    return address;
  }

  it("has a VIP on each, and each answers only on its own network", async () => {
    const [client] = clients as readonly [Box];
    await createService(lab.node("node1"), NET, "vip-two", "--network", OTHER, "--replicas", "2", "--stop-grace-period", "1s", "--update-parallelism", "0");
    one = await untilServed(NET);
    two = await vipOf(lab.node("node1"), "vip-two", OTHER);
    expect(one).not.toBe(two);
    expect((await floodFrom(client, "http", two, 3, { timeout: "1s" })).failed).toBe(3);
    expect((await mentions(lab, two)).length).toBeGreaterThan(0);
  });

  it("leaves no trace of the VIP of a network it leaves, and keeps the other", async () => {
    await update("--network-rm", OTHER);
    await untilForgotten(lab, two);
    expect(await untilServed(NET)).toBe(one);
  });

  it("leaves no trace of its VIP in mode dnsrr, and has one that answers when it comes back", async () => {
    await update("--endpoint-mode", "dnsrr");
    await untilForgotten(lab, one);
    await update("--endpoint-mode", "vip", "--network-add", OTHER);
    one = await untilServed(NET);
    two = await vipOf(lab.node("node1"), "vip-two", OTHER);
  });

  it("leaves no trace when it is removed, and answers when it is made again under its name", async () => {
    await removeService(lab, "vip-two");
    for (const address of [one, two]) await untilForgotten(lab, address);
    await createService(lab.node("node1"), NET, "vip-two", "--replicas", "2");
    await untilServed(NET);
  });
});
