/** Flannel: one flanneld per carried network, the device it adopts, rows of peers until it takes over. */
import { describe, expect, it } from "@jest/globals";
import type { FlannelId } from "../../src/core/ids.ts";
import { vtepMac } from "../../src/core/names.ts";
import { flannelWith } from "../../src/reconcilers/flannel.ts";
import type { FlanneldChange, FlanneldSpec, FlanneldTable, ObservedFlanneld, PeerRemains } from "../../src/sinks/flanneld.ts";
import { endpoint, flannelId, ip, lease, mac, MY_IP, network, pool, range, snapshotOf, subnetOf, type World } from "./builders.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const flannel = flannelWith(["-v=2"]);
const FRESH: ObservedFlanneld = { peers: [], remains: [] };

function carried(spec: FlanneldSpec, was: ObservedFlanneld = FRESH): ObservedFlanneld {
  const running = { pid: 7, startedAtMs: 0, spec, ready: true };
  if (spec.backendType !== "vxlan") return { ...was, running };
  const device = {
    ifindex: 3, mac: spec.mac, mtuBytes: spec.mtuBytes - 50, vni: spec.vni, up: true, addresses: [`${spec.subnet.split("/")[0] ?? ""}/32`],
    port: spec.port ?? 8472, gbp: spec.gbp ?? false, learning: spec.learning ?? false,
  };
  return was.device === undefined ? { running, device, peers: [], remains: [] } : { ...was, running, device };
}
const sameRows = (a: PeerRemains, b: PeerRemains): boolean => a.subnet === b.subnet && a.mac === b.mac && a.publicIp === b.publicIp;

function one(change: FlanneldChange, was: ObservedFlanneld | undefined): ObservedFlanneld | undefined {
  if (change.kind === "network") return change.op === "delete" ? undefined : carried(change.spec, was);
  if (was?.device === undefined) throw new Error(`${change.key}: rows are written on a device that is not there`);
  if (change.op === "delete") return { ...was, peers: was.peers.filter((peer) => !sameRows(peer, change.rows)), remains: was.remains.filter((rows) => !sameRows(rows, change.rows)) };
  return { ...was, peers: [...was.peers.filter(({ subnet }) => subnet !== change.peer.subnet), change.peer] };
}
const facility: Facility<FlanneldTable, FlanneldChange> = {
  empty: new Map(),
  apply(observed, changes) {
    const next = new Map(observed);
    for (const change of changes) {
      const id = change.kind === "network" && change.op !== "delete" ? change.spec.flannelId : change.flannelId;
      const is = one(change, next.get(id));
      if (is === undefined) next.delete(id);
      else next.set(id, is);
    }
    return next;
  },
  disturb: (observed, pick) => new Map([...observed].map(([id, is]): [FlannelId, ObservedFlanneld] => {
    const { running: _running, ...dead } = is;
    const { device: _device, ...bare } = is;
    const stranger = { subnet: subnetOf(9, 9), publicIp: ip("172.16.0.99"), mac: mac(9, 9) };
    return [id, [
      is, dead, { ...bare, peers: [], remains: [] }, { ...is, peers: [] }, { ...is, peers: [...is.peers, stranger] },
      { ...is, peers: is.peers.map((peer) => ({ ...peer, publicIp: ip("172.16.0.98") })) }, { ...is, remains: [{ mac: mac(8, 8), publicIp: ip("172.16.0.97") }] },
      ...(is.device === undefined ? [] : [{ ...is, device: { ...is.device, up: false } }, { ...is, device: { ...is.device, mac: mac(1, 9), addresses: [] } }]),
    ][pick(9)] ?? is];
  })),
  reversed: reversedMap,
};

const NET: World = { networks: { items: [network(1)] }, pools: { items: [pool(1)] }, subnets: { items: [lease(1, 1), lease(1, 2)] } };
const planOf = (world: World, observed: FlanneldTable = new Map()) => flannel.plan(flannel.desire(snapshotOf(world)), observed);
const standing = facility.apply(new Map(), planOf(NET).changes);
const id = flannelId(1);
const now = standing.get(id) ?? FRESH;
const shown = (world: World, is: ObservedFlanneld) => planOf(world, new Map([[id, is]]));

describe("flannel", () => {
  obeysTheLaws(flannel, facility);

  it("starts a flanneld with everything it needs, and writes the peers' rows at once", () => {
    expect(planOf(NET).changes).toEqual([
      { op: "create", kind: "network", key: id, why: "missing", spec: {
        flannelId: id, vni: 101, subnet: subnetOf(1, 1), network: range(1), publicIp: MY_IP, link: "eth0", mtuBytes: 1500, backendType: "vxlan",
        mac: vtepMac(MY_IP, 101 as never), extraFlags: ["-v=2"],
      } },
      { op: "create", kind: "peer", key: `${id}/${subnetOf(1, 2)}`, flannelId: id, vni: 101, link: "eth0", why: "missing",
        peer: { subnet: subnetOf(1, 2), publicIp: ip("172.16.0.2"), mac: mac(1, 2) } },
    ]);
  });

  it.each<[string, Readonly<Record<string, unknown>>, Partial<FlanneldSpec>]>([
    ["a smaller MTU than the underlay's", { MTU: 1400 }, { mtuBytes: 1400 }],
    ["a larger one is cut to the underlay's", { MTU: 9000 }, { mtuBytes: 1500 }],
    ["port, GBP, learning", { Port: 4789, GBP: true, Learning: true }, { port: 4789, gbp: true, learning: true }],
    ["flannel's spelling of the type", { Type: "VXLAN" }, { backendType: "vxlan" }],
  ])("takes from the network's backend: %s", (_name, backend, expected) => {
    expect(planOf({ ...NET, pools: { items: [pool(1, { backend: { Type: "vxlan", ...backend } })] } }).changes[0]).toMatchObject({ spec: expected });
  });

  it.each([[{ Type: "host-gw" }], [{ Type: "vxlan", DirectRouting: true }]])("leaves the rows to flanneld where it may route directly: %j", (backend) => {
    expect(planOf({ ...NET, pools: { items: [pool(1, { backend })] } }).changes.map(({ kind }) => kind)).toEqual(["network"]);
  });

  it.each<[string, ObservedFlanneld, string]>([
    ["no process", { ...now, running: undefined as never }, "no flanneld runs"],
    ["a complaint", { ...now, running: { ...(now.running as NonNullable<typeof now.running>), complaint: "lease lost" } }, "flanneld said: lease lost"],
    ["no device", { ...now, device: undefined as never }, "the vxlan device is gone"],
    ["a device that is down", { ...now, device: { ...(now.device as NonNullable<typeof now.device>), up: false } }, "the vxlan device is down"],
    ["another MTU", { ...now, device: { ...(now.device as NonNullable<typeof now.device>), mtuBytes: 1400 } }, "mtu 1400 → 1450"],
    ["no address", { ...now, device: { ...(now.device as NonNullable<typeof now.device>), addresses: [] } }, "address 10.1.4.0/32 is missing"],
  ])("restarts over %s", (_name, is, why) => expect(shown(NET, is).changes[0]).toMatchObject({ op: "update", kind: "network", key: id, why }));

  it("carries on while the key of its own lease is gone, as long as containers live in the subnet", () => {
    const world: World = { ...NET, subnets: { items: [lease(1, 2)] }, endpoints: { items: [endpoint(1, 2)] } };
    expect(planOf(world, standing)).toEqual({ changes: [], held: [] });
  });

  it("takes nothing away when an emptied etcd has forgotten a network that containers are on", () => {
    expect(planOf({ endpoints: { items: [endpoint(1, 2)] } }, standing)).toMatchObject({ changes: [], held: [{ op: "delete", key: id }] });
    expect(planOf({}, standing)).toMatchObject({ changes: [{ op: "delete", kind: "network", key: id }], held: [] });
  });

  it.each<[string, World, readonly string[]]>([
    ["leases are listed: surplus rows go", { ...NET, subnets: { items: [lease(1, 1)] } }, [`delete ${id}/${subnetOf(1, 2)}`, `delete ${id}/${mac(8, 8)}`]],
    ["leases are not listed: none goes", { ...NET, subnets: { items: [lease(1, 1)], settled: false } }, []],
    ["a peer's MAC changed: its rows are written anew", { ...NET, subnets: { items: [lease(1, 1), lease(1, 2, { vtepMac: mac(7, 7) })], settled: false } }, [`update ${id}/${subnetOf(1, 2)}`]],
    ["a peer has only reserved its subnet, but its flanneld told ours more: the rows stay", { ...NET, subnets: { items: [lease(1, 1), { flannelId: id, subnet: subnetOf(1, 2), publicIp: ip("172.16.0.2") }] } }, [`delete ${id}/${mac(8, 8)}`]],
    ["a peer has only reserved its subnet: no rows yet", { ...NET, subnets: { items: [lease(1, 1), lease(1, 2), { flannelId: id, subnet: subnetOf(1, 3), publicIp: ip("172.16.0.3") }], settled: false } }, []],
  ])("%s", (_name, world, expected) => {
    expect(shown(world, { ...now, remains: [{ mac: mac(8, 8) }] }).changes.map(({ op, key }) => `${op} ${key}`)).toEqual(expected);
  });

  it("removes no peer while leases are unlisted", () => {
    forAll(casesOf(flannel, facility), ({ world, plan }) => {
      if (world.subnets?.settled === false) expect([...plan.changes, ...plan.held].filter(({ kind, op }) => kind === "peer" && op === "delete")).toEqual([]);
    });
  });

  it("never removes rows of a peer that holds a lease, nor takes a carried network's device away", () => {
    forAll(casesOf(flannel, facility), ({ world, desired, plan }) => {
      const held = new Set(world.subnets?.items.map(({ flannelId: of, subnet }) => `${of}/${subnet}`));
      for (const change of plan.changes.filter(({ op }) => op === "delete")) {
        if (change.kind === "peer") expect(held.has(change.key)).toBe(false);
        else expect(desired.value.has(change.key as FlannelId)).toBe(false);
      }
    });
  });

  it("restarts nothing over a spec that only lists its fields in another order", () => {
    const running = now.running as NonNullable<typeof now.running>;
    const spec = Object.fromEntries(Object.entries(running.spec).reverse()) as unknown as FlanneldSpec;
    expect(shown(NET, { ...now, running: { ...running, spec } }).changes).toEqual([]);
  });
});
