/** Endpoints: one link per container, gone at Docker's word, never on the word of a source that has not listed. */
import { describe, expect, it } from "@jest/globals";
import type { EndpointId } from "../../src/core/ids.ts";
import { vethHost } from "../../src/core/names.ts";
import { endpoints } from "../../src/reconcilers/endpoints.ts";
import type { EndpointChange, EndpointLink, EndpointState, ObservedEndpoint } from "../../src/sinks/links.ts";
import { endpoint, ip, lease, pool, snapshotOf, type World } from "./builders.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const made = ({ link, peer, alias, mtuBytes, address, source, joined }: EndpointLink): ObservedEndpoint => ({
  link, alias, mtuBytes, peer: joined ? undefined : { name: peer, mtuBytes }, routes: [{ address, source }], faults: [],
});
const facility: Facility<EndpointState, EndpointChange> = {
  empty: new Map(),
  apply(observed, changes) {
    const next = new Map(observed);
    for (const change of changes) {
      if (change.op === "delete") next.delete(change.link);
      else next.set(change.endpoint.link, made(change.endpoint));
    }
    return next;
  },
  disturb: (observed, pick) => new Map([...observed].map(([key, link]): [string, ObservedEndpoint] => [key, [
    link, { ...link, alias: "" }, { ...link, routes: [] }, { ...link, faults: ["down"] }, { ...link, mtuBytes: 9000 },
    { ...link, routes: [...link.routes, { address: ip("10.9.9.9"), source: undefined }] },
  ][pick(6)] ?? link])),
  reversed: reversedMap,
};

const NET: World = { pools: { items: [pool(1)] }, subnets: { items: [lease(1)] } };
const box = endpoint(1, 2);
const link = vethHost(pool(1).vni ?? (0 as never), box.id);
const planOf = (world: World, observed: EndpointState = new Map()) => endpoints.plan(endpoints.desire(snapshotOf(world)), observed);
const standing = facility.apply(new Map(), planOf({ ...NET, endpoints: { items: [box] } }).changes);

describe("endpoints", () => {
  obeysTheLaws(endpoints, facility, (change, { ended = [] }) => change.op === "delete" && ended.some((id) => change.link.endsWith(vethHost(pool(1).vni ?? (0 as never), id as EndpointId).slice(-7))));

  it("makes a link with the network's gateway as source and what VXLAN leaves of the underlay's MTU", () => {
    expect(planOf({ ...NET, endpoints: { items: [box] } }).changes).toEqual([{
      op: "create", key: link, why: "missing",
      endpoint: { link, peer: expect.stringMatching(/^fnq/), alias: box.id, address: "10.1.4.2", source: "10.1.4.1", mtuBytes: 1450, joined: false },
    }]);
  });

  it("does not make the link of a container that has joined: its end cannot be reached any more", () => {
    expect(planOf({ ...NET, endpoints: { items: [{ ...box, stage: "joined" }] } })).toEqual({
      changes: [], held: [], broken: [{ reason: expect.stringContaining(`Endpoint ep-1-2 (10.1.4.2): somebody deleted its link ${link}`), cure: "Restart the container" }],
    });
  });

  it("does not call a link deleted while Docker has not listed: after a reboot none of them exists", () => {
    expect(planOf({ ...NET, endpoints: { items: [{ ...box, stage: "joined" }], settled: false } })).toEqual({ changes: [], held: [] });
  });

  it("mends the link of a container that has joined", () => {
    const broken = new Map([...standing].map(([key, is]) => [key, { ...is, faults: ["down"], mtuBytes: 1400, routes: [] }]));
    expect(planOf({ ...NET, endpoints: { items: [{ ...box, stage: "joined" }] } }, broken).changes)
      .toMatchObject([{ op: "update", why: "down, mtu 1400 → 1450, no route to 10.1.4.2" }]);
  });

  it("takes a link away at once when Docker ended its endpoint, listed or not", () => {
    const world: World = { ...NET, endpoints: { items: [], settled: false }, ended: [box.id] };
    expect(planOf(world, standing)).toEqual({ changes: [{ op: "delete", key: link, link, why: "Docker ended its endpoint" }], held: [] });
  });

  it.each<[string, World, "changes" | "held"]>([
    ["Docker listed all and lacks it", { ...NET, endpoints: { items: [] } }, "changes"],
    ["Docker has not listed", { ...NET, endpoints: { items: [], settled: false } }, "held"],
    ["another endpoint's network is not known yet", { ...NET, endpoints: { items: [endpoint(2, 2)] } }, "held"],
  ])("a link without endpoint, %s", (_name, world, where) => {
    expect(planOf(world, standing)[where]).toEqual([{ op: "delete", key: link, link, why: "no container has it" }]);
  });

  it("says which endpoint waits for its network", () => {
    expect(endpoints.desire(snapshotOf({ endpoints: { items: [endpoint(2, 2)] } })).blocked)
      .toEqual(["endpoint ep-2-2: this node holds no subnet of network net-2 yet"]);
  });

  it("keeps the link of every endpoint that Docker still shows", () => {
    forAll(casesOf(endpoints, facility), ({ world, plan }) => {
      const alive = new Set((world.endpoints?.items ?? []).map(({ id }) => id as string));
      const links = new Set([...alive].flatMap((id) => [1, 2, 3, 4].map((n) => vethHost((100 + n) as never, id as EndpointId))));
      expect(plan.changes.filter((change) => change.op === "delete" && links.has(change.link))).toEqual([]);
    });
  });
});
