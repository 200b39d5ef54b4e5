/**
 * Keeps true: how soon a name follows its container on every node is told beside Docker's overlay.
 * In: both nodes. Out: median and p99 of the time from a connection's or disconnection's end to the last node's right answer.
 */
import type { ChildProcess } from "node:child_process";
import { askDocker } from "../../lab/docker-api.ts";
import { until } from "../../lab/wait.ts";
import type { Bed, Container, Driver } from "../bed.ts";
import { removeContainer, runContainer, withNetworks } from "../bed.ts";
import type { Benchmark } from "../benchmark.ts";
import type { Figure } from "../figures.ts";
import { median, percentile, rivalOf } from "../figures.ts";
import { inRounds } from "../rounds.ts";

const NETWORKS: Readonly<Record<Driver, string>> = { ours: "bench-follow", overlay: "bench-follow-overlay" };
const ROUNDS = 50;
const NAME = "mover";
const DEADLINE_MS = 30_000;

interface Seen { readonly atMs: number; readonly known: boolean }

/** One container that asks for the name again and again; the time is taken after the answer. */
class Asker {
  readonly seen: Seen[] = [];
  readonly #child: ChildProcess;
  #rest = "";

  constructor({ node, id }: Container) {
    this.#child = node.spawn(["docker", "exec", id, "bash", "-c", `while :; do a=$(dig +tries=1 +time=1 +short ${NAME}); echo "$EPOCHREALTIME" $a; done`]);
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString()).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const [time = "", answer = ""] of lines.map((line) => line.split(" "))) this.seen.push({ atMs: Number(time) * 1000, known: /^\d+\./.test(answer) });
    });
  }

  /** Milliseconds after `sinceMs` at which the answer was right and stayed so; undefined while it is not. */
  rightAfter(sinceMs: number, known: boolean): number | undefined {
    const later = this.seen.filter(({ atMs }) => atMs >= sinceMs);
    const wrong = later.findLastIndex((seen) => seen.known !== known);
    const right = later[wrong + 1];
    return right === undefined ? undefined : Math.max(0, wrong < 0 ? 0 : right.atMs - sinceMs);
  }

  end(): void { this.#child.kill(); }
}

async function change({ manager }: Bed, network: string, container: Container, known: boolean, askers: readonly Asker[]): Promise<number> {
  await askDocker(`change ${network}`, {
    socket: manager.socket, method: "POST", path: `/networks/${network}/${known ? "connect" : "disconnect"}`, timeoutMs: DEADLINE_MS,
    json: { Container: container.id, ...(known ? { EndpointConfig: { Aliases: [NAME] } } : {}) },
  });
  const sinceMs = Date.now();
  const took = await until({ what: `see ${NAME} ${known ? "come" : "go"} on every node`, timeoutMs: DEADLINE_MS, everyMs: 20, cure: "look at './flannel-np lab logs NODE plugin'" }, () => {
    const all = askers.map((asker) => asker.rightAfter(sinceMs, known));
    return Promise.resolve(all.includes(undefined) ? undefined : all as number[]);
  });
  return Math.max(...took);
}

export const nameFollows: Benchmark = {
  name: "name-follows",
  title: "Change to name on every node",
  how: `A container on node1 is connected under an alias, and disconnected; a container on each node asks for the alias by dig again and again. From the end of the engine's call to the first right answer after the last wrong one, on the later node; our network and an overlay in turn, ${ROUNDS} rounds of both changes. The grain is dig's own run, some 20 ms.`,
  run: (bed: Bed) => withNetworks(bed, { [NETWORKS.ours]: "ours", [NETWORKS.overlay]: "overlay" }, async (residents) => {
    const mover = await runContainer(bed.manager, "bridge");
    const askers = new Map(Object.values(NETWORKS).map((network) => [network, (residents.get(network) ?? []).map((container) => new Asker(container))]));
    try {
      const both = (network: string) => async (): Promise<readonly number[]> => {
        const ends = askers.get(network) ?? [];
        return [await change(bed, network, mover, true, ends), await change(bed, network, mover, false, ends)];
      };
      const [ours = [], overlay = []] = await inRounds(ROUNDS, [both(NETWORKS.ours), both(NETWORKS.overlay)]);
      return figures(ours.flat(), overlay.flat());
    } finally {
      for (const asker of [...askers.values()].flat()) asker.end();
      await removeContainer(mover);
    }
  }),
};

const figures = (ours: readonly number[], overlay: readonly number[]): readonly Figure[] => [
  { name: "change to right answers, median", value: median(ours), unit: "ms", samples: ours.length, rival: { name: "overlay", value: median(overlay) } },
  { name: "change to right answers, p99", value: percentile(ours, 0.99), unit: "ms", samples: ours.length, rival: { ...rivalOf("overlay", ours, overlay), value: percentile(overlay, 0.99), ratio: percentile(ours, 0.99) / percentile(overlay, 0.99) }, goal: { of: "value", relation: "≤", limit: 250 } },
];
