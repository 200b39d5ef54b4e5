/**
 * Our DNS server by itself, for whoever measures it: `npx tsx test/contract/dns-stand.ts NAMES`.
 *
 * In:  one line of JSON per order on stdin: {"open": path of a namespace}, {"close": path}, {"busy": true}.  Out: one line per order.
 * Rule: every namespace opened is asked by the same table: n0, n1, … to the number of names given, one address each.
 */
import { createInterface } from "node:readline";
import type { Cidr, Ipv4, NetnsPath, NetworkId } from "../../src/core/ids.ts";
import { dnsServing } from "../../src/sinks/dns/serve.ts";
import type { DnsName, DnsSandbox, DnsTable } from "../../src/sinks/dns/vocabulary.ts";
import { threadFile } from "./dns-thread.ts";

interface Order { readonly open?: string; readonly close?: string; readonly busy?: boolean }

/** What a pass of reconcilers would be at its worst: the main thread is taken for 50 ms of every 250. */
const BUSY_MS = 50;
const EVERY_MS = 250;

const network = "stand" as NetworkId;
const names = new Map(Array.from({ length: Number(process.argv[2] ?? 100) }, (_, n): [string, DnsName] =>
  [`n${n}`, { addresses: [`10.1.${(n >> 8) & 255}.${n & 255}` as Ipv4], texts: [] }]));
const zones = new Map([[network, { network, name: "stand", ttlSeconds: 5, names, pointers: new Map<Ipv4, string>(), services: new Map() }]]);
const sandboxes = new Map<string, DnsSandbox>();
const serving = dnsServing({ emit: (event, fields) => { process.stderr.write(`${event} ${JSON.stringify(fields)}\n`); }, cache: true, entry: await threadFile() });
let busy = false;

setInterval(() => {
  const end = performance.now() + BUSY_MS;
  while (busy && performance.now() < end);
}, EVERY_MS);

async function obey({ open, close, busy: wanted }: Order): Promise<unknown> {
  if (wanted !== undefined) busy = wanted;
  if (close !== undefined) await serving.close(close);
  if (open === undefined) return { rssKib: process.memoryUsage.rss() / 1024 };
  sandboxes.set(open, { sandbox: open, zones: [network], links: new Map() });
  const table: DnsTable = { mode: "compatible", zones, sandboxes: new Map(sandboxes), ranges: ["10.0.0.0/8" as Cidr] };
  serving.setTable(table);
  const { port } = await serving.open(open, open as NetnsPath);
  return { port };
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${JSON.stringify(await obey(JSON.parse(line) as Order))}\n`);
await serving.stop();
process.exit(0);
