/**
 * Keeps one flanneld per carried network, its device as wanted, and other nodes' rows on it until flanneld does so itself.
 *
 * In:  snapshot: pools, leases (own and peers'), underlay; the user's flags.
 * Out: FlanneldChange[] for sinks/flanneld.ts; key = flannel-id, for a peer `<flannel-id>/<subnet>`.
 * Rule: restarting a flanneld loses no packet (flannel.md §1.5), so whatever looks wrong is mended by a restart.
 */
import { carriedNetworks, carriedSettled, leasesByNetwork, type CarriedNetwork } from "../core/select.ts";
import { vtepMac } from "../core/names.ts";
import type { FlannelId } from "../core/ids.ts";
import type { SubnetLease } from "../core/model.ts";
import { diff, withhold } from "../core/plan.ts";
import type { Reconciler } from "../core/reconciler.ts";
import type { FlanneldChange, FlanneldSpec, FlanneldTable, ObservedFlanneld, Peer, PeerRemains } from "../sinks/flanneld.ts";

export interface WantedFlannel {
  readonly spec: FlanneldSpec;
  /** Other nodes with a completed lease. */
  readonly peers: readonly Peer[];
  /** Subnets of all leases, completed or not: flanneld may know a peer's MAC before we do, its rows stay. */
  readonly leased: ReadonlySet<string>;
  /** False while not all leases are listed: rows may be added, none removed. */
  readonly peersKnown: boolean;
  /** flannel's DirectRouting: which peers get rows and which a route on the underlay is flanneld's to decide. */
  readonly direct: boolean;
}
type Wanted = ReadonlyMap<FlannelId, WantedFlannel>;

export const flannelWith = (extraFlags: readonly string[]): Reconciler<Wanted, FlanneldTable, FlanneldChange> => ({
  name: "flannel",
  desire(snapshot) {
    const carried = carriedNetworks(snapshot);
    const leases = leasesByNetwork(snapshot);
    const wanted = new Map(carried.map((network) => {
      const all = leases.get(network.pool.flannelId) ?? [];
      return [network.pool.flannelId, {
        spec: specOf(network, extraFlags), peers: peersOf(all, network), peersKnown: snapshot.subnets.settled,
        leased: new Set<string>(all.map(({ subnet }) => subnet)), direct: network.pool.backend?.["DirectRouting"] === true,
      }];
    }));
    return { value: wanted, settled: carriedSettled(snapshot, carried), blocked: [] };
  },
  plan(desired, observed) {
    const { create, update, remove } = diff(desired.value, observed, (want, is) => fault(want.spec, is) === undefined);
    const changes: FlanneldChange[] = [
      ...remove.map(([key]): FlanneldChange => ({ op: "delete", kind: "network", key, flannelId: key as FlannelId, why: "its network is not carried here" })),
      ...create.map(([key, { spec }]): FlanneldChange => ({ op: "create", kind: "network", key, spec, why: "missing" })),
      ...update.map(([key, { spec }, is]): FlanneldChange => ({ op: "update", kind: "network", key, spec, why: fault(spec, is) ?? "" })),
      ...[...desired.value].flatMap(([id, want]) => peerChanges(id, want, observed.get(id))),
    ];
    return withhold(changes, desired.settled);
  },
});

function specOf({ pool, vni, lease, underlay }: CarriedNetwork, extraFlags: readonly string[]): FlanneldSpec {
  const backend = pool.backend ?? { Type: "vxlan" };
  const { MTU, Port, GBP, Learning } = backend;
  return {
    flannelId: pool.flannelId, vni, subnet: lease.subnet, network: pool.cidr, publicIp: lease.publicIp, link: underlay.link,
    mtuBytes: typeof MTU === "number" && MTU > 0 ? Math.min(MTU, underlay.mtuBytes) : underlay.mtuBytes,
    backendType: backend.Type.toLowerCase(), mac: vtepMac(lease.publicIp, vni), extraFlags,
    ...(typeof Port === "number" ? { port: Port } : {}), ...(GBP === true ? { gbp: true } : {}), ...(Learning === true ? { learning: true } : {}),
  };
}

const peersOf = (leases: readonly SubnetLease[], { lease }: CarriedNetwork): readonly Peer[] =>
  leases
    .filter((other) => other.publicIp !== lease.publicIp && other.vtepMac !== undefined)
    .map((other): Peer => ({ subnet: other.subnet, publicIp: other.publicIp, ...(other.vtepMac === undefined ? {} : { mac: other.vtepMac }) }))
    .sort((a, b) => a.subnet.localeCompare(b.subnet));

/** What is wrong with a network's process or device, in words. */
function fault(want: FlanneldSpec, { running, device, subnetFile }: ObservedFlanneld): string | undefined {
  if (running === undefined) return "no flanneld runs";
  if (running.complaint !== undefined) return `flanneld said: ${running.complaint}`;
  if (JSON.stringify(sorted(running.spec)) !== JSON.stringify(sorted(want))) return "its parameters changed";
  if (running.ready && subnetFile !== undefined && subnetFile.subnet !== want.subnet) return `it took subnet ${subnetFile.subnet}, not ${want.subnet}`;
  if (want.backendType !== "vxlan") return undefined;
  if (device === undefined) return "the vxlan device is gone";
  const address = `${want.subnet.slice(0, want.subnet.indexOf("/"))}/32`;
  if (!device.up) return "the vxlan device is down";
  if (device.mac !== want.mac) return `vtep mac ${device.mac} → ${want.mac}`;
  if (device.mtuBytes !== want.mtuBytes - 50) return `mtu ${device.mtuBytes} → ${want.mtuBytes - 50}`;
  return device.addresses.includes(address) ? undefined : `address ${address} is missing`;
}

const sorted = (spec: FlanneldSpec): unknown => Object.entries(spec).sort(([a], [b]) => a.localeCompare(b));

/**
 * Rows of peers: missing ones are written by us (flanneld repairs none that it once wrote), surplus ones are removed
 * (flanneld never collects what it left behind, flannel.md §1.7).
 */
function peerChanges(id: FlannelId, want: WantedFlannel, observed: ObservedFlanneld | undefined): readonly FlanneldChange[] {
  const { spec, peers, leased, peersKnown, direct } = want;
  if (direct || spec.backendType !== "vxlan") return [];
  const base = { kind: "peer", flannelId: id, vni: spec.vni } as const;
  const present = new Map((observed?.peers ?? []).map((peer) => [peer.subnet as string, peer]));
  const { create, update, remove } = diff(new Map(peers.map((peer) => [peer.subnet as string, peer])), present, samePeer);
  const write = (op: "create" | "update", peer: Peer, why: string): FlanneldChange => ({ ...base, op, key: `${id}/${peer.subnet}`, peer, link: spec.link, why });
  const drop = (rows: Peer | PeerRemains): FlanneldChange => ({ ...base, op: "delete", key: `${id}/${nameOf(rows)}`, rows, why: "no lease has it" });
  const surplus = peersKnown ? remove.filter(([subnet]) => !leased.has(subnet)).map(([, peer]) => peer) : [];
  const stray = peersKnown ? (observed?.remains ?? []).filter((rows) => !belongs(rows, peers) && !leased.has(rows.subnet ?? "")) : [];
  return [
    ...create.map(([, peer]) => write("create", peer, "missing")),
    ...update.map(([, peer]) => write("update", peer, "rows differ from the lease")),
    ...[...surplus, ...stray].map(drop),
  ];
}

const samePeer = (a: Peer, b: Peer): boolean => a.publicIp === b.publicIp && a.mac === b.mac;
const nameOf = (rows: Peer | PeerRemains): string => rows.subnet ?? rows.mac ?? ("gateway" in rows ? rows.gateway : undefined) ?? rows.publicIp ?? "rows";
/** Rows of a wanted peer are completed by a write, not taken away. */
const belongs = (rows: PeerRemains, peers: readonly Peer[]): boolean =>
  peers.some((peer) => peer.subnet === rows.subnet || (peer.mac === rows.mac && (rows.publicIp === undefined || peer.publicIp === rows.publicIp)));
