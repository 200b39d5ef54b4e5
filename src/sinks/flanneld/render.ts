/**
 * Writes to the kernel as batches of `ip` and `bridge`, exactly what flanneld itself would write (v0.28.9).
 *
 * In:  a spec and the device as it is; a peer.  Out: lines for `ip -batch -` and `bridge -batch -`.
 * Rule: pure. A device that flanneld can adopt is kept: nothing that a peer knows of it (MAC, address) changes.
 */
import { baseOf, contains, parseIpv4, type Vni } from "../../core/ids.ts";
import { vxlanLink } from "../../core/names.ts";
import { aliasOf, type SeenDevice } from "./kernel-rows.ts";
import type { FlanneldSpec, Peer, PeerRemains, VxlanDevice } from "./vocabulary.ts";

/** Outer Ethernet, IPv4, UDP and VXLAN header. */
const VXLAN_OVERHEAD_BYTES = 50;
/** The kernel's default, kept by flannel; the IANA port 4789 is Swarm's own overlay's. */
const DEFAULT_PORT = 8472;

export const deviceMtu = (spec: FlanneldSpec): number => spec.mtuBytes - VXLAN_OVERHEAD_BYTES;
const ownAddress = (spec: FlanneldSpec): string => `${baseOf(spec.subnet)}/32`;

/** What cannot be changed on a device that exists; flanneld compares the same, but for learning. */
export function remakeReason(spec: FlanneldSpec, device: VxlanDevice): string | undefined {
  if (device.vni !== spec.vni) return `VNI ${device.vni}, not ${spec.vni}`;
  if (device.link !== spec.link) return `underlay ${device.link ?? "gone"}, not ${spec.link}`;
  if (device.local !== spec.publicIp) return `source ${device.local ?? "any"}, not ${spec.publicIp}`;
  if (device.port !== (spec.port ?? DEFAULT_PORT)) return `port ${device.port}, not ${spec.port ?? DEFAULT_PORT}`;
  if (device.gbp !== (spec.gbp ?? false)) return "group policy differs";
  return device.learning === (spec.learning ?? false) ? undefined : "learning differs";
}

/**
 * A device without our alias may be flanneld's second try after somebody deleted ours (its source may then be another address
 * of the underlay); any other is a stranger's.
 */
export function isOurs(spec: FlanneldSpec, { owner, device }: SeenDevice): boolean {
  if (owner !== undefined) return owner === spec.flannelId;
  const inside = device.addresses.every((address) => {
    const ip = parseIpv4(address.split("/")[0] ?? "");
    return ip !== undefined && contains(spec.network, ip);
  });
  return device.vni === spec.vni && inside && (device.addresses.length > 0 || device.local === spec.publicIp);
}

/** Lines that turn what is into what is wanted; none when it is already so. Without -force: the first failure counts. */
export function renderDevice(spec: FlanneldSpec, seen: SeenDevice | undefined): string[] {
  const name = vxlanLink(spec.vni);
  const remake = seen !== undefined && remakeReason(spec, seen.device) !== undefined;
  const lines = remake ? [`link del ${name}`] : [];
  const kept = remake ? undefined : seen;
  if (kept === undefined) lines.push(renderCreate(spec));
  else {
    if (kept.device.mac !== spec.mac) lines.push(`link set ${name} address ${spec.mac}`);
    if (kept.device.mtuBytes !== deviceMtu(spec)) lines.push(`link set ${name} mtu ${deviceMtu(spec)}`);
  }
  if (kept?.owner !== spec.flannelId) lines.push(`link set ${name} alias ${aliasOf(spec.flannelId)}`);
  if (!(kept?.device.addresses.includes(ownAddress(spec)) ?? false)) lines.push(`address add ${ownAddress(spec)} dev ${name}`);
  if (!(kept?.device.up ?? false)) lines.push(`link set ${name} up`);
  return lines;
}

function renderCreate(spec: FlanneldSpec): string {
  const learning = spec.learning === true ? "learning" : "nolearning";
  const gbp = spec.gbp === true ? " gbp" : "";
  return `link add ${vxlanLink(spec.vni)} address ${spec.mac} mtu ${deviceMtu(spec)} type vxlan id ${spec.vni} dev ${spec.link}` +
    ` local ${spec.publicIp} dstport ${spec.port ?? DEFAULT_PORT} ${learning} ttl auto${gbp}`;
}

/** Three batches, in flanneld's order: a route comes last, when the way behind it is complete. */
export interface PeerBatches { readonly neighbours: string[]; readonly forwards: string[]; readonly routes: string[] }

export function renderPeer(vni: Vni, peer: Peer, link: string): PeerBatches {
  if (peer.mac === undefined) return { neighbours: [], forwards: [], routes: [`route replace ${peer.subnet} via ${peer.publicIp} dev ${link}`] };
  const dev = vxlanLink(vni);
  const gateway = baseOf(peer.subnet);
  return {
    neighbours: [`neighbour replace ${gateway} lladdr ${peer.mac} dev ${dev} nud permanent`],
    forwards: [`fdb replace ${peer.mac} dev ${dev} dst ${peer.publicIp} self permanent`],
    routes: [`route replace ${peer.subnet} via ${gateway} dev ${dev} onlink`],
  };
}

/** The same three, to be run in reverse order. */
export function renderRemoval(vni: Vni, rows: Peer | PeerRemains): PeerBatches {
  const dev = vxlanLink(vni);
  const direct = rows.mac === undefined && rows.publicIp !== undefined && rows.subnet !== undefined;
  if (direct) return { neighbours: [], forwards: [], routes: [`route del ${rows.subnet} via ${rows.publicIp}`] };
  const gateway = "gateway" in rows ? rows.gateway : rows.subnet === undefined ? undefined : baseOf(rows.subnet);
  return {
    neighbours: gateway === undefined ? [] : [`neighbour del ${gateway} dev ${dev}`],
    forwards: rows.mac === undefined || rows.publicIp === undefined ? [] : [`fdb del ${rows.mac} dev ${dev} dst ${rows.publicIp} self`],
    routes: rows.subnet === undefined ? [] : [`route del ${rows.subnet} dev ${dev}`],
  };
}
