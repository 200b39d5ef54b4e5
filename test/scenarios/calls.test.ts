/**
 * Driver calls lost, repeated and out of order: whatever sequence an endpoint's calls come in, no address is held twice, what Docker
 * has stays, and what it has not is gone and free when its time is over.
 *
 * FNP_SEED repeats a run.
 */
import { afterAll, beforeAll, expect, it, jest } from "@jest/globals";
import type { ContainerId, EndpointId, Ipv4, NetworkId } from "../../src/core/ids.ts";
import { REST_MS, START_GRACE_MS } from "../../src/core/addresses.ts";
import { seeded } from "../fakes/faulty.ts";
import { Cluster } from "./cluster.ts";
import type { Node } from "./node.ts";
import { passing, quiet } from "./story.ts";

const SEED = Number(process.env["FNP_SEED"] ?? 11);
const ENDPOINTS = 60;
const CALLS = ["CreateEndpoint", "Join", "Leave", "DeleteEndpoint", "ReleaseAddress"] as const;
const POOL = "L:web";

const random = seeded(SEED);
const below = (n: number): number => Math.floor(random() * n);
let cluster: Cluster;
let node: Node;

beforeAll(async () => {
  jest.useFakeTimers({ now: new Date("2026-01-01T00:00:00Z") });
  cluster = new Cluster(["manager"], { seed: SEED, rate: 0 });
  node = cluster.node("node1");
  node.start();
  await quiet(cluster, "start");
  await passing(cluster.allocate("web"));
  await passing(cluster.startBox(node, { name: "steady", networks: ["web"] }));
  await quiet(cluster, "steady");
});
afterAll(() => { jest.useRealTimers(); });

/** Undefined when it was refused: Docker goes on. */
const tell = (method: string, body: object): Promise<Readonly<Record<string, string>> | undefined> =>
  passing((node.life?.calls[method]?.(body) ?? Promise.reject(new Error("no life"))).then((answer) => (answer ?? {}) as Readonly<Record<string, string>>, () => undefined));

interface Held { readonly endpoint: EndpointId; readonly address: Ipv4; readonly given: string }

async function address(n: number): Promise<Held> {
  const mac = `02:42:00:00:01:${n.toString(16).padStart(2, "0")}`;
  const answer = await tell("IpamDriver.RequestAddress", { PoolID: POOL, Address: "", Options: { "com.docker.network.endpoint.macaddress": mac } });
  const given = answer?.["Address"] ?? "";
  return { endpoint: `endpoint-${n}` as EndpointId, address: given.split("/")[0] as Ipv4, given };
}

function one(call: (typeof CALLS)[number], { endpoint, address: held, given }: Held): Promise<unknown> {
  const both = { NetworkID: "web", EndpointID: endpoint };
  if (call === "ReleaseAddress") return tell("IpamDriver.ReleaseAddress", { PoolID: POOL, Address: held });
  if (call === "CreateEndpoint") return tell("NetworkDriver.CreateEndpoint", { ...both, Interface: { Address: given, AddressIPv6: "", MacAddress: "02:42:00:00:02:01" }, Options: {} });
  return tell(`NetworkDriver.${call}`, call === "Join" ? { ...both, SandboxKey: `/run/docker/netns/s-${endpoint}`, Options: {} } : both);
}

const links = async (): Promise<readonly string[]> => [...(await node.host.endpoints.observe(new AbortController().signal)).values()].map(({ alias }) => alias);

it(`${ENDPOINTS} endpoints with calls missing, doubled and shuffled`, async () => {
  const living = new Map<EndpointId, Held>();
  for (let n = 0; n < ENDPOINTS; n += 1) {
    const held = await address(n);
    expect([...living.values()].map((other) => other.address)).not.toContain(held.address);
    expect(node.docker.boxes.get("box-steady" as ContainerId)?.attachments[0]?.address).not.toBe(held.address);
    if (below(3) === 0) {
      // Docker's own order, some calls twice; it lists the container.
      for (const call of ["CreateEndpoint", "CreateEndpoint", "Join", "Join"].filter((_, at) => at % 2 === 0 || below(2) === 0)) await one(call as (typeof CALLS)[number], held);
      living.set(held.endpoint, held);
      const id = `box-${n}` as ContainerId;
      node.docker.boxes.set(id, { id, name: id, hostname: id, running: true, startedAt: id, health: "none", sandbox: `s-${held.endpoint}`, attachments: [{ network: "web" as NetworkId, endpoint: held.endpoint, address: held.address, aliases: [] }] });
      node.docker.tell("container", "start", id);
    } else {
      for (let calls = below(7); calls > 0; calls -= 1) await one(CALLS[below(CALLS.length)] ?? "Join", held);
    }
  }
  await passing(new Promise((resolve) => { setTimeout(resolve, 2 * START_GRACE_MS); }));
  await quiet(cluster, "after the grace");
  expect([...await links()].filter((alias) => !alias.startsWith("endpoint-steady")).sort()).toEqual([...living.keys()].sort());
  await passing(node.life?.known.book.fix() ?? Promise.reject(new Error("no life")));
  await passing(new Promise((resolve) => { setTimeout(resolve, REST_MS + 1_000); }));
  const own = (await passing(node.life?.known.book.fix() ?? Promise.reject(new Error("no life")))).ranges.find(({ node: who }) => who === "node1");
  expect(own).toMatchObject({ used: living.size + 1, leaked: 0 });
});

it("what comes twice for one endpoint is answered the same", async () => {
  const held = await address(200);
  await one("CreateEndpoint", held);
  expect(await one("CreateEndpoint", held)).toEqual({});
  const first = await one("Join", held);
  expect(first).toMatchObject({ InterfaceName: { DstPrefix: "eth" } });
  expect(await one("Join", held)).toEqual(first);
  for (const call of ["Leave", "Leave", "DeleteEndpoint", "DeleteEndpoint"] as const) expect(await one(call, held)).toEqual({});
  expect(await links()).not.toContain(held.endpoint);
});

it("an address of a living endpoint is refused to another one by name", async () => {
  const [held, other] = [await address(201), await address(202)];
  await one("CreateEndpoint", held);
  expect(await one("CreateEndpoint", { ...other, given: held.given })).toBeUndefined();
  expect(node.said.filter(({ event }) => event === "address.conflict").at(-1)?.fields).toEqual({ address: held.address, endpoint: other.endpoint });
});
