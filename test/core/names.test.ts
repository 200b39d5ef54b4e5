/** Names are functions of identifiers: they fit, differ, never change between releases, and stay inside our prefix. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { fnv1a64 } from "../../src/core/hash.ts";
import type { Cidr, ContainerId, EndpointId, FlannelId, Ipv4, NetworkId, NodeId, ServiceId, TaskId, Vni } from "../../src/core/ids.ts";
import { parseMac } from "../../src/core/ids.ts";
import * as names from "../../src/core/names.ts";

const vni = fc.integer({ min: 1, max: 2 ** 24 - 1 }).map((n) => n as Vni);
const endpoint = fc.stringMatching(/^[0-9a-f]{64}$/).map((id) => id as EndpointId);
const one = "0123456789abcdef".repeat(4) as EndpointId;

describe("links", () => {
  it("fit into 15 bytes and hold nothing a shell or nft minds", () => fc.assert(fc.property(vni, endpoint, (v, e) => {
    for (const name of [names.vethHost(v, e), names.vethPeer(e), names.GATEWAY_LINK]) expect(name).toMatch(/^[a-z0-9-]{1,15}$/);
    expect(names.vxlanLink((v % 10_000_000) as Vni).length).toBeLessThanOrEqual(15);
  })));

  it("of a network share a start that no other network's have", () => fc.assert(fc.property(vni, vni, endpoint, (a, b, e) => {
    expect(names.vethHost(a, e).startsWith(names.vethPrefix(a))).toBe(true);
    expect(names.vethHost(b, e).startsWith(names.vethPrefix(a))).toBe(a === b);
  })));

  it("on the container's side never match our prefix", () => fc.assert(fc.property(endpoint, (e) => {
    expect(names.vethPeer(e).startsWith(names.LINK_PREFIX)).toBe(false);
  })));

  it("of a veth never are the gateway link", () => expect(names.GATEWAY_LINK.length).not.toBe(names.vethHost(1 as Vni, one).length));

  it("of many endpoints differ", () => {
    const many = Array.from({ length: 2000 }, (_, n) => names.vethHost(6514 as Vni, `${n}`.padStart(64, "0") as EndpointId));
    expect(new Set(many).size).toBe(many.length);
  });

  it("are what they were: an upgrade adopts what it finds", () => {
    expect([names.vethHost(6514 as Vni, one), names.vethPeer(one), names.vxlanLink(6514 as Vni)]).toMatchInlineSnapshot(`
[
  "fnp0050yuevhc91",
  "fnqleuiyuevhc91",
  "flannel.6514",
]
`);
  });
});

describe("the VTEP's MAC", () => {
  it("is a unicast, locally administered one", () => fc.assert(fc.property(fc.ipV4(), vni, (ip, v) => {
    const mac = names.vtepMac(ip as Ipv4, v);
    expect(parseMac(mac)).toBe(mac);
    expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
  })));

  it("differs between nodes and networks", () => {
    const macs = [["10.0.0.1", 1], ["10.0.0.2", 1], ["10.0.0.1", 2]].map(([ip, v]) => names.vtepMac(ip as Ipv4, v as Vni));
    expect(new Set(macs).size).toBe(3);
  });
});

it("the hash is FNV-1a (test vectors of draft-eastlake-fnv, appendix C)", () => {
  expect([fnv1a64(""), fnv1a64("a"), fnv1a64("foobar")]).toEqual([0xcbf29ce484222325n, 0xaf63dc4c8601ec8cn, 0x85944171f73967e8n]);
});

describe("keys", () => {
  it.each(["/flannel", "flannel", "flannel/", "//flannel//"])("below %j have one slash in front and none behind", (prefix) => {
    expect(names.keysBelow(prefix).prefix).toBe("/flannel");
    expect(names.keysBelow(prefix).schema).toBe("/flannel/schema");
  });

  it("may lie several levels deep", () => expect(names.keysBelow("a/b").schema).toBe("/a/b/schema"));

  it("are those of design §6", () => {
    const keys = names.keysBelow("/flannel");
    const [cidr, subnet] = ["10.1.0.0/20" as Cidr, "10.1.4.0/25" as Cidr];
    expect([
      keys.pool(cidr), keys.vni(6514 as Vni), keys.config("f" as FlannelId), keys.subnet("f" as FlannelId, subnet), keys.flannelPrefix("f" as FlannelId),
      keys.serviceRange("f" as FlannelId, "10.1.0.2" as Ipv4), keys.dockerNetwork("n" as NetworkId), keys.dockerService("s" as ServiceId),
      keys.dockerTask("t" as TaskId), keys.node("h" as NodeId), keys.nodeContainer("h" as NodeId, "c" as ContainerId),
    ]).toEqual([
      "/flannel/pools/10.1.0.0-20", "/flannel/vnis/6514", "/flannel/networks/f/config", "/flannel/networks/f/subnets/10.1.4.0-25", "/flannel/networks/f",
      "/flannel/service-range/f/10.1.0.2", "/flannel/docker/networks/n", "/flannel/docker/services/s",
      "/flannel/docker/tasks/t", "/flannel/nodes/h", "/flannel/nodes/h/containers/c",
    ]);
  });

  it("of one kind lie below that kind's folder, which ends in a slash", () => {
    const keys = names.keysBelow("/flannel");
    const pairs: [string, string][] = [
      [keys.pools, keys.pool("10.0.0.0/8" as Cidr)], [keys.vnis, keys.vni(1 as Vni)], [keys.networks, keys.config("f" as FlannelId)],
      [keys.subnets("f" as FlannelId), keys.subnet("f" as FlannelId, "10.0.0.0/25" as Cidr)], [keys.serviceRanges, keys.serviceRange("f" as FlannelId, "10.0.0.1" as Ipv4)],
      [keys.docker, keys.dockerTask("t" as TaskId)], [keys.nodes, keys.node("h" as NodeId)], [keys.nodeContainers("h" as NodeId), keys.nodeContainer("h" as NodeId, "c" as ContainerId)],
    ];
    for (const [folder, key] of pairs) {
      expect(folder.endsWith("/")).toBe(true);
      expect(key.startsWith(folder)).toBe(true);
    }
  });
});
