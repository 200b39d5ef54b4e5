/** Which networks this node carries, and whether all who could name another have spoken. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { carriedNetworks, carriedSettled, gatewayOf, inUseHere, mtuOf, ownLease, poolByCidr, poolByFlannelId, poolByNetwork } from "../../src/core/select.ts";
import { endpoint, flannelId, lease, MY_IP, networkId, pool, publicIp, range, snapshotOf, subnetOf, unbound, type World } from "../plan/builders.ts";
import { told, worlds } from "../plan/laws.ts";

const NET: World = { pools: { items: [pool(1)] }, subnets: { items: [lease(1, 2), lease(1, 1)] } };
/** Another node that said this node's address first. */
const RIVAL: World = { nodes: { items: [{ id: "node-z" as never, hostname: "box-z", publicIp: MY_IP, role: "worker" }] } };
const own = (world: World) => ownLease(snapshotOf({ ...NET, ...world }), pool(1))?.subnet;
const carried = (world: World) => carriedNetworks(snapshotOf({ ...NET, ...world })).map(({ network }) => network);

describe("this node's lease", () => {
  it.each<[string, World, string | undefined]>([
    ["is the one with its PublicIP", {}, subnetOf(1, 1)],
    ["of two the first in key order, as flannel takes it", { subnets: { items: [lease(1, 5, { publicIp: MY_IP }), lease(1, 3, { publicIp: MY_IP })] } }, subnetOf(1, 3)],
    ["is none of another network", { subnets: { items: [lease(2, 1)] } }, undefined],
    ["is none that does not fit the network", { subnets: { items: [lease(1, 1, { subnet: "10.1.0.0/24" as never })] } }, undefined],
    ["is none while the link is not known", { node: { underlay: undefined as never } }, undefined],
    ["is none while another node has this address: it would be that node's", RIVAL, undefined],
    ["without a key: what containers live in", { subnets: { items: [lease(1, 2)] }, endpoints: { items: [endpoint(1, 2)] } }, subnetOf(1, 1)],
    ["without a key: not what another node holds", { subnets: { items: [lease(1, 1, { publicIp: publicIp(2) })] }, endpoints: { items: [endpoint(1, 2)] } }, undefined],
    ["without a key: no part of the service range", { subnets: { items: [] }, endpoints: { items: [endpoint(1, 2, { address: "10.1.0.9" as never })] } }, undefined],
    ["without a key: no address of another network", { subnets: { items: [] }, endpoints: { items: [endpoint(2, 2)] } }, undefined],
  ])("%s", (_name, world, expected) => expect(own(world)).toBe(expected));
});

describe("carried networks", () => {
  it.each<[string, World, readonly string[]]>([
    ["leased and bound", {}, ["net-1"]],
    ["not bound yet", { pools: { items: [unbound(1)] } }, []],
    ["released and empty", { pools: { items: [pool(1, { releasedAtMs: 1 })] } }, []],
    ["released with a container still stopping", { pools: { items: [pool(1, { releasedAtMs: 1 })] }, endpoints: { items: [endpoint(1, 2)] } }, ["net-1"]],
    ["leased by others only", { subnets: { items: [lease(1, 2)] } }, []],
  ])("%s", (_name, world, expected) => expect(carried(world)).toEqual(expected));

  it("come in one order, however they were told", () => {
    fc.assert(fc.property(worlds, (world) => expect(carriedNetworks(snapshotOf(told(world)))).toEqual(carriedNetworks(snapshotOf(world)))));
  });

  it("lie apart: a gateway is in the node's subnet, the subnet beside the service range", () => {
    fc.assert(fc.property(worlds, (world) => {
      for (const { gateway, lease: { subnet }, network } of carriedNetworks(snapshotOf(world))) {
        expect(gateway).toBe(gatewayOf(subnet));
        expect(subnet).toBe(subnetOf(Number(network.slice(4)), 1));
      }
    }));
  });

  it.each<[string, World, boolean]>([
    ["all have listed", {}, true],
    ["pools have not", { pools: { items: [pool(1)], settled: false } }, false],
    ["leases have not", { subnets: { items: [lease(1)], settled: false } }, false],
    ["Docker has not", { endpoints: { items: [], settled: false } }, false],
    ["the link is not known", { node: { underlay: undefined as never } }, false],
    ["another node has this node's address", RIVAL, false],
    ["a container hangs on a network nobody else knows", { endpoints: { items: [endpoint(2, 2)] } }, false],
    ["every container's network is carried", { endpoints: { items: [endpoint(1, 2)] } }, true],
  ])("are settled when %s", (_name, world, expected) => {
    const snapshot = snapshotOf({ ...NET, ...world });
    expect(carriedSettled(snapshot, carriedNetworks(snapshot))).toBe(expected);
  });
});

it.each<[string, Readonly<Record<string, unknown>> | undefined, number]>([
  ["vxlan by default", undefined, 1450], ["vxlan", { Type: "vxlan" }, 1450], ["host-gw", { Type: "host-gw" }, 1500], ["a smaller MTU", { Type: "vxlan", MTU: 1400 }, 1350],
  ["a larger MTU than the link's", { Type: "vxlan", MTU: 9000 }, 1450], ["nonsense", { Type: "vxlan", MTU: "9000" }, 1450], ["a backend nobody here knows", { Type: "udp2" }, 1450],
])("container links' MTU: %s", (_name, backend, expected) => {
  expect(mtuOf(pool(1, { backend: backend as never }), { link: "eth0", address: MY_IP, mtuBytes: 1500 })).toBe(expected);
});

it("finds pools by any of their names, and who is on a network", () => {
  const snapshot = snapshotOf({ ...NET, endpoints: { items: [endpoint(1, 2)] } });
  expect([poolByCidr(snapshot, range(1)), poolByFlannelId(snapshot, flannelId(1)), poolByNetwork(snapshot, networkId(1))]).toEqual([pool(1), pool(1), pool(1)]);
  expect([poolByCidr(snapshot, range(2)), poolByFlannelId(snapshot, flannelId(2)), poolByNetwork(snapshot, networkId(2))]).toEqual([undefined, undefined, undefined]);
  expect([inUseHere(snapshot, networkId(1)), inUseHere(snapshot, networkId(2))]).toEqual([true, false]);
});
