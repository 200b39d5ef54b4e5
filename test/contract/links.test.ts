/** The links facility: what `apply` writes, `observe` reads back; on the fake host and in a fresh network namespace. */
import { expect } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import type { Cidr, EndpointId, Ipv4, Vni } from "../../src/core/ids.ts";
import { vethHost, vethPeer } from "../../src/core/names.ts";
import type { Change } from "../../src/core/plan.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import { gatewayKey } from "../../src/core/gateway.ts";
import type { EndpointChange, EndpointLink, GatewayChange, GatewayEntry, ObservedEndpoint } from "../../src/sinks/links.ts";
import { faulty } from "../fakes/faulty.ts";
import { fakeWorld, kernelWorld, type LinksWorld } from "./links-worlds.ts";
import { contract } from "./suite.ts";

const signal = new AbortController().signal;
const SOURCE = "10.1.1.1" as Ipv4;
const GATEWAY: readonly GatewayEntry[] = [
  { kind: "service-range", cidr: "10.1.0.0/24" as Cidr, source: SOURCE },
  { kind: "unreachable", cidr: "10.1.1.0/24" as Cidr }, { kind: "unreachable", cidr: "10.1.0.0/16" as Cidr },
  { kind: "address", address: SOURCE }, { kind: "forwarding" }, { kind: "gateway-link", up: true },
];
const stateOf = (entries: readonly GatewayEntry[]): ReadonlyMap<string, GatewayEntry> => new Map(entries.map((entry) => [gatewayKey(entry), entry]));
const gateway = (op: Change["op"], entries: readonly GatewayEntry[]): GatewayChange[] =>
  entries.map((entry) => ({ op, key: gatewayKey(entry), why: "test", entry }));

function endpointOf(id: string, last: number): EndpointLink {
  const alias = id.padEnd(64, "0") as EndpointId;
  return { link: vethHost(101 as Vni, alias), peer: vethPeer(alias), alias, address: `10.1.1.${last}` as Ipv4, source: SOURCE, mtuBytes: 1450, joined: false };
}
const ONE = endpointOf("a1", 11);
const TWO = endpointOf("b2", 12);
const make = (endpoint: EndpointLink, op: "create" | "update" = "create"): EndpointChange => ({ op, key: endpoint.link, why: "test", endpoint });
const remove = ({ link }: EndpointLink): EndpointChange => ({ op: "delete", key: link, why: "test", link });
/** What is seen of an endpoint that is all right. */
const rightly = (endpoint: EndpointLink, inside = false): ObservedEndpoint => ({
  link: endpoint.link, alias: endpoint.alias, mtuBytes: endpoint.mtuBytes, faults: [],
  peer: inside ? undefined : { name: endpoint.peer, mtuBytes: endpoint.mtuBytes }, routes: [{ address: endpoint.address, source: endpoint.source }],
});
const seen = async ({ endpoints }: LinksWorld): Promise<unknown[]> => [...(await endpoints.observe(signal)).values()].sort((a, b) => (a.link < b.link ? -1 : 1));
const both = [ONE, TWO].sort((a, b) => (a.link < b.link ? -1 : 1));

async function withGateway(world: LinksWorld, ...changes: readonly EndpointChange[]): Promise<void> {
  await world.gateways.apply(gateway("create", GATEWAY), signal);
  await world.endpoints.apply(changes, signal);
}

async function refusal(run: Promise<unknown>): Promise<string> {
  return run.then(() => "accepted", (error: unknown) => (error instanceof OperatorError ? error.code : String(error)));
}

/** Repeats until it worked once. */
async function eventually<O, C extends Change>(sink: Sink<O, C>, changes: readonly C[]): Promise<void> {
  for (let tries = 1; (await refusal(sink.apply(changes, signal))) !== "accepted"; tries += 1) if (tries > 50) throw new Error("never worked");
}

contract<LinksWorld>("links", { fake: fakeWorld, kernel: kernelWorld }, {
  "an untouched host has nothing of ours": async (world) => {
    await world.hands.strangers();
    expect(await world.gateways.observe(signal)).toEqual(new Map());
    expect(await seen(world)).toEqual([]);
  },
  "a gateway is made, in whatever order its parts are named, and made again": async ({ gateways }) => {
    for (const _ of [1, 2]) {
      await gateways.apply(gateway("create", GATEWAY), signal);
      expect(await gateways.observe(signal)).toEqual(stateOf(GATEWAY));
    }
  },
  "a gateway goes whole, also when part of it is gone already": async (world) => {
    const parts = GATEWAY.filter(({ kind }) => kind !== "forwarding");
    await world.hands.strangers();
    await world.gateways.apply(gateway("create", parts), signal);
    await world.gateways.apply(gateway("delete", parts.slice(0, 3)), signal);
    expect(await world.gateways.observe(signal)).toEqual(stateOf(parts.slice(3)));
    for (const _ of [1, 2]) await world.gateways.apply(gateway("delete", parts), signal);
    expect(await world.gateways.observe(signal)).toEqual(new Map());
  },
  "one address goes, the link and the others stay": async ({ gateways }) => {
    const second: GatewayEntry = { kind: "address", address: "10.2.1.1" as Ipv4 };
    await gateways.apply(gateway("create", [...GATEWAY, second]), signal);
    await gateways.apply(gateway("delete", [second]), signal);
    expect(await gateways.observe(signal)).toEqual(stateOf(GATEWAY));
  },
  "a gateway link that is down is seen and raised": async ({ gateways, hands }) => {
    await gateways.apply(gateway("create", GATEWAY), signal);
    await hands.linkDown("fnp-gw");
    expect((await gateways.observe(signal)).get("gateway-link")).toEqual({ kind: "gateway-link", up: false });
    await gateways.apply(gateway("update", GATEWAY), signal);
    expect(await gateways.observe(signal)).toEqual(stateOf(GATEWAY));
  },
  "a service range takes another source": async ({ gateways }) => {
    const moved = GATEWAY.map((entry) => (entry.kind === "service-range" ? { ...entry, source: "10.1.1.2" as Ipv4 } : entry));
    const address: GatewayEntry = { kind: "address", address: "10.1.1.2" as Ipv4 };
    await gateways.apply(gateway("create", GATEWAY), signal);
    await gateways.apply([...gateway("update", moved), ...gateway("create", [address])], signal);
    expect(await gateways.observe(signal)).toEqual(stateOf([...moved, address]));
  },
  "forwarding is never switched off": async ({ gateways }) => {
    await gateways.apply(gateway("create", GATEWAY), signal);
    expect(await refusal(gateways.apply(gateway("delete", [{ kind: "forwarding" }]), signal))).toBe("bug");
    expect((await gateways.observe(signal)).has("forwarding")).toBe(true);
  },
  "a source that is no address of the host is refused, the rest is made": async ({ gateways }) => {
    const parts = GATEWAY.filter(({ kind }) => kind !== "address");
    expect(await refusal(gateways.apply(gateway("create", parts), signal))).toBe("unavailable");
    expect(await gateways.observe(signal)).toEqual(stateOf(parts.filter(({ kind }) => kind !== "service-range")));
  },
  "endpoints are made, and made again": async (world) => {
    await world.hands.strangers();
    await withGateway(world, make(ONE), make(TWO));
    expect(await seen(world)).toEqual(both.map((endpoint) => rightly(endpoint)));
    await world.endpoints.apply([make(ONE), make(TWO, "update")], signal);
    expect(await seen(world)).toEqual(both.map((endpoint) => rightly(endpoint)));
  },
  "a pair left half made is completed": async (world) => {
    await world.hands.halfPair(ONE.link, ONE.peer);
    const [half] = await seen(world) as ObservedEndpoint[];
    expect(half?.faults).toEqual(expect.arrayContaining(["down", "proxy_arp is 0, not 1", "send_redirects is 1, not 0"]));
    await withGateway(world, make(ONE));
    expect(await seen(world)).toEqual([rightly(ONE)]);
  },
  "an endpoint before its gateway is refused, and completed later": async (world) => {
    expect(await refusal(world.endpoints.apply([make(ONE)], signal))).toBe("unavailable");
    expect(await seen(world)).toEqual([{ ...rightly(ONE), routes: [] }]);
    await withGateway(world, make(ONE));
    expect(await seen(world)).toEqual([rightly(ONE)]);
  },
  "every setting somebody turns is named and turned back": async (world) => {
    await withGateway(world, make(ONE));
    const turned = [["proxy_arp", "0"], ["proxy_delay", "80"], ["send_redirects", "1"], ["rp_filter", "2"], ["disable_ipv6", "0"]] as const;
    for (const [name, value] of turned) await world.hands.setting(ONE.link, name, value);
    const [endpoint] = await seen(world) as ObservedEndpoint[];
    expect(endpoint?.faults.map((fault) => fault.split(" is ")[0])).toEqual(turned.map(([name]) => name));
    await world.endpoints.apply([make(ONE, "update")], signal);
    expect(await seen(world)).toEqual([rightly(ONE)]);
  },
  "a link that is down, misnamed, missized or without route is seen and mended": async (world) => {
    await withGateway(world, make(ONE), make(TWO));
    await world.hands.linkDown(ONE.link);
    await world.hands.rename(TWO.link, "f".repeat(64) as EndpointId, 1400);
    const [one, two] = [ONE, TWO].map(({ link }) => link);
    const found = await world.endpoints.observe(signal);
    expect(found.get(one ?? "")).toEqual({ ...rightly(ONE), routes: [], faults: ["down"] });
    expect(found.get(two ?? "")).toMatchObject({ alias: "f".repeat(64), mtuBytes: 1400, faults: [expect.stringMatching(/^MAC is /)] });
    await world.endpoints.apply([make(ONE, "update"), make(TWO, "update")], signal);
    expect(await seen(world)).toEqual(both.map((endpoint) => rightly(endpoint)));
  },
  "a lost route is put back, a second one taken away": async (world) => {
    await withGateway(world, make(ONE), make(TWO));
    await world.hands.dropRoute(ONE.address);
    await world.hands.addRoute(TWO.link, "10.1.1.77" as Ipv4);
    const found = await world.endpoints.observe(signal);
    expect([ONE, TWO].map(({ link }) => found.get(link)?.routes.length)).toEqual([0, 2]);
    await world.endpoints.apply([make(ONE, "update"), make(TWO, "update")], signal);
    expect(await seen(world)).toEqual(both.map((endpoint) => rightly(endpoint)));
  },
  "an address moves from a stale link to the new one": async (world) => {
    await withGateway(world, make(ONE));
    await world.endpoints.apply([make({ ...TWO, address: ONE.address })], signal);
    const found = await world.endpoints.observe(signal);
    expect(found.get(ONE.link)?.routes).toEqual([]);
    expect(found.get(TWO.link)?.routes).toEqual([{ address: ONE.address, source: SOURCE }]);
  },
  "a joined endpoint changes its size and address from outside": async (world) => {
    await withGateway(world, make(ONE));
    await world.hands.movePeer(ONE.peer);
    expect(await seen(world)).toEqual([rightly(ONE, true)]);
    const changed = { ...ONE, joined: true, mtuBytes: 1400, address: "10.1.1.99" as Ipv4 };
    await world.endpoints.apply([make(changed, "update")], signal);
    expect(await seen(world)).toEqual([rightly(changed, true)]);
  },
  "the routes go with the gateway address they name as source": async (world) => {
    await withGateway(world, make(ONE));
    await world.gateways.apply(gateway("delete", [{ kind: "address", address: SOURCE }]), signal);
    expect(await seen(world)).toEqual([{ ...rightly(ONE), routes: [] }]);
  },
  "a joined endpoint whose pair is gone is refused, the others are made": async (world) => {
    await withGateway(world, make(ONE));
    await world.hands.linkGone(ONE.link);
    expect(await seen(world)).toEqual([]);
    expect(await refusal(world.endpoints.apply([make({ ...ONE, joined: true }), make(TWO)], signal))).toBe("unsupported");
    expect(await seen(world)).toEqual([rightly(TWO)]);
  },
  "endpoints go, also when they are gone": async (world) => {
    await withGateway(world, make(ONE), make(TWO));
    for (const _ of [1, 2]) await world.endpoints.apply([remove(ONE)], signal);
    expect(await seen(world)).toEqual([rightly(TWO)]);
    await world.endpoints.apply([remove(ONE), make(ONE), remove(TWO)], signal);
    expect(await seen(world)).toEqual([rightly(ONE)]);
  },
  "repeating gets there although every third call fails half way": async (world) => {
    const options = { seed: 7, rate: 0.34 };
    await eventually(faulty(world.gateways, options), gateway("create", GATEWAY));
    await eventually(faulty(world.endpoints, options), [make(ONE), make(TWO)]);
    expect(await world.gateways.observe(signal)).toEqual(stateOf(GATEWAY));
    expect(await seen(world)).toEqual(both.map((endpoint) => rightly(endpoint)));
  },
});
