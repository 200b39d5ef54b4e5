/** Gateways: what the host itself needs of a network, made and removed in an order the kernel accepts. */
import { describe, expect, it } from "@jest/globals";
import { gatewayKey } from "../../src/core/gateway.ts";
import { gateways } from "../../src/reconcilers/gateways.ts";
import type { GatewayChange, GatewayEntry, GatewayState } from "../../src/sinks/links.ts";
import { endpoint, ip, lease, network, pool, snapshotOf, type World } from "./builders.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const has = (state: GatewayState, source: string): boolean => state.has(`address ${source}`);

/** As the kernel would: no address without its link, no route without the address it names. */
function applyAsKernel(observed: GatewayState, changes: readonly GatewayChange[]): GatewayState {
  const next = new Map(observed);
  for (const { op, key, entry } of changes) {
    if (op === "delete") next.delete(key);
    else next.set(key, entry.kind === "gateway-link" ? { kind: "gateway-link", up: true } : entry);
    if (op === "delete" && entry.kind === "gateway-link") expect([...next.values()].filter(({ kind }) => kind === "address")).toEqual([]);
    if (op !== "delete" && entry.kind === "address") expect(next.has("gateway-link")).toBe(true);
    if (op !== "delete" && entry.kind === "service-range") expect(has(next, entry.source)).toBe(true);
  }
  return next;
}
const facility: Facility<GatewayState, GatewayChange> = {
  empty: new Map(),
  apply: applyAsKernel,
  disturb: (observed, pick) => new Map([...observed].flatMap(([key, entry]): [string, GatewayEntry][] => {
    const wrong: GatewayEntry = entry.kind === "gateway-link" ? { ...entry, up: false } : entry.kind === "service-range" ? { ...entry, source: ip("10.9.9.9") } : entry;
    return pick(3) === 0 && entry.kind !== "gateway-link" ? [] : [[key, pick(2) === 0 ? wrong : entry]];
  })),
  reversed: reversedMap,
};

const NET: World = { networks: { items: [network(1)] }, pools: { items: [pool(1)] }, subnets: { items: [lease(1)] } };
const planOf = (world: World, observed: GatewayState = new Map()) => gateways.plan(gateways.desire(snapshotOf(world)), observed);
const said = (world: World, observed?: GatewayState) => planOf(world, observed).changes.map(({ op, key }) => `${op} ${key}`);
const standing = facility.apply(new Map(), planOf(NET).changes);
const ONE = ["gateway-link", "address 10.1.4.1", "service-range 10.1.0.0/22", "unreachable 10.1.0.0/16", "unreachable 10.1.4.0/24"];

describe("gateways", () => {
  obeysTheLaws(gateways, facility);

  it.each<[string, World, readonly string[]]>([
    ["of a leased network, link first, routes last", NET, ["forwarding", ...ONE].map((key) => `create ${key}`)],
    ["before Docker has answered: no forwarding yet", { ...NET, node: { dockerSeen: false } }, ONE.map((key) => `create ${key}`)],
    ["of a network this node holds no subnet of: none", { ...NET, subnets: { items: [lease(1, 2)] } }, []],
    ["of a pool without network: none", { ...NET, pools: { items: [{ ...pool(1), network: undefined as never }] } }, []],
    ["of a released network without containers: none", { ...NET, pools: { items: [pool(1, { releasedAtMs: 1 })] } }, []],
    ["of a released network whose container is still stopping", { ...NET, pools: { items: [pool(1, { releasedAtMs: 1 })] }, endpoints: { items: [endpoint(1, 2)] } }, ["forwarding", ...ONE].map((key) => `create ${key}`)],
    ["while the link between the nodes is not known: none", { ...NET, node: { underlay: undefined as never } }, []],
  ])("%s", (_name, world, expected) => expect(said(world)).toEqual(expected));

  it("goes the other way round when the last network leaves, and leaves forwarding on", () => {
    expect(said({}, standing)).toEqual(["unreachable 10.1.0.0/16", "unreachable 10.1.4.0/24", "service-range 10.1.0.0/22", "address 10.1.4.1", "gateway-link"].map((key) => `delete ${key}`));
  });

  it.each<[string, World]>([
    ["pools are not listed", { pools: { items: [], settled: false } }],
    ["leases are not listed", { ...NET, subnets: { items: [], settled: false } }],
    ["containers are not listed", { endpoints: { items: [], settled: false } }],
    ["etcd has forgotten a network that a container is on", { endpoints: { items: [endpoint(1, 2)] } }],
    ["this node's link is not known", { ...NET, node: { underlay: undefined as never } }],
  ])("takes nothing away while %s", (_name, world) => {
    const { changes, held } = planOf(world, standing);
    expect([changes.length, held.length]).toEqual([0, 5]);
  });

  it("says what it mends", () => {
    const wrong = new Map(standing).set("gateway-link", { kind: "gateway-link", up: false })
      .set("service-range 10.1.0.0/22", { kind: "service-range", cidr: pool(1).serviceRange, source: ip("10.1.9.1") });
    expect(planOf(NET, wrong).changes.map(({ op, why }) => `${op}: ${why}`)).toEqual(["update: the link is down", "update: source 10.1.9.1 → 10.1.4.1"]);
  });

  it("never plans forwarding off, and keys every entry by what it is", () => {
    forAll(casesOf(gateways, facility), ({ plan }) => {
      for (const { op, key, entry } of [...plan.changes, ...plan.held]) {
        expect(key).toBe(gatewayKey(entry));
        expect(op === "delete" && entry.kind === "forwarding").toBe(false);
      }
    });
  });
});
