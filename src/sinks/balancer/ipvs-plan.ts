/**
 * VIPs, their marks and IPVS's services joined: what is seen of them, and which lines a change takes.
 *
 * In:  both tables, changes.  Out: `BalancerState`; text for nft and for `ipvsadm --restore`.
 * Rule: pure. Each VIP has two marks: UDP has a service of its own, so that its servers go at once while those of TCP drain.
 * A mark is chosen once, the lowest pair that nobody uses; the kernel's map remembers it. While no server takes new connections
 * the VIP is closed: IPVS itself would answer by ICMP alone, of which the kernel sends a client one a second.
 */
import { VIP_TABLE } from "../../core/names.ts";
import type { Ipv4 } from "../../core/ids.ts";
import { isList, type Row } from "../nft-table/parts.ts";
import { CLOSED, DATAGRAMS, VIPS, type MarkRange } from "../vip-table/frame.ts";
import { elementsOf } from "../vip-table/parse.ts";
import { MASQUERADE, serverEnd, serverLine, serviceEnd, serviceLine, type IpvsServer, type IpvsService } from "./ipvs-text.ts";
import { serverKey, serviceKey, type BalancerChange, type Scheduler, type SeenEntry, type SeenServer, type Server } from "./vocabulary.ts";

export interface Marks { readonly streams?: number | undefined; readonly datagrams?: number | undefined; readonly closed?: boolean }
export interface IpvsTables { readonly marks: ReadonlyMap<Ipv4, Marks>; readonly services: ReadonlyMap<number, IpvsService> }

export function marksOf(objects: readonly Row[]): ReadonlyMap<Ipv4, Marks> {
  const read = (map: string): ReadonlyMap<Ipv4, number> => new Map(elementsOf(objects, map).flatMap((element): [Ipv4, number][] => {
    const [vip, mark] = isList(element) ? element : [];
    return typeof vip === "string" && typeof mark === "number" ? [[vip as Ipv4, mark]] : [];
  }));
  const [streams, datagrams] = [read(VIPS), read(DATAGRAMS)];
  const closed = new Set(elementsOf(objects, CLOSED) as readonly Ipv4[]);
  return new Map([...streams.keys(), ...datagrams.keys(), ...closed].map((vip) => [vip, { streams: streams.get(vip), datagrams: datagrams.get(vip), closed: closed.has(vip) }]));
}

/** Services of our marks that no VIP leads to: they go by this name. */
const orphan = (mark: number): Ipv4 => `mark-${mark}` as Ipv4;

/** Orphans included, as services that nobody wants. */
export function withOrphans({ marks, services }: IpvsTables): ReadonlyMap<Ipv4, Marks> {
  const known = new Set([...marks.values()].flatMap(({ streams, datagrams }) => [streams, datagrams]));
  const lost = [...services.keys()].filter((mark) => !known.has(mark)).map((mark): [Ipv4, Marks] => [orphan(mark), { streams: mark }]);
  return new Map([...marks, ...lost]);
}

export function entriesOf(tables: IpvsTables, drainingMs: (key: string) => number): [string, SeenEntry][] {
  return [...withOrphans(tables)].flatMap(([vip, { streams, datagrams, closed = false }]): [string, SeenEntry][] => {
    const main = tables.services.get(streams ?? -1);
    const side = tables.services.get(datagrams ?? -1);
    const addresses = [...new Set([...main?.servers.keys() ?? [], ...side?.servers.keys() ?? []])];
    const fault = serviceFault(main, side, closed);
    return [
      [serviceKey(vip), {
        kind: "service", vip, scheduler: main?.scheduler as Scheduler | undefined, affinitySeconds: main?.affinitySeconds ?? 0, ...(fault === undefined ? {} : { fault }),
      }],
      ...addresses.map((address): [string, SeenServer] => [serverKey(vip, address), seenServer(vip, address, main?.servers.get(address), side?.servers.get(address), drainingMs)]),
    ];
  });
}

function serviceFault(main: IpvsService | undefined, side: IpvsService | undefined, closed: boolean): string | undefined {
  if (main === undefined || side === undefined) return "it was made by half";
  const ready = [...main.servers.values()].some(({ weight }) => weight > 0);
  if (closed === ready) return ready ? "it is closed, and has servers" : "it is open, and has no server";
  return main.scheduler === side.scheduler && main.affinitySeconds === side.affinitySeconds ? undefined : "its UDP service differs";
}

function seenServer(vip: Ipv4, address: Ipv4, main: IpvsServer | undefined, side: IpvsServer | undefined, drainingMs: (key: string) => number): SeenServer {
  const weight: Server["weight"] = main !== undefined && main.weight > 0 ? 1 : 0;
  const fault = serverFault(main, side);
  return {
    kind: "server", vip, address, weight, connections: main?.connections ?? 0, drainingMs: weight === 0 ? drainingMs(serverKey(vip, address)) : 0,
    ...(fault === undefined ? {} : { fault }),
  };
}

function serverFault(main: IpvsServer | undefined, side: IpvsServer | undefined): string | undefined {
  if ([main, side].some((server) => server !== undefined && server.forward !== MASQUERADE)) return "it is not reached by address translation";
  if (main === undefined || main.weight > 1) return "its weight was changed";
  if (main.weight === 0) return side === undefined ? undefined : "datagrams may still go there";
  return side?.weight === 1 ? undefined : "its UDP side differs";
}

/** Servers by mark, with their weights: as they are, then as the lines leave them. */
type Standing = Map<number, Map<Ipv4, number>>;

/** Lines for nft (what goes before what comes) and for ipvsadm, in the order of the changes. */
export function renderIpvs(tables: IpvsTables, changes: readonly BalancerChange[], range: MarkRange): { readonly nft: string; readonly ipvsadm: string } {
  const marks = new Map(withOrphans(tables));
  const free = freePairs(new Set([...tables.services.keys(), ...[...marks.values()].flatMap(({ streams, datagrams }) => [streams, datagrams])]), range);
  const there: Standing = new Map([...tables.services].map(([mark, { servers }]) => [mark, new Map([...servers].map(([address, { weight }]) => [address, weight]))]));
  const nft: string[] = [];
  const lines: string[] = [];
  for (const { op, entry } of changes) {
    if (entry.kind === "service" && op === "delete") {
      const { streams, datagrams } = marks.get(entry.vip) ?? {};
      if (tables.marks.has(entry.vip)) nft.push(...elements("delete", entry.vip, { streams, datagrams }));
      for (const mark of [streams, datagrams]) if (mark !== undefined && there.delete(mark)) lines.push(serviceEnd(mark));
      marks.delete(entry.vip);
      continue;
    }
    const known = marks.get(entry.vip);
    const pair = whole(ours(known, range), free);
    if (entry.kind === "service") {
      nft.push(...elements("delete", entry.vip, foreign(known, range)), ...elements("add", entry.vip, missing(pair, ours(known, range))));
      for (const mark of pair) lines.push(serviceLine(there.has(mark) ? "-E" : "-A", mark, entry.scheduler, entry.affinitySeconds));
      for (const mark of pair) if (!there.has(mark)) there.set(mark, new Map());
      marks.set(entry.vip, { streams: pair[0], datagrams: pair[1] });
    } else lines.push(...serverLines(op === "delete" ? "out" : entry.weight, entry.address, pair, there));
  }
  nft.push(...[...new Set(changes.map(({ entry }) => entry.vip))].flatMap((vip) => doors(vip, tables.marks.get(vip)?.closed === true, marks.get(vip), there)));
  return { nft: [...nft.filter((line) => line.startsWith("delete")), ...nft.filter((line) => line.startsWith("add"))].join(""), ipvsadm: lines.join("") };
}

/** Closed before its last server stops, open before its first one comes. */
function doors(vip: Ipv4, closed: boolean, marks: Marks | undefined, there: Standing): string[] {
  const close = marks !== undefined && ![...there.get(marks.streams ?? -1)?.values() ?? []].some((weight) => weight > 0);
  return close === closed ? [] : [`${close ? "add" : "delete"} element ip ${VIP_TABLE} ${CLOSED} { ${vip} }\n`];
}

/** A mark that somebody changed to one outside of our range would pass the guards. */
const inside = (mark: number | undefined, { first, last }: MarkRange): boolean => mark !== undefined && mark >= first && mark <= last;
const ours = (known: Marks | undefined, range: MarkRange): Marks =>
  ({ streams: inside(known?.streams, range) ? known?.streams : undefined, datagrams: inside(known?.datagrams, range) ? known?.datagrams : undefined });
const foreign = (known: Marks | undefined, range: MarkRange): Marks =>
  ({ streams: inside(known?.streams, range) ? undefined : known?.streams, datagrams: inside(known?.datagrams, range) ? undefined : known?.datagrams });

type Pair = readonly [streams: number, datagrams: number];

function serverLines(wish: 0 | 1 | "out", address: Ipv4, [streams, datagrams]: Pair, there: Standing): string[] {
  const put = (mark: number, weight: number): string => {
    const known = there.get(mark)?.has(address) === true;
    there.get(mark)?.set(address, weight);
    return serverLine(known ? "-e" : "-a", mark, address, weight);
  };
  const end = (mark: number): string[] => (there.get(mark)?.delete(address) === true ? [serverEnd(mark, address)] : []);
  if (wish === "out") return [...end(datagrams), ...end(streams)];
  return wish === 1 ? [put(streams, 1), put(datagrams, 1)] : [put(streams, 0), ...end(datagrams)];
}

function whole(known: Marks | undefined, free: Iterator<Pair>): Pair {
  if (known?.streams !== undefined && known.datagrams !== undefined) return [known.streams, known.datagrams];
  const fresh = free.next();
  if (fresh.done === true) throw new RangeError("no mark is left");
  return [known?.streams ?? fresh.value[0], known?.datagrams ?? fresh.value[1]];
}

function* freePairs(used: ReadonlySet<number | undefined>, { first, last }: MarkRange): Generator<Pair> {
  for (let mark = first; mark + 1 <= last; mark += 2) if (!used.has(mark) && !used.has(mark + 1)) yield [mark, mark + 1];
}

const missing = ([streams, datagrams]: Pair, known: Marks | undefined): Marks =>
  ({ streams: known?.streams === undefined ? streams : undefined, datagrams: known?.datagrams === undefined ? datagrams : undefined });

function elements(verb: "add" | "delete", vip: Ipv4, { streams, datagrams }: Marks): string[] {
  const one = (map: string, mark: number | undefined): string[] =>
    (mark === undefined ? [] : [`${verb} element ip ${VIP_TABLE} ${map} { ${vip} : ${mark} }\n`]);
  return [...one(VIPS, streams), ...one(DATAGRAMS, datagrams)];
}
