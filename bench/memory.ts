/**
 * Keeps true: what a node pays in memory at 100 containers is known, for the plugin and for each flanneld.
 * In: the manager. Out: resident and proportional set sizes; dockerd of the same node beside them.
 */
import type { Bed, Container } from "./bed.ts";
import { removeContainer, runContainer, withNetworks } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import type { Figure } from "./figures.ts";
import type { ProcessMemory } from "./process-cost.ts";
import { daemonPid, memoryOf } from "./process-cost.ts";
import { abreast } from "./rounds.ts";

const NETWORK = "bench-memory";
const CONTAINERS = 100;
const GOAL_MIB = 150;

const sum = (list: readonly ProcessMemory[], size: "rssMiB" | "pssMiB"): number => list.reduce((total, one) => total + one[size], 0);
const isFlanneld = ({ command }: ProcessMemory): boolean => command === "flanneld";

async function look({ manager }: Bed, containers: number): Promise<readonly Figure[]> {
  const pid = await manager.pluginPid() ?? 0;
  const all = await memoryOf(pid);
  const [dockerd] = await memoryOf(await daemonPid(manager.pid, "dockerd"));
  const [own, carriers] = [all.filter((one) => !isFlanneld(one)), all.filter(isFlanneld)];
  const at = (name: string, value: number, more: Partial<Figure> = {}): Figure =>
    ({ name: `${name}, ${containers} containers`, value, unit: "MiB", samples: 1, ...more });
  return [
    at("plugin, resident", sum(own, "rssMiB"), { rival: { name: "dockerd", value: dockerd?.rssMiB ?? 0 }, goal: { of: "value", relation: "≤", limit: GOAL_MIB } }),
    at("plugin, proportional", sum(own, "pssMiB"), { rival: { name: "dockerd", value: dockerd?.pssMiB ?? 0 } }),
    at("one flanneld, resident", sum(carriers, "rssMiB") / Math.max(1, carriers.length)),
    at("one flanneld, proportional", sum(carriers, "pssMiB") / Math.max(1, carriers.length)),
  ];
}

export const memory: Benchmark = {
  name: "memory",
  title: "Memory",
  how: `/proc/PID/smaps_rollup of the plugin's processes on node1 with 1 container and with ${CONTAINERS} more; the plugin counts without its flanneld.`,
  run: (bed) => withNetworks(bed, { [NETWORK]: "ours" }, async () => {
    const before = await look(bed, 1);
    const containers: Container[] = [];
    try {
      await abreast(CONTAINERS, 4, async (index) => {
        containers.push(await runContainer(bed.manager, NETWORK, ["sleep", "3600"]));
        if ((index + 1) % 25 === 0) bed.progress(`${index + 1} containers`);
      });
      return [...before, ...await look(bed, CONTAINERS + 1)];
    } finally {
      await abreast(containers.length, 4, async (index) => { const one = containers[index]; if (one !== undefined) await removeContainer(one); });
    }
  }),
};
