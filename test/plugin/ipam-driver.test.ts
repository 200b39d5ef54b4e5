/** The IPAM driver: which side asks decides where an address comes from; a release never fails. */
import { describe, expect, it } from "@jest/globals";
import type { Mac } from "../../src/core/ids.ts";
import { cidr, ip, lease, MY_IP, pool, range, unbound } from "../plan/builders.ts";
import { desk, G, L, signal } from "./desk.ts";

const ASK = { caller: "manager", family: "ipv4", options: {} } as const;
const mac = "02:42:0a:00:00:01" as Mac;
const HELD = { pools: { items: [pool(1)] }, subnets: { items: [lease(1)] } };

describe("a pool", () => {
  it("is claimed for the manager and marked as its side", async () => {
    const { ipam, done } = desk();
    expect(await ipam.requestPool(ASK, signal)).toEqual({ PoolID: "G:flannel-1", Pool: range(1), Data: {} });
    expect(done).toEqual(["claimPool"]);
  });

  it("is the same again when swarm replays, with etcd away", async () => {
    const { ipam, done } = desk(HELD);
    const options = { "com.docker.network.ipam.serial": "true" };
    expect(await ipam.requestPool({ ...ASK, pool: range(1), options }, signal)).toMatchObject({ PoolID: "G:flannel-1" });
    expect(done).toEqual([]);
  });

  it("on a node comes with this node's lease and the node's mark", async () => {
    const { ipam, done, world } = desk();
    expect(world.subnets).toBeUndefined();
    expect(await ipam.requestPool({ ...ASK, caller: "node", pool: range(1) }, signal)).toEqual({ PoolID: "L:flannel-1", Pool: range(1), Data: {} });
    expect(done).toEqual(["findPool", "claimLease"]);
  });

  it.each<[string, object, string]>([
    ["IPv6", { caller: "manager", family: "ipv6", options: {} }, "unsupported"],
    ["an --ip-range of its own", { ...ASK, pool: range(1), subPool: cidr("10.1.1.0/24") }, "unsupported"],
    ["an option nobody has", { ...ASK, options: { flannelid: "x" } }, "invalid"],
  ])("is refused: %s", async (_name, request, code) => {
    const { ipam, done } = desk();
    await expect(ipam.requestPool(request as never, signal)).rejects.toMatchObject({ code, cure: expect.any(String) });
    expect(done).toEqual([]);
  });

  it("is given back at once when its network was refused half-way, and left alone when it has a network", async () => {
    const refused = desk({ pools: { items: [unbound(1)] } });
    await refused.ipam.releasePool(G, signal);
    expect(refused.done).toEqual(["releasePool"]);
    expect(refused.world.pools?.items).toMatchObject([{ releasedAtMs: 1 }]);
    const bound = desk(HELD);
    await bound.ipam.releasePool(G, signal);
    await bound.ipam.releasePool(L, signal);
    await bound.ipam.releasePool({ caller: "manager" }, signal);
    expect(bound.done).toEqual([]);
  });

  it("takes an --ip-range that is the whole range", async () => {
    await expect(desk().ipam.requestPool({ ...ASK, pool: range(1), subPool: range(1) }, signal)).resolves.toMatchObject({ Pool: range(1) });
  });
});

describe("an address", () => {
  it("of the manager comes from the service range, with the network's prefix length", async () => {
    const { ipam } = desk(HELD);
    expect(await ipam.requestAddress({ ...G, purpose: "gateway" }, signal)).toEqual({ Address: "10.1.0.1/16", Data: {} });
    expect(await ipam.requestAddress({ ...G, purpose: "manager-address" }, signal)).toEqual({ Address: "10.1.0.2/16", Data: {} });
    expect(await ipam.requestAddress({ ...G, purpose: "manager-address", address: ip("10.1.0.77") }, signal)).toEqual({ Address: "10.1.0.77/16", Data: {} });
  });

  it("of a container comes from the node's subnet, whatever placeholder the manager chose", async () => {
    const { ipam } = desk(HELD);
    expect(await ipam.requestAddress({ ...L, purpose: "gateway" }, signal)).toEqual({ Address: "10.1.4.1/24", Data: {} });
    expect(await ipam.requestAddress({ ...L, purpose: "endpoint", mac, address: ip("10.1.0.77") }, signal)).toEqual({ Address: "10.1.4.2/24", Data: {} });
  });

  it("is released on its own side only, and a release of nothing is no error", async () => {
    const { ipam } = desk(HELD);
    const { Address } = await ipam.requestAddress({ ...L, purpose: "endpoint", mac }, signal);
    for (const request of [{ ...G, address: ip("10.1.4.2") }, { caller: "manager" }, { ...L }, { ...L, address: ip("10.9.9.9") }, { ...L, address: ip("10.1.4.2") }, { ...L, address: ip("10.1.4.2") }] as const) {
      await expect(ipam.releaseAddress(request, signal)).resolves.toBeUndefined();
    }
    await expect(ipam.releasePool(G, signal)).resolves.toBeUndefined();
    expect(await ipam.requestAddress({ ...L, purpose: "endpoint", mac }, signal)).not.toEqual({ Address, Data: {} });
  });
});

it("refuses what it is asked, with the first obstacle as reason, but never a release", async () => {
  const { ipam, admission, done } = desk(HELD);
  admission.obstruct({ what: "VNI_START", reason: "\"x\" is no number", cure: "Set it like VNI_START=10000" });
  admission.obstruct({ what: "another operator", reason: "it runs", cure: "Keep one" });
  const refusal = { code: "invalid", message: "Cannot serve networks: VNI_START: \"x\" is no number", cure: "Set it like VNI_START=10000" };
  await expect(ipam.requestPool(ASK, signal)).rejects.toMatchObject(refusal);
  await expect(ipam.requestAddress({ ...G, purpose: "gateway" }, signal)).rejects.toMatchObject(refusal);
  await ipam.releaseAddress({ ...L, address: MY_IP }, signal);
  admission.clear("VNI_START");
  await expect(ipam.requestPool(ASK, signal)).rejects.toMatchObject({ cure: "Keep one" });
  admission.clear("another operator");
  await expect(ipam.requestPool(ASK, signal)).resolves.toBeDefined();
  expect(done).toEqual(["claimPool"]);
});
