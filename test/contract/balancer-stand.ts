/**
 * The nftables balancer alone, in a namespace with one service that answers and many beside it: what bench/vip measures.
 *
 * In:  orders on stdin, a JSON line each: {services, servers}, {more}, {out}, {pass}.  Out: {wallMs, cpuMs} for each; first {client, vip, direct, port}.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Ipv4 } from "../../src/core/ids.ts";
import { balancerWith } from "../../src/reconcilers/index.ts";
import type { BalancerChange, BalancerEntry } from "../../src/sinks/balancer.ts";
import { balancerWorld } from "./balancer-bed.ts";

const signal = new AbortController().signal;
const [box = ""] = process.argv.slice(2);
const VIP = "10.1.0.5" as Ipv4;
const SERVERS = ["10.1.1.11", "10.1.1.12"] as const;
const PORT = 9001;
const CLOCK_MS = 10;

/** Own time and that of children which have ended: fields 14 to 17 of proc(5). */
function cpuMs(): number {
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1]?.split(" ") ?? [];
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * CLOCK_MS;
}

async function costOf(work: () => Promise<unknown>): Promise<{ wallMs: number; cpuMs: number }> {
  const [cpu, since] = [cpuMs(), performance.now()];
  await work();
  return { wallMs: performance.now() - since, cpuMs: cpuMs() - cpu };
}

const keyOf = (entry: BalancerEntry): string => (entry.kind === "service" ? entry.vip : `${entry.vip}>${entry.address}`);

/** The one that answers, and others to make up the number. */
function entriesOf(services: number, servers: number): ReadonlyMap<string, BalancerEntry> {
  const entries: BalancerEntry[] = [];
  const add = (vip: Ipv4, addresses: readonly string[]): void => {
    entries.push({ kind: "service", vip, scheduler: "rr", affinitySeconds: 0 });
    for (const address of addresses) entries.push({ kind: "server", vip, address: address as Ipv4, weight: 1 });
  };
  for (let n = 1; n < services; n += 1) {
    add(`10.2.${n >> 8}.${n & 255}` as Ipv4, Array.from({ length: servers }, (_, place) => `10.1.${2 + ((n * 7 + place) % 250)}.${1 + ((n + place * 13) % 250)}`));
  }
  add(VIP, SERVERS);
  return new Map(entries.map((entry) => [keyOf(entry), entry]));
}

const world = await balancerWorld({ engine: "nftables" });
const { client } = await world.places(box, PORT);
const reconciler = balancerWith({ engine: "nftables", drainMs: 1e9 });
let entries = entriesOf(1, 2);
const pass = async (): Promise<void> => {
  const { changes } = reconciler.plan({ value: { entries, drainMs: new Map(), certain: [] }, settled: true, blocked: [] }, await world.sink.observe(signal));
  await world.sink.apply(changes, signal);
};
const spare = { kind: "server", vip: "10.2.0.9" as Ipv4, address: "10.1.254.254" as Ipv4, weight: 1 } as const;
const change = (op: BalancerChange["op"]): Promise<void> => world.sink.apply([{ op, key: keyOf(spare), entry: spare, why: "bench" }], signal);

process.stdout.write(`${JSON.stringify({ client, vip: VIP, direct: SERVERS[0], port: PORT })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as { readonly services?: number; readonly servers?: number; readonly more?: true; readonly out?: true; readonly pass?: true };
  const { services, servers = 2 } = order;
  if (services !== undefined) {
    entries = new Map();
    await pass();
    entries = entriesOf(services, servers);
  }
  // What is measured begins with a snapshot and a table that has been read.
  if (order.more === true || order.out === true) await world.sink.observe(signal);
  const cost = await costOf(order.more === true ? () => change("create") : order.out === true ? () => change("delete") : pass);
  process.stdout.write(`${JSON.stringify(cost)}\n`);
}
await world.close();
