/**
 * Keeps true: how soon a new network carries packets is told beside Docker's overlay.
 * In: both nodes. Out: median milliseconds from `network create` to the first answered ping between the nodes.
 */
import type { ChildProcess } from "node:child_process";
import { LabError } from "../lab/errors.ts";
import type { Bed, Container, Driver } from "./bed.ts";
import { addressOf, createNetwork, removeContainer, removeNetwork, runContainerSoon } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import { median, rivalOf } from "./figures.ts";
import { inRounds } from "./rounds.ts";

const ROUNDS = 7;
const DEADLINE_MS = 60_000;

/** Resolves with the first line that `pattern` fits; ends the program. */
function firstLine(child: ChildProcess, pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = "";
    const late = setTimeout(() => { child.kill(); reject(new LabError(`Cannot reach the other node within ${DEADLINE_MS / 1_000} s: ${seen}`, "look at './flannel-np lab logs NODE plugin'")); }, DEADLINE_MS);
    const end = (): void => { clearTimeout(late); child.kill(); };
    child.stdout?.on("data", (chunk: Buffer) => {
      seen += chunk.toString();
      if (pattern.test(seen)) { end(); resolve(); }
    });
    child.once("close", () => { end(); reject(new LabError(`Cannot ping the other node: ${seen}`, "look at './flannel-np lab logs NODE plugin'")); });
  });
}

let count = 0;

async function firstPacket(bed: Bed, driver: Driver): Promise<number> {
  count += 1;
  const name = `bench-first-${count}`;
  const since = performance.now();
  let containers: readonly Container[] = [];
  try {
    await createNetwork(bed, driver, name);
    containers = await Promise.all([runContainerSoon(bed.manager, name), runContainerSoon(bed.worker, name)]);
    const [from, to] = containers;
    if (from === undefined || to === undefined) return Number.NaN;
    await firstLine(bed.manager.spawn(["docker", "exec", from.id, "ping", "-i", "0.02", await addressOf(to, name)]), /bytes from/);
    return performance.now() - since;
  } finally {
    await Promise.all(containers.map(removeContainer));
    await removeNetwork(bed, name);
  }
}

export const firstPacketBench: Benchmark = {
  name: "first-packet",
  title: "Network to first packet",
  how: `From \`network create\` on the manager, over a container on each node, to the first answer of a ping every 20 ms between them; our network and an overlay in turn, ${ROUNDS} rounds; medians, and the median of the rounds' ratios.`,
  async run(bed) {
    const [ours = [], overlay = []] = await inRounds(ROUNDS, [() => firstPacket(bed, "ours"), () => firstPacket(bed, "overlay")]);
    return [{ name: "network create to first answer", value: median(ours), unit: "ms", samples: ROUNDS, rival: rivalOf("overlay", ours, overlay) }];
  },
};
