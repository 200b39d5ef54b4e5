/**
 * What the kernel shows of all our vxlan devices, in two commands for any number of networks.
 *
 * In:  JSON of `ip` (addresses, routes, neighbours) and `bridge` (fdb), iproute2 6.1.
 * Out: devices with their owner, and per device the rows that make up peers.
 * Rule: pure; rows of other devices are not looked at, what cannot be parsed is not ours.
 */
import { parseCidr, parseIpv4, parseMac, within, type Cidr, type FlannelId, type Ipv4, type Mac, type Vni } from "../../core/ids.ts";
import type { Peer, PeerRemains, VxlanDevice } from "./vocabulary.ts";

/** The alias of a device of ours names its network, so that the next process finds it. */
const ALIAS = "flannel-np:";
export const aliasOf = (flannelId: FlannelId): string => `${ALIAS}${flannelId}`;

export interface SeenDevice { readonly name: string; readonly owner?: FlannelId; readonly device: VxlanDevice }
export interface Route { readonly subnet: Cidr; readonly gateway: Ipv4; readonly dev: string }
export interface Neighbour { readonly gateway: Ipv4; readonly mac: Mac; readonly dev: string }
export interface Forward { readonly mac: Mac; readonly publicIp: Ipv4; readonly dev: string }
type ByDevice<R> = ReadonlyMap<string, readonly R[]>;
/** Rows by the name of their device. */
export interface KernelRows {
  readonly devices: readonly SeenDevice[];
  readonly routes: ByDevice<Route>;
  readonly neighbours: ByDevice<Neighbour>;
  readonly forwards: ByDevice<Forward>;
}

type Json = Readonly<Record<string, unknown>>;
const objects = (value: unknown): readonly Json[] =>
  Array.isArray(value) ? value.filter((entry): entry is Json => typeof entry === "object" && entry !== null) : [];
const object = (value: unknown): Json => (typeof value === "object" && value !== null ? value as Json : {});
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number => (typeof value === "number" ? value : 0);

/** `ip -json -details -batch` prints one document per command and line. Throws SyntaxError on anything else. */
export function parseRows(ipOutput: string, bridgeOutput: string): KernelRows {
  const documents = ipOutput.split("\n").filter((line) => line.trim() !== "").map((line) => JSON.parse(line) as unknown);
  if (documents.length !== 3) throw new SyntaxError(`expected 3 documents from ip, got ${documents.length}`);
  const [links, routes, neighbours] = documents;
  return {
    devices: objects(links).flatMap(deviceOf),
    routes: byDevice(objects(routes).flatMap(routeOf)),
    neighbours: byDevice(objects(neighbours).flatMap(neighbourOf)),
    forwards: byDevice(objects(bridgeOutput.trim() === "" ? [] : JSON.parse(bridgeOutput) as unknown).flatMap(forwardOf)),
  };
}

/** The devices alone, of the one document that lists them. Throws SyntaxError on anything else. */
export function parseDevices(ipOutput: string): readonly SeenDevice[] {
  const documents = ipOutput.split("\n").filter((line) => line.trim() !== "");
  if (documents.length !== 1) throw new SyntaxError(`expected 1 document from ip, got ${documents.length}`);
  return objects(JSON.parse(documents[0] ?? "")).flatMap(deviceOf);
}

function byDevice<R extends { readonly dev: string }>(rows: readonly R[]): ByDevice<R> {
  const groups = new Map<string, R[]>();
  for (const row of rows) {
    const group = groups.get(row.dev);
    if (group === undefined) groups.set(row.dev, [row]);
    else group.push(row);
  }
  return groups;
}

function deviceOf(link: Json): SeenDevice[] {
  const info = object(link["linkinfo"]);
  const data = object(info["info_data"]);
  const mac = parseMac(text(link["address"]));
  if (info["info_kind"] !== "vxlan" || mac === undefined || typeof link["ifname"] !== "string") return [];
  const local = parseIpv4(text(data["local"]));
  const alias = text(link["ifalias"]);
  const flags = Array.isArray(link["flags"]) ? link["flags"] : [];
  const device: VxlanDevice = {
    ifindex: number(link["ifindex"]), mac, mtuBytes: number(link["mtu"]), vni: number(data["id"]) as Vni, up: flags.includes("UP"),
    addresses: objects(link["addr_info"]).filter((a) => a["family"] === "inet").map((a) => `${text(a["local"])}/${number(a["prefixlen"])}`),
    port: number(data["port"]), gbp: data["gbp"] !== undefined && data["gbp"] !== false, learning: data["learning"] === true,
    ...(local === undefined ? {} : { local }),
    ...(typeof data["link"] === "string" ? { link: data["link"] } : {}),
  };
  return [{ name: link["ifname"], device, ...(alias.startsWith(ALIAS) ? { owner: alias.slice(ALIAS.length) as FlannelId } : {}) }];
}

function routeOf(route: Json): Route[] {
  const destination = text(route["dst"]);
  const subnet = parseCidr(destination.includes("/") ? destination : `${destination}/32`);
  const gateway = parseIpv4(text(route["gateway"]));
  return subnet === undefined || gateway === undefined ? [] : [{ subnet, gateway, dev: text(route["dev"]) }];
}

function neighbourOf(row: Json): Neighbour[] {
  const gateway = parseIpv4(text(row["dst"]));
  const mac = parseMac(text(row["lladdr"]));
  return gateway === undefined || mac === undefined ? [] : [{ gateway, mac, dev: text(row["dev"]) }];
}

function forwardOf(row: Json): Forward[] {
  const publicIp = parseIpv4(text(row["dst"]));
  const mac = parseMac(text(row["mac"]));
  return publicIp === undefined || mac === undefined ? [] : [{ mac, publicIp, dev: text(row["ifname"]) }];
}

/** Joins the rows of one device: route → neighbour of its gateway → fdb entry of that MAC; the rest are remains. */
export function peersOn(dev: string, rows: KernelRows): { readonly peers: readonly Peer[]; readonly remains: readonly PeerRemains[] } {
  const neighbours = new Map((rows.neighbours.get(dev) ?? []).map((row) => [row.gateway, row.mac]));
  const forwards = new Map<Mac, Ipv4[]>();
  for (const { mac, publicIp } of rows.forwards.get(dev) ?? []) forwards.set(mac, [...forwards.get(mac) ?? [], publicIp]);
  const peers: Peer[] = [];
  const remains: PeerRemains[] = [];
  for (const { subnet, gateway } of rows.routes.get(dev) ?? []) {
    const mac = neighbours.get(gateway);
    neighbours.delete(gateway);
    const publicIp = mac === undefined ? undefined : forwards.get(mac)?.shift();
    if (mac !== undefined && publicIp !== undefined) peers.push({ subnet, publicIp, mac });
    else remains.push(mac === undefined ? { subnet, gateway } : { subnet, gateway, mac });
  }
  for (const [gateway, mac] of neighbours) {
    const publicIp = forwards.get(mac)?.shift();
    remains.push(publicIp === undefined ? { gateway, mac } : { gateway, mac, publicIp });
  }
  for (const [mac, targets] of forwards) for (const publicIp of targets) remains.push({ mac, publicIp });
  return { peers, remains };
}

/** Peers that are reached without a tunnel (host-gw, or vxlan's DirectRouting): routes into the network on other links. */
export function directPeers(network: Cidr, rows: KernelRows): { readonly peer: Peer; readonly dev: string }[] {
  const tunnels = new Set(rows.devices.map(({ name }) => name));
  const found: { peer: Peer; dev: string }[] = [];
  for (const [dev, routes] of rows.routes) {
    if (tunnels.has(dev)) continue;
    for (const { subnet, gateway } of routes) if (within(network, subnet)) found.push({ peer: { subnet, publicIp: gateway }, dev });
  }
  return found;
}
