/**
 * Keeps true: what the plugin costs when nothing happens is known, and how it grows with networks.
 * In: the manager. Out: CPU share while idle; CPU time and processes per pass that changes nothing.
 */
import { setTimeout as pause } from "node:timers/promises";
import { until } from "../lab/wait.ts";
import type { Bed, Driver } from "./bed.ts";
import { withNetworks } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import type { Figure } from "./figures.ts";
import { askDebug } from "./plugin-socket.ts";
import { cpuMilliseconds, daemonPid, memoryOf, processCounter } from "./process-cost.ts";

const IDLE_SECONDS = 30;
const PASSES = 20;
/** Two percent of a core (design D23). */
const GOAL_PERCENT = 2;

/** CPU and new processes while `work` runs, and its length. */
async function costOf(pid: number, other: number, work: () => Promise<unknown>): Promise<{ readonly cpuMs: number; readonly otherMs: number; readonly processes: number; readonly ms: number }> {
  const [cpu, rival, processes, since] = [await cpuMilliseconds(pid), await cpuMilliseconds(other), await processCounter(pid), performance.now()];
  await work();
  const ms = performance.now() - since;
  return { cpuMs: await cpuMilliseconds(pid) - cpu, otherMs: await cpuMilliseconds(other) - rival, processes: await processCounter(pid) - processes - 1, ms };
}

/** Of the manager, while it keeps so many networks with a container each. */
export async function costOfNothing({ manager }: Pick<Bed, "manager">, networks: number): Promise<readonly Figure[]> {
  const pid = await manager.pluginPid() ?? 0;
  // The networks of an earlier benchmark end with a delay.
  await until({ what: `see ${networks} flanneld`, timeoutMs: 120_000, cure: "look at './flannel-np lab logs NODE plugin'" }, async () =>
    ((await memoryOf(pid)).filter(({ command }) => command === "flanneld").length === networks ? true : undefined));
  await askDebug(manager, "POST", "/reconcile");
  const dockerd = await daemonPid(manager.pid, "dockerd");
  const idle = await costOf(pid, dockerd, () => pause(IDLE_SECONDS * 1_000));
  const passes = await costOf(pid, dockerd, async () => { for (let pass = 0; pass < PASSES; pass += 1) await askDebug(manager, "POST", "/reconcile"); });
  const share = passes.ms / idle.ms;
  const figure = (name: string, value: number, unit: string, more: Partial<Figure> = {}): Figure => ({ name: `${name}, ${networks} network${networks === 1 ? "" : "s"}`, value, unit, samples: 1, ...more });
  return [
    figure("idle CPU", idle.cpuMs / idle.ms * 100, "% of a core", { rival: { name: "dockerd", value: idle.otherMs / idle.ms * 100 }, goal: { of: "value", relation: "≤", limit: GOAL_PERCENT } }),
    figure("processes started while idle", idle.processes / idle.ms * 60_000, "per minute"),
    figure("pass without changes, CPU", (passes.cpuMs - idle.cpuMs * share) / PASSES, "ms", { samples: PASSES }),
    figure("pass without changes, duration", passes.ms / PASSES, "ms", { samples: PASSES }),
    figure("pass without changes, processes started", (passes.processes - idle.processes * share) / PASSES, "", { samples: PASSES }),
  ];
}

/** Names for so many networks of ours. */
export const named = (count: number): Record<string, Driver> => Object.fromEntries(Array.from({ length: count }, (_, index) => [`bench-idle-${index}`, "ours" as const]));

export const idle: Benchmark = {
  name: "idle",
  title: "Doing nothing",
  how: `CPU time of the plugin's process and of all it started (/proc/PID/stat) over ${IDLE_SECONDS} s without any event, then over ${PASSES} full passes asked for at the debug endpoint, ` +
    "the idle share taken off; dockerd's own time in the same span beside it. Processes are counted by the numbers the kernel gives them, threads included. One container per network and node.",
  async run(bed) {
    const one = await withNetworks(bed, named(1), () => costOfNothing(bed, 1));
    return [...one, ...await withNetworks(bed, named(10), () => costOfNothing(bed, 10))];
  },
};
