/**
 * Keeps true: what a VIP costs a connection, and what thousands of VIPs cost the node that keeps them, stands beside a direct connection.
 * In: this machine. Out: connections per second and latency among 10 to 10,000 VIPs; one change, from empty, a pass without changes.
 */
import { dirname, join } from "node:path";
import { boxImage } from "../../lab/box/image.ts";
import { engineNamed } from "../../lab/plan.ts";
import { rootfsOf } from "../../lab/rootfs/cache.ts";
import type { Benchmark } from "../benchmark.ts";
import { median, percentile, rivalOf, type Figure } from "../figures.ts";
import { inRounds } from "../rounds.ts";
import { VipStand, type Cost, type Flood } from "./stand.ts";

const SIZES = [10, 1_000, 10_000];
const ROUNDS = 5;
const CONNECTIONS = 4_000;
const WORKERS = 8;
const [SERVICES, SERVERS] = [5_000, 10];
const CHANGES = 15;
const PASSES = 5;

async function among(stand: VipStand, size: number, first: readonly Flood[]): Promise<{ readonly figures: readonly Figure[]; readonly floods: readonly Flood[] }> {
  await stand.tell({ services: size });
  const [vip = [], direct = []] = await inRounds(ROUNDS, (["vip", "direct"] as const).map((to) => () => stand.flood(to, CONNECTIONS, WORKERS)));
  const [rates, late] = [vip.map(({ perSecond }) => perSecond), vip.map(({ p99Us }) => p99Us)];
  const name = `among ${size} VIPs`;
  return {
    floods: vip,
    figures: [
      { name: `connections through a VIP ${name}`, unit: "/s", value: median(rates), samples: ROUNDS, rival: rivalOf("direct", rates, direct.map(({ perSecond }) => perSecond)) },
      ...(first.length === 0 ? [] : [{
        name: `connections through a VIP ${name}`, unit: "/s", value: median(rates), samples: ROUNDS,
        rival: { name: `among ${SIZES[0] ?? 0}`, value: median(first.map(({ perSecond }) => perSecond)) }, goal: { of: "ratio", relation: "≥", limit: 0.9 } as const,
      }]),
      { name: `p99 of a connection and an answer ${name}`, unit: "µs", value: median(late), samples: ROUNDS, rival: rivalOf("direct", late, direct.map(({ p99Us }) => p99Us)) },
    ],
  };
}

async function times(stand: VipStand, count: number, ...orders: readonly Readonly<Record<string, unknown>>[]): Promise<readonly Cost[][]> {
  const costs: Cost[][] = orders.map(() => []);
  for (let n = 0; n < count; n += 1) for (const [place, order] of orders.entries()) costs[place]?.push(await stand.tell(order));
  return costs;
}

async function keeping(stand: VipStand): Promise<readonly Figure[]> {
  const what = `${SERVICES} VIPs of ${SERVERS} servers`;
  const empty = await stand.tell({ services: SERVICES, servers: SERVERS });
  const first = await stand.tell({ pass: true });
  const [passes = []] = await times(stand, PASSES, { pass: true });
  const [more = [], out = []] = await times(stand, CHANGES, { more: true }, { out: true });
  const wall = (costs: readonly Cost[]): readonly number[] => costs.map(({ wallMs }) => wallMs);
  const cpu = (costs: readonly Cost[]): number => median(costs.map(({ cpuMs }) => cpuMs));
  return [
    { name: `${what}, from empty`, unit: "s", value: empty.wallMs / 1_000, samples: 1, goal: { of: "value", relation: "≤", limit: 10 } },
    { name: `${what}, pass without changes, CPU`, unit: "ms", value: cpu(passes), samples: PASSES, goal: { of: "value", relation: "≤", limit: 100 } },
    { name: `${what}, the table read again, CPU`, unit: "ms", value: first.cpuMs, samples: 1 },
    { name: `${what}, a server more, p50`, unit: "ms", value: median(wall(more)), samples: CHANGES, goal: { of: "value", relation: "≤", limit: 20 } },
    { name: `${what}, a server more, p99`, unit: "ms", value: percentile(wall(more), 0.99), samples: CHANGES },
    { name: `${what}, a server more, CPU`, unit: "ms", value: cpu(more), samples: CHANGES },
    { name: `${what}, a server out and its connections, p50`, unit: "ms", value: median(wall(out)), samples: CHANGES },
    { name: `${what}, a server out and its connections, CPU`, unit: "ms", value: cpu(out), samples: CHANGES },
  ];
}

export const vip: Benchmark = {
  name: "vip",
  title: "Virtual IPs",
  how: `Engine nftables alone, in network namespaces of this machine: a client, a node, two servers on it. ${CONNECTIONS} new TCP connections with a question and an answer each, ${WORKERS} at a time, to the VIP and to a server itself in turn, ` +
    `${ROUNDS} rounds; medians, and the median of the rounds' ratios. Changes are timed from the plan to the end of the kernel's transaction; a pass looks, plans and writes nothing. ` +
    "Docker's overlay VIP and the engine ipvs are not here: they need IPVS, which this kernel has not.",
  async run({ progress }) {
    const { archive } = await boxImage(await rootfsOf(engineNamed("28"), progress), progress);
    const stand = new VipStand(join(dirname(archive), "box"));
    try {
      await stand.ready();
      const figures: Figure[] = [];
      let first: readonly Flood[] = [];
      for (const size of SIZES) {
        progress(`${size} VIPs`);
        const { figures: some, floods } = await among(stand, size, first);
        figures.push(...some);
        if (first.length === 0) first = floods;
      }
      progress(`${SERVICES} VIPs of ${SERVERS} servers`);
      return [...figures, ...await keeping(stand)];
    } finally {
      await stand.stop();
    }
  },
};
