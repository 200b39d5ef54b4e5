/**
 * dockerd killed and started, the plugin disabled by force and enabled, removed and created again.
 *
 * Must hold: containers keep talking wherever Docker keeps them running; every link, address and flanneld is adopted or cleanly
 * rebuilt; no address is handed out twice. A dockerd that starts after kill -9 ends its containers itself (protocol §2.7):
 * swarm starts their tasks again.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { basename, dirname } from "node:path";
import type { Lab } from "../../lab/lab.ts";
import { ensurePlugin, pluginBuild } from "../../lab/plugin.ts";
import { DRIVER, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { flow, ledger, links, newcomer, untilConverged, untilModelHolds } from "./flow.ts";
import { removeService, runGlobalService } from "./tasks.ts";
import { untilNothingIsLeft } from "./traces.ts";

const NETWORK = "deaths";
const SERVICE = "mortal";
const SLOW_MS = 240_000;

let lab: Lab;
const boxes = new Map<string, Box>();

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), NETWORK);
  for (const node of lab.nodes) boxes.set(node.name, await runBox(node, NETWORK, `deaths-${node.name}`, "--restart", "always"));
  await runGlobalService(lab, NETWORK, SERVICE);
}, SLOW_MS);

afterAll(async () => {
  await removeService(lab, SERVICE);
  await Promise.all([...boxes.values()].map(removeBox));
  await removeNetwork(lab.node("node1"), NETWORK);
  await untilNothingIsLeft(lab);
}, SLOW_MS);

const boxOn = (name: string): Box => {
  const box = boxes.get(name);
  if (box === undefined) throw new Error(`Cannot find the container of ${name}: it was never made`);
  return box;
};

/** A container started now gets an address nobody has, and reaches the other node. */
async function expectNewcomer(node: Node, other: string): Promise<void> {
  const { address, held, reaches } = await newcomer(lab.nodes, NETWORK, node, boxOn(other));
  expect(held).not.toContain(address);
  expect(reaches).toBe(true);
}

describe.each([["node1", "node2"], ["node2", "node1"]])("on %s", (name, other) => {
  it("the plugin disabled by force and enabled: no ping lost, every link adopted", async () => {
    const node = lab.node(name);
    const before = await links(node);
    const { sent, received } = await flow(boxOn(other), boxOn(name).address, async () => {
      await must(node, ["docker", "plugin", "disable", "-f", DRIVER]);
      expect(await links(node)).toBe(before);
      await must(node, ["docker", "plugin", "enable", DRIVER]);
      await untilConverged(node);
    });
    expect(sent).toBeGreaterThanOrEqual(100);
    expect({ lost: sent - received }).toEqual({ lost: 0 });
    expect(await links(node)).toBe(before);
    await expectNewcomer(node, other);
  }, SLOW_MS);

  it("the plugin removed and created again: no ping lost, every link adopted", async () => {
    const node = lab.node(name);
    const before = await links(node);
    const { plugin } = node.record;
    if (plugin === null) throw new Error(`Cannot create the plugin on ${name} again: its record has none`);
    const { sent, received } = await flow(boxOn(other), boxOn(name).address, async () => {
      await must(node, ["docker", "plugin", "disable", "-f", DRIVER]);
      await must(node, ["docker", "plugin", "rm", "-f", DRIVER]);
      expect(await ensurePlugin(node, lab.id, basename(dirname(node.record.rootfs)), plugin, await pluginBuild())).toBe(true);
      await untilConverged(node);
    });
    expect({ lost: sent - received }).toEqual({ lost: 0 });
    expect(await links(node)).toBe(before);
    await expectNewcomer(node, other);
  }, SLOW_MS);

  it("dockerd killed: no ping lost until it starts, then all is rebuilt without remains", async () => {
    const node = lab.node(name);
    const { sent, received } = await flow(boxOn(other), boxOn(name).address, async () => {
      await node.killDockerd("SIGKILL");
      // The plugin's process lives on and must not take the silence of Docker's API for emptiness: two resyncs long.
      await new Promise((resolve) => { setTimeout(resolve, 9_000); });
    });
    expect(sent).toBeGreaterThanOrEqual(400);
    expect({ lost: sent - received }).toEqual({ lost: 0 });
    await node.startDockerd();
    await until(`the containers of ${name}`, async () => (await must(node, ["docker", "ps", "-q", "--filter", `network=${NETWORK}`])).split("\n").length === 2);
    await untilConverged(node);
    await untilModelHolds(lab.nodes, NETWORK);
    boxes.set(name, { ...boxOn(name), address: await must(node, ["docker", "inspect", "-f", `{{(index .NetworkSettings.Networks "${NETWORK}").IPAddress}}`, boxOn(name).name]) });
    await until("pings across", () => pings(boxOn(other), boxOn(name).address));
    expect(await pings(boxOn(name), boxOn(other).address)).toBe(true);
    // The addresses of the life before stay reserved for two minutes: nobody may get one before Docker's listing is sure.
    expect(await ledger(node)).toEqual(expect.arrayContaining([boxOn(name).address]));
    await expectNewcomer(node, other);
  }, SLOW_MS);
});
