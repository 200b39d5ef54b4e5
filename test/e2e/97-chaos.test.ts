/**
 * A seeded random sequence of deaths, freezes and partitions; after every step a check against a model from outside.
 *
 * In:  FNP_CHAOS_SEED reproduces a sequence; FNP_TEST_FULL=1 makes it long.
 * Must hold after every step: packets flow both ways; Docker's listing, the kernel and etcd say the same; nothing is left to do.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { run } from "../../lab/run.ts";
import { seeded } from "../fakes/faulty.ts";
import { addressOf, etcdKeys, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { untilConverged, untilModelHolds } from "./flow.ts";
import { untilNothingIsLeft } from "./traces.ts";

const NETWORK = "chaos";
const FULL = process.env["FNP_TEST_FULL"] === "1";
const STEPS = FULL ? 60 : 7;
/** The short run repeats one sequence, so that a failure is a change of ours; the long one looks for new ones. */
const SEED = Number(process.env["FNP_CHAOS_SEED"] ?? (FULL ? Math.trunc(Math.random() * 2 ** 31) : 7));
/** Docker leaves a plugin that dies within 3 s of its start disabled for good, whoever wrote it: only grown ones are killed. */
const GROWN_S = 6;
const SETTLE_MS = 180_000;
const LONG_MS = (STEPS + 2) * 240_000;

let lab: Lab;
let nodes: readonly Node[];
let boxes: readonly Box[] = [];
const random = seeded(SEED);
const upTo = (most: number): number => Math.floor(random() * most);
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

beforeAll(async () => {
  process.stdout.write(`   chaos: ${STEPS} steps, FNP_CHAOS_SEED=${SEED}${FULL ? "" : "; 60 steps with FNP_TEST_FULL=1"}\n`);
  process.stdout.write("   chaos: no clock jump, because the nodes share this machine's clock; no full disk, lost driver call or leader move\n");
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

async function grownPlugin(node: Node): Promise<number> {
  return until(`a plugin that Docker has accepted on ${node.name}`, async () => {
    const pid = await node.pluginPid();
    return pid !== undefined && Number((await run("ps", ["-o", "etimes=", "-p", String(pid)])).stdout) > GROWN_S && pid;
  });
}

async function frozen(pid: number, milliseconds: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  try { await pause(milliseconds); } finally { process.kill(pid, "SIGCONT"); }
}

/** What is sent from one namespace to an address is lost without a word for a while. */
async function parted(netns: string, address: string, milliseconds: number): Promise<void> {
  const route = (verb: string): Promise<unknown> => run("nsenter", [`--net=${netns}`, "ip", "route", verb, "blackhole", `${address}/32`]);
  await route("add");
  try { await pause(milliseconds); } finally { await route("del"); }
}

const ACTIONS: Readonly<Record<string, (node: Node, other: Node, milliseconds: number) => Promise<unknown>>> = {
  "kill plugin": async (node) => process.kill(await grownPlugin(node), "SIGKILL"),
  "freeze plugin": async (node, _other, milliseconds) => frozen(await grownPlugin(node), milliseconds),
  "kill dockerd": async (node, _other, milliseconds) => { await node.killDockerd("SIGKILL"); await pause(milliseconds); await node.startDockerd(); },
  "kill etcd": async (_node, _other, milliseconds) => { await lab.etcd.kill(); await pause(milliseconds); await lab.etcd.start(); },
  "freeze etcd": async (_node, _other, milliseconds) => { await lab.etcd.pause(); await pause(milliseconds); await lab.etcd.resume(); },
  "kill flanneld": (node) => must(node, ["sh", "-c", "kill -9 $(pgrep -x flanneld)"]),
  "freeze flanneld": (node, _other, milliseconds) => must(node, ["sh", "-c", `pids=$(pgrep -x flanneld); kill -STOP $pids; sleep ${milliseconds / 1000}; kill -CONT $pids || true`]),
  "part node and etcd": (node, _other, milliseconds) => parted(lab.etcd.netns, node.address, milliseconds),
  "part nodes": (node, other, milliseconds) => parted(node.netns, other.address, milliseconds),
  "start and kill a container": async (node) => removeBox(await runBox(node, NETWORK, "chaos-guest")),
};

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
    const names = Object.keys(ACTIONS);
    for (let step = 1; step <= STEPS; step += 1) {
      const name = names[upTo(names.length)] ?? "kill plugin";
      const at = upTo(nodes.length);
      const [node, other] = [nodes[at], nodes[1 - at]];
      const milliseconds = 1_000 + upTo(FULL ? 19_000 : 9_000);
      if (node === undefined || other === undefined) throw new Error("Cannot make chaos: the lab has not two nodes");
      process.stdout.write(`   ${step}: ${name} on ${node.name}, ${milliseconds} ms\n`);
      await ACTIONS[name]?.(node, other, milliseconds);
      await expectWhole().catch((error: unknown) => { throw new Error(`Cannot recover from step ${step} (${name} on ${node.name}) of FNP_CHAOS_SEED=${SEED}: ${String(error)}`); });
    }
    expect(nodes).toHaveLength(2);
  }, LONG_MS);
});
