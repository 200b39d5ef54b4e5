/**
 * Keeps true: our price per container start is told beside Docker's own networks on the same engine.
 * In: both nodes. Out: median milliseconds to create and start, and to remove, per engine.
 */
import type { Bed, Node } from "./bed.ts";
import { removeContainer, runContainer, withNetworks } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import type { Figure } from "./figures.ts";
import { median, rivalOf } from "./figures.ts";
import { inRounds, millisecondsOf } from "./rounds.ts";

const OURS = "bench-start";
const OVERLAY = "bench-start-overlay";
const NETWORKS = [OURS, OVERLAY, "bridge"] as const;
const ROUNDS = 15;

interface Life { readonly start: number; readonly remove: number }

async function lifeOn(node: Node, network: string): Promise<Life> {
  const since = performance.now();
  const container = await runContainer(node, network);
  const start = performance.now() - since;
  return { start, remove: await millisecondsOf(() => removeContainer(container)) };
}

async function onNode(node: Node): Promise<readonly Figure[]> {
  const lives = await inRounds(ROUNDS, NETWORKS.map((network) => () => lifeOn(node, network)));
  const of = (network: (typeof NETWORKS)[number], part: keyof Life): readonly number[] => (lives[NETWORKS.indexOf(network)] ?? []).map((life) => life[part]);
  const figure = (part: keyof Life, name: string, rival: (typeof NETWORKS)[number]): Figure => ({
    name: `engine ${node.engine}: ${part}`, value: median(of(OURS, part)), unit: "ms", samples: ROUNDS, rival: rivalOf(name, of(OURS, part), of(rival, part)),
  });
  return [
    { ...figure("start", "overlay", OVERLAY), goal: { of: "ratio", relation: "≤", limit: 1 } },
    figure("start", "bridge", "bridge"), figure("remove", "overlay", OVERLAY),
  ];
}

export const containerStart: Benchmark = {
  name: "container-start",
  title: "Container start",
  how: `Create and start a container through the engine's API until it runs, then remove it; our network, an attachable overlay and the default bridge in turn, ${ROUNDS} rounds; medians, and the median of the rounds' ratios. Each network has a container on the node already.`,
  run: (bed: Bed) => withNetworks(bed, { [OURS]: "ours", [OVERLAY]: "overlay" }, async () => {
    const figures: Figure[] = [];
    for (const node of [bed.manager, bed.worker]) figures.push(...await onNode(node));
    return figures;
  }),
};
