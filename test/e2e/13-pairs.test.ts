/** Swarms of one engine alone, each in a small lab of its own: the shared lab mixes a new manager with an old worker. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { openLab, type Lab } from "../../lab/lab.ts";
import { LAB_ID, makeNetwork, runBox } from "./bed.ts";
import { both, inside, reached } from "./reach.ts";

/** The short run takes what the shared lab has nothing of: an old manager. */
const ENGINES = process.env["FNP_TEST_FULL"] === "1" ? ["20.10", "26", "28"] : ["20.10"];

describe.each(ENGINES)("two nodes of engine %s", (engine) => {
  let lab: Lab;
  // A lab's id has no dots and at most twelve letters.
  beforeAll(async () => { lab = await openLab({ id: `${LAB_ID.slice(0, 8)}${engine.replace(".", "")}`, nodes: [{ engine }, { engine }] }); });
  afterAll(async () => { await lab.down(); });

  it("carry pings and TCP both ways, on one node and across", async () => {
    await makeNetwork(lab.node("node1"), "pair");
    const boxes = await Promise.all(["one", "two"].flatMap((name) => lab.nodes.map((node) => runBox(node, "pair", name))));
    await Promise.all(boxes.map(async (box) => {
      const targets = boxes.filter((other) => other !== box).map(({ address }) => address);
      expect([box.node.name, await reached(inside(box), targets)]).toEqual([box.node.name, both(...targets)]);
    }));
  });
});
