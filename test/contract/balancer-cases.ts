/** What every balancer does, whatever its engine: cases for the fake and for kernels. */
import { expect } from "@jest/globals";
import type { Ipv4 } from "../../src/core/ids.ts";
import type { BalancerEngine } from "../../src/core/service-labels.ts";
import { balancerWith } from "../../src/reconcilers/index.ts";
import type { BalancerChange, BalancerEntry, BalancerState, Scheduler, SeenEntry, Server, VirtualService } from "../../src/sinks/balancer.ts";
import type { BalancerWorld } from "./balancer-world.ts";
import type { Cases } from "./suite.ts";

export const signal = new AbortController().signal;
const ip = (text: string): Ipv4 => text as Ipv4;
export const [VIP, OTHER] = [ip("10.1.0.5"), ip("10.1.0.6")];
export const [B1, B2] = [ip("10.1.1.11"), ip("10.1.1.12")];

type Entries = ReadonlyMap<string, BalancerEntry>;
export const keyOf = (entry: BalancerEntry): string => (entry.kind === "service" ? entry.vip : `${entry.vip}>${entry.address}`);
export const entriesOf = (...entries: readonly BalancerEntry[]): Entries => new Map(entries.map((entry) => [keyOf(entry), entry]));
export const service = (vip: Ipv4, scheduler: Scheduler = "rr", affinitySeconds = 0): VirtualService => ({ kind: "service", vip, scheduler, affinitySeconds });
export const server = (vip: Ipv4, address: Ipv4, weight: 0 | 1 = 1): Server => ({ kind: "server", vip, address, weight });
export const PAIR = [service(VIP), server(VIP, B1), server(VIP, B2)];

/** Again until it is done: what fails in the middle is finished by the next try (the fake fails now and then). */
async function surely(doing: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await doing();
      return;
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

const changesTo = (op: BalancerChange["op"], entries: readonly BalancerEntry[]): BalancerChange[] => entries.map((entry) => ({ op, key: keyOf(entry), entry, why: "test" }));
export const put = (world: BalancerWorld, ...entries: readonly BalancerEntry[]): Promise<void> => surely(() => world.sink.apply(changesTo("create", entries), signal));
export const update = (world: BalancerWorld, ...entries: readonly BalancerEntry[]): Promise<void> => surely(() => world.sink.apply(changesTo("update", entries), signal));
export const drop = (world: BalancerWorld, ...entries: readonly BalancerEntry[]): Promise<void> => surely(() => world.sink.apply(changesTo("delete", entries), signal));

export async function seen(world: BalancerWorld, sink = world.sink): Promise<BalancerState> {
  let state: BalancerState = new Map();
  await surely(async () => { state = await sink.observe(signal); });
  return state;
}

/** What matters of it: as an entry, with its fault. Idle connections and times are the kernel's own. */
const plain = (entry: SeenEntry): object => (entry.kind === "service"
  ? { kind: entry.kind, vip: entry.vip, scheduler: entry.scheduler, affinitySeconds: entry.affinitySeconds, ...(entry.fault === undefined ? {} : { fault: entry.fault }) }
  : { kind: entry.kind, vip: entry.vip, address: entry.address, weight: entry.weight, ...(entry.fault === undefined ? {} : { fault: entry.fault }) });
const plainly = (state: BalancerState): readonly object[] => [...state].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => plain(entry));
export async function expectExactly(world: BalancerWorld, entries: Entries, sink = world.sink): Promise<void> {
  expect(plainly(await seen(world, sink))).toEqual([...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry));
}

/** As the engine goes on: look, plan, apply, until there is nothing to do. */
export async function settle(world: BalancerWorld, entries: Entries, sink = world.sink): Promise<void> {
  const { plan } = balancerWith({ engine: world.engine, drainMs: 1e9 });
  for (let rounds = 0; rounds < 25; rounds += 1) {
    const { changes } = plan({ value: { entries, drainMs: new Map(), certain: [] }, settled: true, blocked: [] }, await seen(world, sink));
    if (changes.length === 0) return;
    await sink.apply(changes, signal).catch(() => undefined);
  }
  throw new Error(`25 rounds are not enough: ${JSON.stringify(plainly(await seen(world, sink)))}`);
}

/** Writes of one `apply` are at most these: each may be the last. */
const STEPS = [0, 1, 2, 3];

const TABLES: Cases<BalancerWorld> = {
  "nothing there is nothing seen": async (world) => expectExactly(world, entriesOf()),
  "services and servers come and are read back, also by another process": async (world) => {
    await put(world, ...PAIR, service(OTHER), server(OTHER, B1));
    await expectExactly(world, entriesOf(...PAIR, service(OTHER), server(OTHER, B1)));
    await expectExactly(world, entriesOf(...PAIR, service(OTHER), server(OTHER, B1)), world.reopen());
  },
  "what is applied twice is as if once": async (world) => {
    for (const _ of [1, 2]) await put(world, ...PAIR);
    for (const _ of [1, 2]) await update(world, ...PAIR);
    await expectExactly(world, entriesOf(...PAIR));
    for (const _ of [1, 2]) await drop(world, server(VIP, B1));
    await expectExactly(world, entriesOf(service(VIP), server(VIP, B2)));
    for (const _ of [1, 2]) await drop(world, service(VIP));
    await expectExactly(world, entriesOf());
  },
  "a service without servers is there": async (world) => {
    await put(world, service(VIP), service(OTHER, "sh"));
    expect([...(await seen(world)).keys()]).toEqual([VIP, OTHER]);
    await put(world, server(OTHER, B1));
    await drop(world, server(OTHER, B1));
    expect([...await seen(world)].map(([key, { fault }]) => [key, fault])).toEqual([[VIP, undefined], [OTHER, undefined]]);
  },
  "a service goes with its servers, its neighbour stays": async (world) => {
    await put(world, ...PAIR, service(OTHER), server(OTHER, B1));
    await drop(world, service(VIP));
    await expectExactly(world, entriesOf(service(OTHER), server(OTHER, B1)));
  },
  "weight 0 stays with its service, and gets its weight back": async (world) => {
    await put(world, ...PAIR);
    await update(world, server(VIP, B1, 0));
    await expectExactly(world, entriesOf(service(VIP), server(VIP, B1, 0), server(VIP, B2)));
    const first = (await seen(world)).get(`${VIP}>${B1}`);
    expect(first).toMatchObject({ kind: "server", weight: 0 });
    expect([...(await seen(world, world.reopen())).keys()]).toContain(`${VIP}>${B1}`);
    await update(world, server(VIP, B1, 1));
    await expectExactly(world, entriesOf(...PAIR));
  },
  "all servers of a service may drain, then go": async (world) => {
    await put(world, ...PAIR);
    await update(world, server(VIP, B1, 0), server(VIP, B2, 0));
    await expectExactly(world, entriesOf(service(VIP), server(VIP, B1, 0), server(VIP, B2, 0)));
    await drop(world, server(VIP, B1), server(VIP, B2));
    await expectExactly(world, entriesOf(service(VIP)));
  },
  "servers come, drain and go in one stroke": async (world) => {
    await put(world, ...PAIR);
    const changes = [...changesTo("create", [server(VIP, ip("10.1.1.13"))]), ...changesTo("update", [server(VIP, B2, 0)]), ...changesTo("delete", [server(VIP, B1)])];
    await surely(() => world.sink.apply(changes, signal));
    await expectExactly(world, entriesOf(service(VIP), server(VIP, B2, 0), server(VIP, ip("10.1.1.13"))));
  },
  "another service of the same servers is none of this one's": async (world) => {
    await put(world, ...PAIR, service(OTHER), server(OTHER, B1), server(OTHER, B2));
    await update(world, server(OTHER, B1, 0));
    await expectExactly(world, entriesOf(...PAIR, service(OTHER), server(OTHER, B1, 0), server(OTHER, B2)));
  },
  "what others have stays": async (world) => {
    const before = await world.foreign();
    await put(world, ...PAIR);
    await drop(world, service(VIP));
    expect(before).not.toBe("");
    expect(await world.foreign()).toBe(before);
  },
  "an apply that ends before any of its writes is finished by the next": async (world) => {
    const stages = [entriesOf(...PAIR), entriesOf(service(VIP, "sh"), server(VIP, B2), server(VIP, ip("10.1.1.13")), service(OTHER), server(OTHER, B1)), entriesOf(service(OTHER))];
    for (const writes of STEPS) {
      for (const stage of [...stages, entriesOf()]) {
        const { changes } = balancerWith({ engine: world.engine, drainMs: 1e9 })
          .plan({ value: { entries: stage, drainMs: new Map(), certain: [] }, settled: true, blocked: [] }, await seen(world));
        world.interrupt(writes);
        await world.sink.apply(changes, signal).catch(() => undefined);
        world.interrupt(undefined);
        const next = world.reopen();
        await settle(world, stage, next);
        await expectExactly(world, stage, next);
      }
    }
  },
  "two thousand services": async (world) => {
    const vips = Array.from({ length: 2_000 }, (_, n) => ip(`10.2.${n >> 8}.${n & 255}`));
    const all = vips.flatMap((vip, n) => [service(vip), server(vip, ip(`10.1.${n >> 8}.${n & 255}`)), server(vip, ip(`10.1.128.${n & 255}`))]);
    await put(world, ...all);
    await expectExactly(world, entriesOf(...all));
    await update(world, server(vips[77] ?? VIP, ip("10.1.128.77"), 0));
    expect((await seen(world)).get(`${vips[77] ?? ""}>10.1.128.77`)).toMatchObject({ weight: 0 });
    await drop(world, ...vips.map((vip) => service(vip)));
    await expectExactly(world, entriesOf());
  },
};

const SCHEDULERS: Readonly<Record<BalancerEngine, readonly Scheduler[]>> = { ipvs: ["rr", "wrr", "lc", "sh"], nftables: ["rr", "sh"] };

export function tableCases(engine: BalancerEngine, damages: readonly string[]): Cases<BalancerWorld> {
  const schedulers: Cases<BalancerWorld> = {
    [`schedulers: ${SCHEDULERS[engine].join(", ")}`]: async (world) => {
      for (const scheduler of SCHEDULERS[engine]) {
        await update(world, service(VIP, scheduler));
        await put(world, server(VIP, B1), server(VIP, B2));
        await expectExactly(world, entriesOf(service(VIP, scheduler), server(VIP, B1), server(VIP, B2)));
      }
    },
    ...(engine === "nftables" ? {} : {
      "affinity is read back in seconds, and goes again": async (world: BalancerWorld) => {
        for (const seconds of [600, 1, 0, 86_400]) {
          await update(world, service(VIP, "rr", seconds));
          await put(world, server(VIP, B1));
          await expectExactly(world, entriesOf(service(VIP, "rr", seconds), server(VIP, B1)));
        }
      },
    }),
  };
  const undone = damages.map((name) => [`seen and undone: ${name}`, async (world: BalancerWorld): Promise<void> => {
    await put(world, ...PAIR);
    await world.damage(name);
    const wanted = entriesOf(...PAIR);
    expect(plainly(await seen(world))).not.toEqual(plainly(wanted as unknown as BalancerState));
    await settle(world, wanted);
    await expectExactly(world, wanted);
  }] as const);
  return { ...TABLES, ...schedulers, ...Object.fromEntries(undone) };
}
