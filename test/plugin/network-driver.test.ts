/** The network driver: calls become intents and claims; an answer is given when the kernel is as it says. */
import { describe, expect, it } from "@jest/globals";
import type { NetnsPath } from "../../src/core/ids.ts";
import { vethPeer } from "../../src/core/names.ts";
import { addressOf, endpoint, lease, network, networkId, pool, range, unbound, type World } from "../plan/builders.ts";
import { desk, FAILURE, NETWORK, signal } from "./desk.ts";

const HELD: World = { networks: { items: [network(1)] }, pools: { items: [pool(1)] }, subnets: { items: [lease(1)] } };
const box = endpoint(1, 2);
const NODE_NETWORK = { ...NETWORK, internal: false, ipv6Enabled: false } as const;
const END = { network: networkId(1), endpoint: box.id } as const;
const BOX = { ...END, address: { address: box.address, prefixLength: 24 }, ports: { exposed: [], published: [] }, driverOptions: {} } as const;
const JOIN = { ...END, sandboxKey: "/var/run/docker/netns/1" as NetnsPath, ports: { exposed: [], published: [] } } as const;

describe("a swarm network", () => {
  it("is bound to its pool and VNI, and the user's options are answered as they came", async () => {
    const { network: driver, done, said } = desk({ pools: { items: [unbound(1)] } });
    const options = { mtu: "1400", "com.docker.network.driver.overlay": "x" };
    expect(await driver.allocateNetwork({ ...NETWORK, options }, signal)).toEqual({ Options: options });
    expect(done).toEqual(["bindPool"]);
    expect(said.named("pool.bound")).toHaveLength(1);
  });

  it.each<[string, object, Partial<Record<string, unknown>>]>([
    ["without an IPv4 range", { ipv4: [] }, { code: "invalid" }],
    ["with IPv6", { ipv6: ["fd00::/64"] }, { code: "unsupported" }],
    ["whose claim fails", {}, { code: "conflict" }],
  ])("%s is refused, and the refusal is said with its network, reason and cure", async (_name, more, expected) => {
    const { network: driver, said } = desk({}, { bindPool: () => Promise.reject(Object.assign(FAILURE, { code: "conflict" })) });
    await expect(driver.allocateNetwork({ ...NETWORK, ...more }, signal)).rejects.toMatchObject(expected);
    expect(said.named("network.refused")).toMatchObject([{ fields: { network: "net-1", reason: expect.stringMatching(/^Cannot/), cure: expect.any(String) } }]);
  });

  it("that swarm freed gives its pool up; when that cannot be noted, the listing will tell", async () => {
    const first = desk(HELD);
    await first.network.freeNetwork({ network: networkId(1) }, signal);
    expect([first.done, first.world.pools?.items]).toEqual([["releasePool", "poke leases"], [{ ...pool(1), releasedAtMs: 1 }]]);
    const second = desk(HELD, { releasePool: () => Promise.reject(FAILURE) });
    await second.network.freeNetwork({ network: networkId(1) }, signal);
    await second.network.freeNetwork({ network: networkId(7) }, signal);
    expect(second.done).toEqual(["releasePool", "poke leases"]);
  });
});

describe("a network on this node", () => {
  it("has its isolation and its gateway before Docker goes on", async () => {
    const { network: driver, done } = desk(HELD);
    await driver.createNetwork(NODE_NETWORK, signal);
    expect(done).toEqual(["run firewall gateways"]);
    await driver.deleteNetwork({ network: networkId(1) }, signal);
    expect(done).toEqual(["run firewall gateways"]);
  });

  it("is bound here where no manager's plugin did", async () => {
    const { network: driver, done } = desk({ ...HELD, pools: { items: [unbound(1)] } });
    await driver.createNetwork(NODE_NETWORK, signal);
    expect(done).toEqual(["bindPool", "run firewall gateways"]);
  });

  it.each<[string, World, object, string]>([
    ["its pool is not known", {}, {}, "not-found"], ["it has no range", HELD, { ipv4: [] }, "not-found"], ["IPv6 is asked for", HELD, { ipv6Enabled: true }, "unsupported"],
  ])("is refused: %s", async (_name, world, more, code) => {
    await expect(desk(world).network.createNetwork({ ...NODE_NETWORK, ...more }, signal)).rejects.toMatchObject({ code, cure: expect.any(String) });
  });

  it.each<[string, object, object]>([
    ["could not be looked at", { result: "unobserved", error: FAILURE }, FAILURE],
    ["could not be written", { result: "diverged", leftover: { changes: [], held: [] }, error: FAILURE }, FAILURE],
    ["did not become as planned", { result: "diverged", leftover: { changes: [{ op: "create", key: "table", why: "missing" }], held: [] } }, { code: "conflict", message: "Cannot set up firewall: table (missing)" }],
  ])("fails when a part %s: Docker must not start a container without it", async (_name, ending, expected) => {
    const state = desk(HELD);
    state.ending = (name) => (name === "firewall" ? ending : {});
    await expect(state.network.createNetwork(NODE_NETWORK, signal)).rejects.toMatchObject(expected);
  });
});

describe("an endpoint", () => {
  it("begins its run when made, and waits for nothing: Docker serialises that call per network", async () => {
    const state = desk(HELD);
    state.running = new Promise(() => undefined);
    await state.network.createEndpoint(BOX, signal);
    expect([state.done, [...state.intents.values()]]).toEqual([["created ep-1-2", "run endpoints"], [box]]);
  });

  it("joins only when the run that began with it has ended", async () => {
    const state = desk(HELD);
    let end = (): void => undefined;
    state.running = new Promise((resolve) => { end = resolve; });
    await state.network.createEndpoint(BOX, signal);
    const joining = state.network.join(JOIN, signal);
    await new Promise(setImmediate);
    expect(state.done).toEqual(["created ep-1-2", "run endpoints"]);
    end();
    await joining;
    expect(state.done).toEqual(["created ep-1-2", "run endpoints", "joined ep-1-2", "run dns"]);
  });

  it("joins after a second run where the first one failed", async () => {
    const state = desk(HELD);
    state.ending = () => ({ result: "unobserved", error: FAILURE });
    await state.network.createEndpoint(BOX, signal);
    await new Promise(setImmediate);
    state.ending = () => ({});
    await state.network.join(JOIN, signal);
    expect(state.done).toEqual(["created ep-1-2", "run endpoints", "run endpoints", "joined ep-1-2", "run dns"]);
  });

  it("with an address that another one has is refused and said", async () => {
    const { network: driver, said, done } = desk({ ...HELD, endpoints: { items: [endpoint(1, 9, { address: addressOf(1, 2) })] } });
    await expect(driver.createEndpoint(BOX, signal)).rejects.toMatchObject({ code: "conflict" });
    expect([said.named("address.conflict").length, done]).toEqual([1, []]);
  });

  it("may be made again, and needs an address", async () => {
    const { network: driver } = desk({ ...HELD, endpoints: { items: [box] } });
    await driver.createEndpoint(BOX, signal);
    await expect(driver.createEndpoint({ ...BOX, address: undefined }, signal)).rejects.toMatchObject({ code: "invalid" });
  });

  it("joins when its link is there: no gateway, but a route to the network's range", async () => {
    const { network: driver, done, intents } = desk(HELD);
    await driver.createEndpoint(BOX, signal);
    expect(await driver.join(JOIN, signal)).toEqual({
      InterfaceName: { SrcName: vethPeer(box.id), DstPrefix: "eth" },
      StaticRoutes: [{ Destination: range(1), RouteType: 0, NextHop: "10.1.4.1" }], DisableGatewayService: false,
    });
    expect(done).toEqual(["created ep-1-2", "run endpoints", "joined ep-1-2", "run dns"]);
    expect(intents.get(box.id)?.stage).toBe("joined");
  });

  it("joins although Docker's listing has confirmed it meanwhile, so that the note is gone", async () => {
    const { network: driver, done } = desk({ ...HELD, endpoints: { items: [box] } });
    await driver.join(JOIN, signal);
    expect(done).toEqual(["run endpoints", "joined ep-1-2", "run dns"]);
  });

  it.each<[string, World, boolean, string]>([
    ["that was never made", HELD, false, "not-found"], ["whose network this node holds no subnet of", { ...HELD, subnets: { items: [] } }, true, "unavailable"],
  ])("%s does not join", async (_name, world, made, code) => {
    const { network: driver, done, intents } = desk(world);
    if (made) intents.set(box.id, { ...box, address: "172.31.0.1" as never });
    await expect(driver.join(JOIN, signal)).rejects.toMatchObject({ code, cure: expect.any(String) });
    expect(done).toEqual([]);
  });

  it("does not join, and does not count as joined, when its link could not be made", async () => {
    const state = desk(HELD);
    state.ending = () => ({ result: "unobserved", error: FAILURE });
    await state.network.createEndpoint(BOX, signal);
    await expect(state.network.join(JOIN, signal)).rejects.toBe(FAILURE);
    expect(state.intents.get(box.id)?.stage).toBe("created");
  });

  it("leaves and ends without failing, whatever the kernel says", async () => {
    const state = desk(HELD);
    state.ending = () => ({ result: "unobserved", error: FAILURE });
    await state.network.leave(END, signal);
    await state.network.deleteEndpoint(END, signal);
    expect(state.done).toEqual(["ended ep-1-2", "run endpoints", "poke endpoints"]);
  });
});

it("changes nothing while an obstacle stands, but lets go of what is over", async () => {
  const { network: driver, admission, done } = desk(HELD);
  admission.obstruct({ what: "another operator", reason: "it runs on this host already", cure: "Keep one alias" });
  const refusal = { code: "invalid", cure: "Keep one alias" };
  for (const call of [driver.allocateNetwork(NETWORK, signal), driver.createNetwork(NODE_NETWORK, signal), driver.createEndpoint(BOX, signal), driver.join(JOIN, signal)]) await expect(call).rejects.toMatchObject(refusal);
  await driver.leave(END, signal);
  await driver.deleteNetwork({ network: networkId(1) }, signal);
  await driver.deleteEndpoint(END, signal);
  expect(done).toEqual(["ended ep-1-2", "run endpoints"]);
});
