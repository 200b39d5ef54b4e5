/** After every test no node's kernel has panicked, oopsed or met a dead loop: a machine that did may be up again, and the test green. */
import { afterEach, expect } from "@jest/globals";
import { KIND, openedLab } from "./bed.ts";

if (KIND === "vm") {
  afterEach(async () => {
    const lab = await openedLab();
    const said = await Promise.all(lab.nodes.map(async (node) => (await node.failures()).map((line) => `${node.name}: ${line}`)));
    expect(said.flat()).toEqual([]);
  });
}
