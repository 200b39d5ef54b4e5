/**
 * Keeps true: what a hundred networks cost a node, and how soon its operator has them all again, is known.
 * In: the manager. Out: the figures of doing nothing; seconds from kill -9, and from an empty kernel, to nothing left to do.
 */
import { ALIAS } from "../lab/plugin.ts";
import { until } from "../lab/wait.ts";
import type { Bed, Node } from "./bed.ts";
import { withNetworks } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import { median, type Figure } from "./figures.ts";
import { costOfNothing, named } from "./idle.ts";
import { askDebug } from "./plugin-socket.ts";

const NETWORKS = 100;
const ROUNDS = 3;
const DEADLINE_MS = 120_000;
/** Docker gives a plugin up for good that dies within 3 s of its start. */
const GROWN_MS = 6_000;
/** All that is ours in the kernel but the containers' own links, which nobody can put back from outside. */
const WIPE = "for link in $(ls /sys/class/net | grep -E '^(flannel[.]|fnp-gw)'); do ip link delete $link; done; " +
  "for table in $(nft list tables | awk '$3 ~ /^fnp/ {print $2 \",\" $3}'); do nft delete table ${table%,*} ${table#*,}; done; ip route flush proto 102";

/** Another process than `before` is ready and plans nothing. */
async function untilSettled(node: Node, before: number): Promise<number> {
  await until({ what: `see the plugin on ${node.name} with nothing left to do`, timeoutMs: DEADLINE_MS, everyMs: 50, cure: "look at './flannel-np lab logs NODE plugin'" }, async () => {
    const pid = await node.pluginPid();
    if (pid === undefined || pid === before) return undefined;
    const ready = await askDebug(node, "GET", "/readyz").catch(() => undefined);
    if (ready === undefined) return undefined;
    const plan: unknown = JSON.parse(await askDebug(node, "GET", "/plan"));
    const plans = (plan as { readonly plans: readonly { readonly changes: readonly unknown[] }[] }).plans;
    return plans.every(({ changes }) => changes.length === 0) ? true : undefined;
  });
  return performance.now();
}

async function afterKill(node: Node): Promise<number> {
  await new Promise((resolve) => { setTimeout(resolve, GROWN_MS); });
  const pid = await node.pluginPid() ?? 0;
  const since = performance.now();
  process.kill(pid, "SIGKILL");
  return (await untilSettled(node, pid) - since) / 1_000;
}

async function fromEmpty(node: Node): Promise<number> {
  const pid = await node.pluginPid() ?? 0;
  await node.docker("plugin", "disable", "-f", ALIAS);
  await node.exec(["sh", "-c", WIPE]);
  const since = performance.now();
  await node.docker("plugin", "enable", ALIAS);
  return (await untilSettled(node, pid) - since) / 1_000;
}

async function rounds(count: number, one: () => Promise<number>): Promise<number> {
  const all: number[] = [];
  for (let n = 0; n < count; n += 1) all.push(await one());
  return median(all);
}

async function figures(bed: Bed): Promise<readonly Figure[]> {
  const { manager } = bed;
  const nothing = await costOfNothing(bed, NETWORKS);
  const figure = (name: string, value: number, more: Partial<Figure> = {}): Figure => ({ name: `${name}, ${NETWORKS} networks`, value, unit: "s", samples: ROUNDS, ...more });
  return [
    ...nothing.map((one) => (one.name.startsWith("pass without changes, CPU") ? { ...one, goal: { of: "value", relation: "≤", limit: 100 } as const } : one)),
    figure("kill -9 to nothing left to do", await rounds(ROUNDS, () => afterKill(manager))),
    figure("from an empty kernel to nothing left to do", await rounds(ROUNDS, () => fromEmpty(manager)), { goal: { of: "value", relation: "≤", limit: 10 } }),
  ];
}

export const many: Benchmark = {
  name: "many",
  title: "A hundred networks",
  how: `${NETWORKS} networks with a container on each node; what "Doing nothing" measures, then the plugin killed, and disabled with all its links, routes and tables deleted but the containers' own; until it is ready and plans nothing. Medians of ${ROUNDS}.`,
  run: (bed) => withNetworks(bed, named(NETWORKS), () => figures(bed)),
};
