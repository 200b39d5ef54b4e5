/**
 * Every node loses its power at once and etcd starts last: the file on each disk holds what cross-node traffic needs (design D21).
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { addressOf, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { status, statusShows } from "./refusal-bed.ts";
import { untilNothingIsLeft } from "./traces.ts";

const NETWORK = "reboot";
const LONG_MS = 300_000;

let lab: Lab;
let boxes: readonly Box[] = [];

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), NETWORK);
  boxes = [await runBox(lab.node("node1"), NETWORK, "reboot-a"), await runBox(lab.node("node2"), NETWORK, "reboot-b")];
}, LONG_MS);

afterAll(async () => {
  await lab.etcd.start();
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(lab.node("node1"), NETWORK);
  await untilNothingIsLeft(lab);
}, LONG_MS);

/** Docker starts it again once its swarm is there; it gets an address anew. */
const again = ({ node, name }: Box): Promise<Box> => until(`${name} to run`, async () => {
  const { exitCode, stderr } = await node.exec(["docker", "start", name], { timeoutMs: 60_000 });
  if (exitCode !== 0) throw new Error(stderr.trim());
  return { node, name, address: await addressOf(node, name, NETWORK) };
}, LONG_MS);
/** How many peers' tunnel ends the disk knows: the file is written at most once a second. */
const tunnelEnds = (node: Node): Promise<number> => must(node, ["sh", "-c", "grep -o VtepMAC /var/lib/flannel-np/state.json | wc -l"]).then(Number);
const subnets = (node: Node): Promise<string> => must(node, ["jq", "-r", '.state.records | keys[] | select(test("/subnets/"))', "/var/lib/flannel-np/state.json"]);

describe("a reboot of everything", () => {
  it("without etcd: containers run and reach each other, on the same subnets", async () => {
    for (const node of lab.nodes) await until(`${node.name}'s file to know both tunnel ends`, async () => (await tunnelEnds(node)) === 2);
    const before = await subnets(lab.node("node1"));
    await lab.etcd.stop();
    for (const node of lab.nodes) await node.powerCut();
    await Promise.all(lab.nodes.map((node) => node.start()));
    boxes = await Promise.all(boxes.map(again));
    const [a, b] = boxes;
    if (a === undefined || b === undefined) throw new Error("Cannot ping: the containers are gone");
    await until("the first answered pings", () => pings(a, b.address), LONG_MS);
    expect(await pings(b, a.address, 20)).toBe(true);
    expect(await subnets(lab.node("node1"))).toBe(before);
    await statusShows(a.node, 1, "etcd does not answer", "Check that etcd runs");
  }, 2 * LONG_MS);

  it("etcd last: everything is well without a hand, traffic flows on", async () => {
    await lab.etcd.start();
    for (const node of lab.nodes) await until(`${node.name} to be well`, async () => (await status(node)).exitCode === 0 || undefined, LONG_MS);
    const [a, b] = boxes;
    if (a === undefined || b === undefined) throw new Error("Cannot ping: the containers are gone");
    expect(await pings(a, b.address, 20)).toBe(true);
  }, LONG_MS);
});
