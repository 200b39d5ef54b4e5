/**
 * A seeded random sequence of deaths, freezes and partitions; after every step a check against a model from outside.
 *
 * In:  FNP_CHAOS_SEED reproduces a sequence; FNP_TEST_FULL=1 makes it long.
 * Must hold after every step: packets flow both ways; Docker's listing, the kernel and etcd say the same; nothing is left to do.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { seeded } from "../fakes/faulty.ts";
import { ACTIONS } from "./chaos-actions.ts";
import { addressOf, etcdKeys, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { untilConverged, untilModelHolds } from "./flow.ts";
import { untilNothingIsLeft } from "./traces.ts";

const NETWORK = "chaos";
const FULL = process.env["FNP_TEST_FULL"] === "1";
const STEPS = FULL ? 60 : Object.keys(ACTIONS).length;
/** The short run repeats one sequence, so that a failure is a change of ours; the long one looks for new ones. */
const SEED = Number(process.env["FNP_CHAOS_SEED"] ?? (FULL ? Math.trunc(Math.random() * 2 ** 31) : 7));
const SETTLE_MS = 180_000;
const LONG_MS = (STEPS + 2) * 240_000;

let lab: Lab;
let nodes: readonly Node[];
let boxes: readonly Box[] = [];
const random = seeded(SEED);
const upTo = (most: number): number => Math.floor(random() * most);

beforeAll(async () => {
  process.stdout.write(`   chaos: ${STEPS} steps, FNP_CHAOS_SEED=${SEED}${FULL ? "" : "; 60 steps with FNP_TEST_FULL=1"}\n`);
  process.stdout.write("   chaos: no clock jump, because the nodes share this machine's clock (96 has one); no leader move, because engine 28 does not join through 20.10 (79 has them)\n");
  lab = await openedLab();
  nodes = lab.nodes;
  await makeNetwork(lab.node("node1"), NETWORK);
  for (const node of nodes) boxes = [...boxes, await runBox(node, NETWORK, `chaos-${node.name}`, "--restart", "always")];
}, 300_000);

afterAll(async () => {
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(lab.node("node1"), NETWORK);
  await untilNothingIsLeft(lab);
}, 300_000);

/** Docker, kernel and etcd agree, and packets flow. */
async function expectWhole(): Promise<void> {
  await Promise.all(nodes.map((node) => untilConverged(node, SETTLE_MS)));
  await until("the containers to run", async () => {
    const states = await Promise.all(boxes.map(({ node, name }) => must(node, ["docker", "inspect", "-f", "{{.State.Running}}", name])));
    return states.every((state) => state === "true");
  }, SETTLE_MS);
  await untilModelHolds(nodes, NETWORK, SETTLE_MS);
  boxes = await Promise.all(boxes.map(async (box) => ({ ...box, address: await addressOf(box.node, box.name, NETWORK) })));
  await until("etcd to show these containers alone", async () => {
    const shown = [...await etcdKeys(lab)].filter(([key]) => /^\/flannel\/nodes\/[^/]+\/containers\//.test(key)).map(([, value]) => value);
    if (shown.length !== boxes.length || !boxes.every(({ address }) => shown.some((value) => value.includes(`"${address}"`)))) throw new Error(shown.join(" "));
    return true;
  }, SETTLE_MS);
  for (const [from, to] of [[boxes[0], boxes[1]], [boxes[1], boxes[0]]]) {
    if (from !== undefined && to !== undefined) await until(`pings from ${from.name}`, () => pings(from, to.address), SETTLE_MS);
  }
}

describe("chaos", () => {
  it("everything is whole again after every step", async () => {
    await expectWhole();
    // Every one of them before any comes again.
    let left: string[] = [];
    for (let step = 1; step <= STEPS; step += 1) {
      if (left.length === 0) left = Object.keys(ACTIONS);
      const [name = ""] = left.splice(upTo(left.length), 1);
      const at = upTo(nodes.length);
      const [node, other, box] = [nodes[at], nodes[1 - at], boxes[at]];
      const milliseconds = 1_000 + upTo(FULL ? 19_000 : 9_000);
      if (node === undefined || other === undefined || box === undefined) throw new Error("Cannot make chaos: the lab has not two nodes");
      process.stdout.write(`   ${step}: ${name} on ${node.name}, ${milliseconds} ms\n`);
      await ACTIONS[name]?.({ lab, node, other, box, network: NETWORK, milliseconds });
      await expectWhole().catch((error: unknown) => { throw new Error(`Cannot recover from step ${step} (${name} on ${node.name}) of FNP_CHAOS_SEED=${SEED}: ${String(error)}`); });
    }
    expect(nodes).toHaveLength(2);
  }, LONG_MS);
});
