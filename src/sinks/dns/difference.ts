/**
 * From one table to the next, as orders small enough to be read between two answers: pure.
 *
 * In:  the table that the answering thread has, or none, and the wanted one.  Out: orders; the last one commits.
 * Rule: what did not change is not sent; names are put into the wire's spelling here, on the thread that has time.
 */
import type { Order, ZonePart } from "./messages.ts";
import type { DnsName, DnsSandbox, DnsService, DnsTable, DnsZone } from "./vocabulary.ts";
import { wireText } from "./wire.ts";

/** Entries per order: a few hundred microseconds of reading. */
const PART = 500;

type Entry = ZonePart["names"][number];

export function* difference(from: DnsTable | undefined, to: DnsTable): Generator<Order> {
  for (const zone of to.zones.values()) {
    const before = from?.zones.get(zone.network);
    if (before !== zone) yield* zoneOrders(before, zone);
  }
  yield* sandboxOrders(from, to);
  const zonesGone = [...(from?.zones.keys() ?? [])].filter((network) => !to.zones.has(network));
  yield { kind: "commit", mode: to.mode, ranges: to.ranges, zonesGone };
}

function* zoneOrders(before: DnsZone | undefined, zone: DnsZone): Generator<Order> {
  const names = changed(before?.names, zone.names, sameName).map(([name, entry]): Entry =>
    entry === undefined ? [wireText(name), null] : [wireText(name), entry.addresses, entry.texts]);
  const pointers = changed(before?.pointers, zone.pointers, (a, b) => a === b).map(([address, target]) => [address, target ?? null] as const);
  const services = changed(before?.services, zone.services, sameServices).map(([name, list]) => [wireText(name), list ?? null] as const);
  const head = { network: zone.network, name: wireText(zone.name), ttlSeconds: zone.ttlSeconds };
  const same = before !== undefined && before.name === zone.name && before.ttlSeconds === zone.ttlSeconds;
  if (same && names.length + pointers.length + services.length === 0) return;
  const parts = Math.max(1, Math.ceil(Math.max(names.length, pointers.length, services.length) / PART));
  for (let part = 0; part < parts; part += 1) {
    const slice = <T>(list: readonly T[]): readonly T[] => list.slice(part * PART, (part + 1) * PART);
    yield { kind: "zone", part: { ...head, fresh: before === undefined && part === 0, names: slice(names), pointers: slice(pointers), services: slice(services) } };
  }
}

function* sandboxOrders(from: DnsTable | undefined, to: DnsTable): Generator<Order> {
  const set = [...to.sandboxes.values()].filter((sandbox) => !sameSandbox(from?.sandboxes.get(sandbox.sandbox), sandbox)).map(spelled);
  const gone = [...(from?.sandboxes.keys() ?? [])].filter((sandbox) => !to.sandboxes.has(sandbox));
  if (from !== undefined && set.length + gone.length === 0) return;
  for (let at = 0; at === 0 || at < set.length; at += PART) {
    yield { kind: "sandboxes", fresh: from === undefined && at === 0, set: set.slice(at, at + PART), gone: at === 0 ? gone : [] };
  }
}

/** Entries that are new or different, and those that went. */
function changed<K, V>(before: ReadonlyMap<K, V> | undefined, now: ReadonlyMap<K, V>, same: (a: V, b: V) => boolean): readonly (readonly [K, V | undefined])[] {
  const found: (readonly [K, V | undefined])[] = [];
  for (const [key, value] of now) {
    const old = before?.get(key);
    if (old === undefined || (old !== value && !same(old, value))) found.push([key, value]);
  }
  for (const key of before?.keys() ?? []) if (!now.has(key)) found.push([key, undefined]);
  return found;
}

const sameList = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((value, at) => value === b[at]);
const sameName = (a: DnsName, b: DnsName): boolean => sameList(a.addresses, b.addresses) && sameList(a.texts, b.texts);
const sameServices = (a: readonly DnsService[], b: readonly DnsService[]): boolean => a.length === b.length
  && a.every((one, at) => one.port === b[at]?.port && one.target === b[at].target && sameList(one.addresses, b[at].addresses));
const sameSandbox = (a: DnsSandbox | undefined, b: DnsSandbox): boolean =>
  a === b || (a !== undefined && sameList(a.zones, b.zones) && sameList([...a.links].flat(), [...b.links].flat()));
const spelled = ({ sandbox, zones, links }: DnsSandbox): DnsSandbox =>
  ({ sandbox, zones, links: new Map([...links].map(([alias, name]) => [wireText(alias), wireText(name)])) });
