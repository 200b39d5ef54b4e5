/**
 * A node that cannot reach etcd, and two nodes that cannot reach each other: silence, no refusal, as a broken switch makes it.
 *
 * Must hold: nothing is deleted anywhere, what is connected goes on talking, all is converged after it heals (goal 5 s).
 * Cut for 60 s: longer than the node's lease (10 s) and swarm's heartbeat.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { run } from "../../lab/run.ts";
import { etcdKeys, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { flow, links, untilConverged, untilModelHolds } from "./flow.ts";
import { nodeTraces, untilNothingIsLeft } from "./traces.ts";

const NETWORK = "parted";
const CUT_MS = 60_000;
/** Twenty times the goal. */
const HEAL_MS = 100_000;
const SLOW_MS = 300_000;

let lab: Lab;
let nodes: readonly [Node, Node];
let boxes: readonly [Box, Box];
const cuts: { readonly netns: string; readonly address: string }[] = [];

beforeAll(async () => {
  lab = await openedLab();
  nodes = [lab.node("node1"), lab.node("node2")];
  await makeNetwork(nodes[0], NETWORK);
  boxes = [await runBox(nodes[0], NETWORK, "parted-node1"), await runBox(nodes[1], NETWORK, "parted-node2")];
  await until("pings across", () => pings(boxes[0], boxes[1].address));
}, SLOW_MS);

afterEach(heal);
afterAll(async () => {
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(nodes[0], NETWORK);
  await untilNothingIsLeft(lab);
}, SLOW_MS);

/** What this namespace sends to an address is lost without a word. */
async function cut(netns: string, address: string): Promise<void> {
  const { exitCode, stderr } = await run("nsenter", [`--net=${netns}`, "ip", "route", "add", "blackhole", `${address}/32`]);
  if (exitCode !== 0) throw new Error(stderr);
  cuts.push({ netns, address });
}

async function heal(): Promise<void> {
  for (const { netns, address } of cuts.splice(0)) await run("nsenter", [`--net=${netns}`, "ip", "route", "del", "blackhole", `${address}/32`]);
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
/** Everything of ours in the kernel, and the rows of the other node. */
const standing = async (node: Node): Promise<string> =>
  [await links(node), ...await nodeTraces(node), await must(node, ["sh", "-c", "bridge fdb show | grep 'dev flannel' | sort; ip neigh show nud permanent | sort"])].join("\n");

describe("a node that cannot reach etcd", () => {
  it("keeps all it has, starts containers of known networks, and is in everybody's view again afterwards", async () => {
    const [here, there] = nodes;
    const before = await Promise.all(nodes.map(standing));
    const own = [...(await etcdKeys(lab)).keys()].filter((key) => key.startsWith("/flannel/nodes/")).sort();
    let late: Box | undefined;
    const { sent, received } = await flow(boxes[0], boxes[1].address, async () => {
      await cut(lab.etcd.netns, there.address);
      // A node that an earlier suite took away may still wait in maintenance.
      const speaking = async (): Promise<number> => [...await etcdKeys(lab)].filter(([key, value]) => /^\/flannel\/nodes\/[^/]+$/.test(key) && !value.includes('"maintenance":true')).length;
      await until("its lease to end", async () => await speaking() === 1);
      expect(await Promise.all(nodes.map(standing))).toEqual(before);
      late = await runBox(there, NETWORK, "late");
      expect(await pings(late, boxes[0].address)).toBe(true);
      await removeBox(late);
      await pause(CUT_MS);
    });
    expect({ lost: sent - received }).toEqual({ lost: 0 });
    expect(await standing(here)).toBe(before[0]);
    await heal();
    await untilConverged(there, HEAL_MS);
    await until("its facts in etcd", async () => {
      const now = [...(await etcdKeys(lab)).keys()].filter((key) => key.startsWith("/flannel/nodes/")).sort();
      if (now.join() !== own.join()) throw new Error(now.join());
      return true;
    }, HEAL_MS);
    expect(await Promise.all(nodes.map(standing))).toEqual(before);
    await untilModelHolds(nodes, NETWORK);
  }, SLOW_MS);
});

describe("two nodes that cannot reach each other", () => {
  it("delete nothing, and talk again when they can", async () => {
    const [here, there] = nodes;
    const before = await Promise.all(nodes.map(standing));
    await cut(here.netns, there.address);
    await cut(there.netns, here.address);
    expect((await boxes[0].node.exec(["docker", "exec", boxes[0].name, "ping", "-q", "-c", "2", "-W", "1", boxes[1].address])).exitCode).not.toBe(0);
    await pause(CUT_MS);
    expect(await Promise.all(nodes.map(standing))).toEqual(before);
    await heal();
    await until("pings across", () => pings(boxes[0], boxes[1].address), HEAL_MS);
    await until("swarm to see both", async () => (await must(here, ["docker", "node", "ls", "--format", "{{.Status}}"])).split("\n").every((state) => state === "Ready"));
    await Promise.all(nodes.map((node) => untilConverged(node, HEAL_MS)));
    expect(await Promise.all(nodes.map(standing))).toEqual(before);
    await untilModelHolds(nodes, NETWORK);
  }, SLOW_MS);
});
