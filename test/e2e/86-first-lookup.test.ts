/**
 * Containers whose first act is a lookup, eight at a time, on an engine whose Join gates the start.
 *
 * Must hold: none fails: one bare query each, no retry, answered rightly.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, type Box } from "./bed.ts";
import { FULL, fullOnly, noerror, untilAnswers } from "./names-bed.ts";

const NET = "first";
const STARTS = FULL ? 500 : 100;

let lab: Lab;
let peer: Box;

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), NET);
  peer = await runBox(lab.node("node1"), NET, "peer");
  await untilAnswers([peer], { peer: noerror(peer.address) });
});

afterAll(async () => {
  if (peer !== undefined) await removeBox(peer);
  await removeNetwork(lab.node("node1"), NET);
});

describe("the first query of a container on engine 28", () => {
  it(`is answered in each of ${STARTS} starts, and so is its own name`, async () => {
    fullOnly("500 starts instead of 100");
    const asks = "box dns-bench -count 1 -timeout 5s peer; box dns-bench -count 1 -timeout 5s $(hostname)";
    const text = await must(lab.node("node1"), ["sh", "-c", `seq ${STARTS} | xargs -P 8 -I{} docker run --rm --network ${NET} lab/box sh -c '${asks}'`], 1_800_000);
    const tallies = text.split("\n").map((line) => JSON.parse(line) as { readonly by: Readonly<Record<string, number>>; readonly errors: Readonly<Record<string, number>> });
    expect(tallies).toHaveLength(2 * STARTS);
    expect(tallies.flatMap(({ errors }) => Object.keys(errors))).toEqual([]);
    const answers = tallies.flatMap(({ by }) => Object.keys(by));
    expect(answers.filter((answer) => answer === peer.address)).toHaveLength(STARTS);
    expect(answers.filter((answer) => !/^\d+\.\d+\.\d+\.\d+$/.test(answer))).toEqual([]);
  }, 1_800_000);
});
