/** DNS servers of ours in real network namespaces, and clients that live there too. Needs root. */
import dgram from "node:dgram";
import { openSync, closeSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import net from "node:net";
import dns2 from "dns2";
import type { EventFields, EventName } from "../../src/core/events.ts";
import type { Cidr, Ipv4, NetworkId } from "../../src/core/ids.ts";
import { dnsServing, type DnsServing } from "../../src/sinks/dns/serve.ts";
import type { DnsName, DnsSandbox, DnsTable, DnsZone } from "../../src/sinks/dns/vocabulary.ts";
import { AF_INET, bind, connect, QUIET, SOCK_DGRAM, SOCK_STREAM, socket } from "../../src/sinks/libc.ts";
import { inNetns } from "../../src/sinks/netns-sockets.ts";
import { threadFile } from "./dns-thread.ts";
import type { Namespace } from "./namespace.ts";

const { Packet } = dns2;

export interface Bed {
  readonly serving: DnsServing;
  readonly events: { readonly event: string; readonly fields: unknown }[];
}

export async function bed(cache = true): Promise<Bed> {
  const events: { event: string; fields: unknown }[] = [];
  const emit = <N extends EventName>(event: N, fields: EventFields[N]): void => { events.push({ event, fields }); };
  return { serving: dnsServing({ emit, cache, entry: await threadFile() }), events };
}

export const addresses = (...list: readonly string[]): DnsName => ({ addresses: list as readonly Ipv4[], texts: [] });

export function zone(network: string, names: Readonly<Record<string, DnsName>>, more: Partial<DnsZone> = {}): DnsZone {
  return { network: network as NetworkId, name: `${network}-net`, ttlSeconds: 5, names: new Map(Object.entries(names)), pointers: new Map(), services: new Map(), ...more };
}

export function table(zones: readonly DnsZone[], sandboxes: Readonly<Record<string, readonly string[]>>, more: Partial<DnsTable> = {}): DnsTable {
  const views = Object.entries(sandboxes).map(([sandbox, list]): DnsSandbox => ({ sandbox, zones: list as readonly NetworkId[], links: new Map() }));
  return {
    mode: "compatible", zones: new Map(zones.map((each) => [each.network, each])), ranges: ["10.0.0.0/8" as Cidr],
    sandboxes: new Map(views.map((view) => [view.sandbox, view])), ...more,
  };
}

export interface Said { readonly rcode: number; readonly truncated: boolean; readonly addresses: readonly string[]; readonly bytes: Buffer }

/** A query by UDP from inside; undefined when nothing came in time. */
export async function ask({ path }: Namespace, port: number, query: Buffer | string, timeoutMs = 2_000, to = "127.0.0.11"): Promise<Said | undefined> {
  const netns = openSync(path, "r");
  const fd = inNetns(netns, () => socket(AF_INET, SOCK_DGRAM | QUIET, 0));
  // Bound there and now: by itself a socket would be bound by whichever thread sends.
  bind(fd, Buffer.from([AF_INET, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), 16);
  closeSync(netns);
  const client = dgram.createSocket({ type: "udp4", lookup: (host, _options, done) => { done(null, host, 4); } });
  await new Promise<void>((ready) => { client.bind({ fd }, ready); });
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(undefined), timeoutMs);
    const done = (said: Said | undefined): void => {
      clearTimeout(timer);
      client.close();
      resolve(said);
    };
    client.on("message", (bytes) => done(read(bytes)));
    client.on("error", () => done(undefined));
    client.send(typeof query === "string" ? question(query) : query, port, to);
  });
}

/** A connection from inside. */
export function dial({ path }: Namespace, port: number): net.Socket {
  const netns = openSync(path, "r");
  const fd = inNetns(netns, () => {
    const made = socket(AF_INET, SOCK_STREAM, 0);
    connect(made, Buffer.from([AF_INET, 0, port >> 8, port & 255, 127, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0]), 16);
    return made;
  });
  closeSync(netns);
  return new net.Socket({ fd, readable: true, writable: true });
}

export function question(name: string, type: number = Packet.TYPE.A, id = 4711): Buffer {
  const packet = new Packet();
  Object.assign(packet.header, { id, rd: 1 });
  packet.questions.push({ name, type, class: 1 } as never);
  return packet.toBuffer();
}

export const framed = (message: Buffer): Buffer => Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);

export function read(bytes: Buffer): Said {
  const packet = Packet.parse(bytes);
  const flags = bytes.readUInt16BE(2);
  return {
    rcode: flags & 15, truncated: (flags & 0x200) !== 0, bytes,
    addresses: packet.answers.flatMap((answer) => ("address" in answer && typeof answer.address === "string" ? [answer.address] : [])).sort(),
  };
}

/** What /proc/self/task/N/ns/net says of each thread. */
export const namespacesOfThreads = (): readonly string[] =>
  readdirSync("/proc/self/task").flatMap((task) => { try { return [readlinkSync(`/proc/self/task/${task}/ns/net`)]; } catch { return []; } });

export const openFiles = (): number => readdirSync("/proc/self/fd").length;
export const residentKib = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((again) => { setTimeout(again, 20); });
  }
}
