/** Names: who answers to which, in which order of networks, and when a sandbox is served. */
import { describe, expect, it } from "@jest/globals";
import type { ContainerId, EndpointId, NetworkId, NodeId, ServiceId, TaskId } from "../../src/core/ids.ts";
import type { Container, Service } from "../../src/core/model.ts";
import { dnsWith } from "../../src/reconcilers/dns.ts";
import type { DnsChange, DnsState } from "../../src/sinks/dns.ts";
import type { DnsName, DnsZone } from "../../src/sinks/dns/vocabulary.ts";
import { addressOf, container, endpoint, ip, network, networkId, NOW, OTHER, service, snapshotOf, task, type World } from "./builders.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const dns = dnsWith({ mode: "compatible", ttlSeconds: 5, texts: true, patientUntilMs: 0 });
const careful = dnsWith({ mode: "compatible", ttlSeconds: 5, texts: false, patientUntilMs: NOW + 1 });
const NAMESPACES: ReadonlyMap<string, bigint> = new Map([["box", 7n], ["other", 8n]]);
const EMPTY: DnsState = { table: undefined, namespaces: NAMESPACES, served: new Map(), shared: new Set() };

/** As the sink: what it is told to serve is served by then. */
function apply(observed: DnsState, changes: readonly DnsChange[]): DnsState {
  let { table } = observed;
  const served = new Map(observed.served);
  const shared = new Set(observed.shared);
  for (const change of changes) {
    if ("table" in change) ({ table } = change);
    else if ("shared" in change) {
      if (change.shared.name === undefined) shared.delete(change.shared.key);
      else shared.add(change.shared.key);
    } else if (change.op === "delete") served.delete(change.sandbox);
    else served.set(change.sandbox, { inode: observed.namespaces.get(change.sandbox) ?? 0n, port: 5_000, redirected: true });
  }
  return { ...observed, table, served, shared };
}

const facility: Facility<DnsState, DnsChange> = {
  empty: EMPTY, apply,
  disturb: (observed, pick) => ({
    ...observed, namespaces: new Map([...observed.namespaces].filter(() => pick(4) > 0)),
    served: new Map([...observed.served, ["other", { inode: 8n, port: 1, redirected: true }] as const].map(([key, is]) =>
      [key, { ...is, redirected: pick(3) > 0, inode: pick(5) === 0 ? 99n : is.inode }])),
    shared: new Set(pick(2) === 0 ? ["web1/old"] : []),
  }),
  reversed: (observed) => ({ ...observed, namespaces: reversedMap(observed.namespaces), served: reversedMap(observed.served) }),
};

const gone = (change: DnsChange): boolean => change.why === "its namespace is gone";
describe("dns", () => {
  obeysTheLaws(dns, facility, gone);

  it("serves no sandbox before all that could name something is listed, and none before the table is there", () => {
    const serves = (change: DnsChange): boolean => "sandbox" in change && change.op !== "delete";
    forAll(casesOf(careful, facility), ({ world, plan }) => {
      const kinds = [world.networks, world.services, world.tasks, world.containers];
      if (kinds.some((kind) => kind?.settled === false)) expect(plan.changes.filter(serves)).toEqual([]);
    });
    forAll(casesOf(dns, facility), ({ observed, plan }) => {
      const [table, first] = [plan.changes.findIndex((change) => "table" in change), plan.changes.findIndex(serves)];
      if (first >= 0 && observed.table === undefined) expect(table).toBeLessThan(first);
      if (first >= 0 && observed.table === undefined) expect(table).toBeGreaterThanOrEqual(0);
    });
  });
});

const on = (host: number, ns: readonly number[] = [1], aliases: readonly string[] = []): Container["networks"] =>
  Object.fromEntries(ns.map((n) => [networkId(n), { endpoint: `ep-${n}-${host}` as EndpointId, address: addressOf(n, host), aliases }]));
const WEB = "svc-1" as ServiceId;
const member = (host: number, more: Partial<Container> = {}): Container =>
  container(host, { service: WEB, task: `task-${host}` as TaskId, networks: on(host), ...more });
const zoneOf = (world: World, n = 1): DnsZone => {
  const zone = dns.desire(snapshotOf({ networks: { items: [network(1), network(2)] }, ...world })).value.table.zones.get(networkId(n));
  if (zone === undefined) throw new Error("no zone");
  return zone;
};
const said = (world: World, name: string, n = 1): readonly string[] | undefined => (zoneOf(world, n).names.get(name) as DnsName | undefined)?.addresses;
const web = (more: Partial<Service> = {}): World => ({ services: { items: [service(1, { name: "Web", networks: [{ network: networkId(1), aliases: ["Shop"] }], ...more })] } });
const ROUND: Partial<Service> = { mode: "dnsrr", vips: [] };
const one = addressOf(1, 2);
const two = addressOf(1, 3);

describe("what a name answers", () => {
  const box = container(2, { name: "Box", hostname: "inner", id: "0123456789abcdef" as ContainerId, networks: on(2, [1], ["pal"]) });
  const withBox = (more: Partial<Container> = {}): World => ({ containers: { items: [{ ...box, ...more }] } });
  it.each<[string, World, string, readonly string[] | undefined]>([
    ["a container's name, in lower case", withBox(), "box", [one]],
    ["its hostname", withBox(), "inner", [one]],
    ["its short id", withBox(), "0123456789ab", [one]],
    ["its alias", withBox(), "pal", [one]],
    ["a container of another node", withBox({ node: OTHER }), "box", [one]],
    ["a container told to stop: still there", withBox({ state: "stopping" }), "box", [one]],
    ["a container that has ended", withBox({ state: "exited" }), "box", undefined],
    ["a service by its VIP", web(), "web", [ip("10.1.0.9")]],
    ["a service's alias", web(), "shop", [ip("10.1.0.9")]],
    ["a service without tasks: its VIP all the same", { ...web(), containers: { items: [] } }, "web", [ip("10.1.0.9")]],
    ["a service whose VIP is not known yet: no address, and nobody else's name", web({ vips: [] }), "web", []],
    ["round robin: its tasks", { ...web(ROUND), containers: { items: [member(3), member(2)] } }, "web", [one, two]],
    ["round robin without tasks", web(ROUND), "web", []],
    ["tasks of a service", { ...web(), containers: { items: [member(2), member(3)] } }, "tasks.web", [one, two]],
    ["tasks of an alias", { ...web(), containers: { items: [member(2)] } }, "tasks.shop", [one]],
    ["tasks but the unhealthy, the ending, the starting", { ...web(), containers: { items: [member(2), member(3, { health: "unhealthy" }), member(4, { state: "stopping" }), member(5, { health: "starting" })] } }, "tasks.web", [one]],
    ["tasks but one whose shutdown is desired", { ...web(), containers: { items: [member(2), member(3)] }, tasks: { items: [task(3, { desiredState: "shutdown" })] } }, "tasks.web", [one]],
    ["a container and a service of one name", { ...web(), containers: { items: [{ ...box, name: "web" }] } }, "web", [ip("10.1.0.9"), one]],
  ])("%s", (_name, world, name, expected) => expect(said(world, name)).toEqual(expected));

  it("belongs to its network alone", () => {
    expect(said({ containers: { items: [box] } }, "box", 2)).toBeUndefined();
    expect(said(web(), "web", 2)).toBeUndefined();
  });

  it("names containers and VIPs in reverse", () => {
    const { pointers } = zoneOf({ ...web(), containers: { items: [box] } });
    expect([...pointers].sort()).toEqual([["10.1.0.9", "web.web1"], [one, "box.web1"]]);
  });

  it("answers for published and labelled ports", () => {
    const ports = [{ port: 80, protocol: "tcp", name: "http" }];
    const { services } = zoneOf({ ...web({ ports, labels: { "flannel-np.srv.dns": "53/udp", "flannel-np.srv.bad": "70000" } }), containers: { items: [] } });
    const vip = { target: "web.web1", addresses: [ip("10.1.0.9")] };
    expect(services.get("_80._tcp.web")).toEqual([{ port: 80, ...vip }]);
    expect(services.get("_http._tcp.shop")).toEqual([{ port: 80, ...vip }]);
    expect(services.get("_dns._udp.web")).toEqual([{ port: 53, ...vip }]);
    expect(services.size).toBe(8);
  });

  it("says who stands behind it, unless told not to", () => {
    const world = snapshotOf({ ...web(), networks: { items: [network(1)] }, containers: { items: [member(2)] } });
    expect(dns.desire(world).value.table.zones.get(networkId(1))?.names.get("tasks.web")?.texts).toEqual([`service=Web task=task-2 node=node-a address=${one}`]);
    expect(careful.desire(world).value.table.zones.get(networkId(1))?.names.get("tasks.web")?.texts).toEqual([]);
  });

  it("has its network's TTL", () => {
    expect(zoneOf({ networks: { items: [network(1, { options: { "dns-ttl": "30" } })] } }).ttlSeconds).toBe(30);
    expect(zoneOf({}).ttlSeconds).toBe(5);
  });

  it("claimed by two services is answered by both, and told once", () => {
    const other = service(2, { name: "shop", networks: [{ network: networkId(1), aliases: [] }], vips: [{ network: networkId(1), address: ip("10.1.0.10") }] });
    const world = { networks: { items: [network(1)] }, services: { items: [...web().services?.items ?? [], other] } };
    expect(said(world, "shop")).toEqual([ip("10.1.0.10"), ip("10.1.0.9")]);
    const first = dns.plan(dns.desire(snapshotOf(world)), EMPTY);
    expect(first.changes.map(({ key, why }) => `${key}: ${why}`)).toContain("shared web1/shop: claimed by Web, shop");
    const after = apply(EMPTY, first.changes);
    expect(dns.plan(dns.desire(snapshotOf({ networks: world.networks })), after).changes.map(({ key }) => key)).toEqual(["table", "shared web1/shop"]);
  });
});

describe("what a sandbox sees", () => {
  const networks = { items: [network(1, { name: "zoo" }), network(2, { name: "ant" }), network(3, { name: "bee", internal: true })] };
  const joined = [1, 2, 3].map((n) => endpoint(n, 2, { stage: "joined", sandbox: "box" }));
  const order = (box?: Partial<Container>): readonly NetworkId[] | undefined => dns.desire(snapshotOf({
    networks, endpoints: { items: joined }, containers: { items: box === undefined ? [] : [container(2, { sandbox: "box", networks: on(2, [1, 2, 3]), ...box })] },
  })).value.table.sandboxes.get("box")?.zones;

  it("walks its networks in Docker's order", () => {
    expect(order()).toEqual([networkId(2), networkId(1), networkId(3)]);
    const first = { ...on(2, [1, 2]), [networkId(3)]: { endpoint: "ep-3-2" as EndpointId, address: addressOf(3, 2), aliases: [], gatewayPriority: 5 } };
    expect(order({ networks: first })).toEqual([networkId(3), networkId(2), networkId(1)]);
  });

  it("has its own links", () => {
    const linked = { [networkId(1)]: { endpoint: "ep-1-2" as EndpointId, address: one, aliases: [], links: ["Db:Store", "plain"] } };
    const view = dns.desire(snapshotOf({ networks, endpoints: { items: joined }, containers: { items: [container(2, { sandbox: "box", networks: linked })] } })).value.table.sandboxes.get("box");
    expect([...view?.links ?? []]).toEqual([["store", "db"], ["plain", "plain"]]);
  });
});

describe("when a sandbox is served", () => {
  const world: World = { networks: { items: [network(1)] }, endpoints: { items: [endpoint(1, 2, { stage: "joined", sandbox: "box" })] } };
  const keys = (reconciler: typeof dns, more: World, observed: DnsState = EMPTY): readonly string[] =>
    reconciler.plan(reconciler.desire(snapshotOf({ ...world, ...more })), observed).changes.map(({ op, key }) => `${op} ${key}`);
  const served = (more = {}): DnsState => ({ ...EMPTY, served: new Map([["box", { inode: 7n, port: 1, redirected: true, ...more }]]) });
  it.each<[string, readonly string[], readonly string[]]>([
    ["at its join", keys(dns, {}), ["create table", "create box"]],
    ["not before its namespace is there", keys(dns, {}, { ...EMPTY, namespaces: new Map() }), ["create table"]],
    ["not before all that could name something was listed", keys(careful, { services: { items: [], settled: false } }), ["create table"]],
    ["after that, patience is over", keys(careful, { services: { items: [], settled: false }, nowMs: NOW + 1 }), ["create table", "create box"]],
    ["again, when its queries do not reach us", keys(dns, {}, served({ redirected: false })), ["create table", "update box"]],
    ["again, when its namespace is another", keys(dns, {}, served({ inode: 9n })), ["create table", "update box"]],
    ["no more, when it is on no network of ours", keys(dns, { endpoints: { items: [] } }, served()), ["delete box", "create table"]],
    ["still, while endpoints are not listed", keys(dns, { endpoints: { items: [], settled: false } }, served()), ["create table"]],
    ["no more, when its namespace is gone, whatever is listed", keys(dns, { endpoints: { items: [], settled: false } }, { ...served(), namespaces: new Map() }), ["create table", "delete box"]],
  ])("%s", (_name, is, expected) => expect(is).toEqual(expected));

  it("is flushed only when its programs may have asked before", () => {
    const flushOf = (containers: readonly Container[]): unknown => dns.plan(dns.desire(snapshotOf({ ...world, containers: { items: containers } })), EMPTY).changes.at(-1);
    expect(flushOf([])).toMatchObject({ sandbox: "box", flush: false });
    expect(flushOf([container(2, { sandbox: "box", networks: on(2) })])).toMatchObject({ sandbox: "box", flush: true });
    expect(flushOf([container(2, { sandbox: "box", networks: on(2), node: "node-z" as NodeId })])).toMatchObject({ flush: false });
  });
});
