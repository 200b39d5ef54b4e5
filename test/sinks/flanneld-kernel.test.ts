/** flanneld's kernel half: what iproute2 shows is read, what is written is what flanneld would write. */
import { describe, expect, it } from "@jest/globals";
import { readFileSync } from "node:fs";
import type { Cidr, FlannelId, Ipv4, Mac, Vni } from "../../src/core/ids.ts";
import { directPeers, parseDevices, parseRows, peersOn, type SeenDevice } from "../../src/sinks/flanneld/kernel-rows.ts";
import { isOurs, remakeReason, renderDevice, renderPeer, renderRemoval } from "../../src/sinks/flanneld/render.ts";
import { parseSubnetFile } from "../../src/sinks/flanneld/subnet-file.ts";
import type { FlanneldSpec, VxlanDevice } from "../../src/sinks/flanneld.ts";

const golden = (name: string): string => readFileSync(new URL(`../golden/iproute2-6.1/${name}`, import.meta.url), "utf8");
const rows = parseRows(golden("vxlan-rows.ndjson"), golden("vxlan-fdb.json"));

const SPEC: FlanneldSpec = {
  flannelId: "web" as FlannelId, vni: 6_501 as Vni, subnet: "10.101.11.0/24" as Cidr, network: "10.101.0.0/16" as Cidr, publicIp: "10.99.0.11" as Ipv4,
  link: "eth0", mtuBytes: 1_500, backendType: "vxlan", mac: "0e:00:00:00:00:01" as Mac, extraFlags: [],
};
const DEVICE: VxlanDevice = {
  ifindex: 3, mac: SPEC.mac, mtuBytes: 1_450, vni: SPEC.vni, up: true, addresses: ["10.101.11.0/32"], local: SPEC.publicIp, port: 8_472,
  link: "eth0", gbp: false, learning: false,
};
const seen = (device: Partial<VxlanDevice> = {}, owner: string | undefined = "web"): SeenDevice =>
  ({ name: "flannel.6501", device: { ...DEVICE, ...device }, ...(owner === undefined ? {} : { owner: owner as FlannelId }) });

describe("reading", () => {
  it("finds devices with their owner", () => {
    expect(rows.devices).toEqual([
      { name: "flannel.6501", owner: "web", device: DEVICE },
      { name: "flannel.1", device: { ...DEVICE, ifindex: 4, mac: "0e:00:00:00:00:02", vni: 1, up: false, addresses: [], port: 8_999, gbp: true, learning: true,
        mtuBytes: expect.any(Number) } },
    ]);
  });

  it("finds the same devices where they alone are listed", () => {
    expect(parseDevices(golden("vxlan-rows.ndjson").split("\n", 1).join(""))).toEqual(rows.devices);
    expect(parseDevices("[]\n")).toEqual([]);
    for (const text of ["", "[]\n[]\n", "{"]) expect(() => parseDevices(text)).toThrow(SyntaxError);
  });

  it("joins whole peers and names what is left over", () => {
    expect(peersOn("flannel.6501", rows)).toEqual({
      peers: [{ subnet: "10.101.12.0/24", publicIp: "10.99.0.12", mac: "0e:00:00:00:00:12" }],
      remains: [
        { subnet: "10.101.13.0/24", gateway: "10.101.13.0" }, { gateway: "10.101.14.0", mac: "0e:00:00:00:00:14", publicIp: "10.99.0.14" },
        { mac: "0e:00:00:00:00:15", publicIp: "10.99.0.15" },
      ],
    });
    expect(peersOn("flannel.1", rows)).toEqual({ peers: [], remains: [] });
  });

  it("finds direct routes of one network only", () => {
    expect(directPeers(SPEC.network, rows)).toEqual([{ peer: { subnet: "10.101.16.0/24", publicIp: "10.99.0.16" }, dev: "eth0" }]);
  });

  it("takes an empty namespace for empty and anything else for an error", () => {
    expect(parseRows("[]\n[]\n[]\n", "[]\n").devices).toEqual([]);
    expect(parseRows("[{}]\n[{}]\n[{}]\n", "").devices).toEqual([]);
    expect(() => parseRows("[]\n[]\n", "[]")).toThrow(SyntaxError);
    expect(() => parseRows("", "")).toThrow(SyntaxError);
  });

  it("reads a subnet file, or nothing out of a damaged one", () => {
    expect(parseSubnetFile("FLANNEL_NETWORK=10.101.0.0/16\nFLANNEL_SUBNET=10.101.11.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"))
      .toEqual({ network: "10.101.0.0/16", subnet: "10.101.11.0/24", mtuBytes: 1_450 });
    for (const text of ["", "FLANNEL_NETWORK=x\n", "FLANNEL_NETWORK=10.101.0.0/16\nFLANNEL_SUBNET=10.101.11.1/24\nFLANNEL_MTU=\n"]) {
      expect(parseSubnetFile(text)).toBeUndefined();
    }
  });
});

describe("device", () => {
  const CREATE = "link add flannel.6501 address 0e:00:00:00:00:01 mtu 1450 type vxlan id 6501 dev eth0 local 10.99.0.11 dstport 8472 nolearning ttl auto";
  const FRESH = [CREATE, "link set flannel.6501 alias flannel-np:web", "address add 10.101.11.0/32 dev flannel.6501", "link set flannel.6501 up"];

  it("is made as flanneld would", () => {
    expect(renderDevice(SPEC, undefined)).toEqual(FRESH);
    expect(renderDevice({ ...SPEC, gbp: true, learning: true, port: 9_000 }, undefined)[0]).toMatch(/dstport 9000 learning ttl auto gbp$/);
  });

  it("is left alone when it is as wanted", () => expect(renderDevice(SPEC, seen())).toEqual([]));

  it.each<[Partial<VxlanDevice>, string]>([
    [{ mac: "0e:00:00:00:00:99" as Mac }, "link set flannel.6501 address 0e:00:00:00:00:01"], [{ mtuBytes: 1_300 }, "link set flannel.6501 mtu 1450"],
    [{ up: false }, "link set flannel.6501 up"], [{ addresses: ["10.101.9.0/32"] }, "address add 10.101.11.0/32 dev flannel.6501"],
  ])("is mended in place: %j", (fault, line) => {
    expect(remakeReason(SPEC, { ...DEVICE, ...fault })).toBeUndefined();
    expect(renderDevice(SPEC, seen(fault))).toEqual([line]);
  });

  it.each<[Partial<VxlanDevice>]>([
    [{ vni: 5 as Vni }], [{ link: "eth1" }], [{ local: "10.99.0.9" as Ipv4 }], [{ port: 4_789 }], [{ gbp: true }], [{ learning: true }],
  ])("is made anew: %j", (fault) => {
    expect(remakeReason(SPEC, { ...DEVICE, ...fault })).toBeDefined();
    expect(renderDevice(SPEC, seen(fault))).toEqual(["link del flannel.6501", ...FRESH]);
  });

  it("is ours by its alias, or when flanneld made it in our place", () => {
    expect(isOurs(SPEC, seen())).toBe(true);
    expect(isOurs(SPEC, seen({}, "other"))).toBe(false);
    const bare = (device: Partial<VxlanDevice>): SeenDevice => ({ name: "flannel.6501", device: { ...DEVICE, ...device } });
    expect(isOurs(SPEC, bare({ local: "10.99.0.7" as Ipv4 }))).toBe(true);
    expect(isOurs(SPEC, bare({ addresses: [] }))).toBe(true);
    expect(isOurs(SPEC, bare({ addresses: ["10.244.0.0/32"] }))).toBe(false);
    expect(isOurs(SPEC, bare({ addresses: [], local: "10.99.0.7" as Ipv4 }))).toBe(false);
    expect(renderDevice(SPEC, bare({}))).toEqual(["link set flannel.6501 alias flannel-np:web"]);
  });
});

describe("peers", () => {
  const peer = { subnet: "10.101.12.0/24" as Cidr, publicIp: "10.99.0.12" as Ipv4, mac: "0e:00:00:00:00:12" as Mac };

  it("are written with all three rows, the route last", () => {
    expect(renderPeer(SPEC.vni, peer, "eth0")).toEqual({
      neighbours: ["neighbour replace 10.101.12.0 lladdr 0e:00:00:00:00:12 dev flannel.6501 nud permanent"],
      forwards: ["fdb replace 0e:00:00:00:00:12 dev flannel.6501 dst 10.99.0.12 self permanent"],
      routes: ["route replace 10.101.12.0/24 via 10.101.12.0 dev flannel.6501 onlink"],
    });
    expect(renderPeer(SPEC.vni, { subnet: peer.subnet, publicIp: peer.publicIp }, "eth0").routes).toEqual(["route replace 10.101.12.0/24 via 10.99.0.12 dev eth0"]);
  });

  it("are removed with what there is of them", () => {
    expect(renderRemoval(SPEC.vni, peer)).toEqual({
      neighbours: ["neighbour del 10.101.12.0 dev flannel.6501"], forwards: ["fdb del 0e:00:00:00:00:12 dev flannel.6501 dst 10.99.0.12 self"],
      routes: ["route del 10.101.12.0/24 dev flannel.6501"],
    });
    expect(renderRemoval(SPEC.vni, { mac: peer.mac, publicIp: peer.publicIp })).toMatchObject({ neighbours: [], routes: [] });
    expect(renderRemoval(SPEC.vni, { subnet: peer.subnet, gateway: "10.101.12.0" as Ipv4 })).toMatchObject({ forwards: [] });
    expect(renderRemoval(SPEC.vni, { subnet: peer.subnet, publicIp: peer.publicIp })).toEqual({ neighbours: [], forwards: [], routes: ["route del 10.101.12.0/24 via 10.99.0.12"] });
  });
});
