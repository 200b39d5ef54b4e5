/** Three sources become one snapshot: whose word counts for which kind, and when it comes. */
import { describe, expect, it } from "@jest/globals";
import { of } from "rxjs";
import { TestScheduler } from "rxjs/testing";
import type { Container, Endpoint, Intents, NodeFacts, Pool, SubnetLease, Views } from "../../src/core/model.ts";
import { unknownView, type View } from "../../src/core/precedence.ts";
import { snapshotOf, snapshots$, type ViewsBySource } from "../../src/core/snapshot.ts";

const unknown: Views = {
  networks: unknownView(), services: unknownView(), tasks: unknownView(), containers: unknownView(), endpoints: unknownView(),
  pools: unknownView(), subnets: unknownView(), members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
};
const intents: Intents = { begun: new Map(), ended: new Set(), pools: new Map(), subnets: new Map(), grants: new Map() };
const complete = <T>(...items: readonly (readonly [string, T])[]): View<T> => ({ coverage: "complete", items: new Map(items) });
/** Records of which the snapshot reads one or two fields. */
const container = (id: string, node: string): Container => ({ id, node } as unknown as Container);
const endpoint = (id: string, stage: Endpoint["stage"]): Endpoint => ({ id, stage } as unknown as Endpoint);
const self = (id: string | undefined): View<NodeFacts> =>
  complete(["self", { ...(id === undefined ? {} : { id }), hostname: "box", role: "manager", leader: true, dockerSeen: true } as NodeFacts]);

const take = (views: Partial<Record<keyof ViewsBySource, Partial<Views>>>, said: Partial<Intents> = {}): ReturnType<typeof snapshotOf> => snapshotOf(
  { docker: { ...unknown, ...views.docker }, etcd: { ...unknown, ...views.etcd }, memory: { ...unknown, ...views.memory } }, { ...intents, ...said }, 7, 99,
);

describe("a snapshot", () => {
  it("of silent sources is empty, unsettled, and knows no node", () => {
    const { networks, containers, node, revision, nowMs, networksListed } = take({});
    expect([networks, containers]).toEqual([{ facts: new Map(), settled: false }, { facts: new Map(), settled: false }]);
    expect(node).toEqual({ hostname: "", role: "unknown", leader: false, dockerSeen: false });
    expect([revision, nowMs, networksListed]).toEqual([7, 99, false]);
  });

  it("holds this node's containers on Docker's word and the others' on etcd's", () => {
    const { containers } = take({
      docker: { node: self("me"), containers: complete(["a", container("a", "me")]) },
      etcd: { containers: complete(["a", container("a", "me")], ["old", container("old", "me")], ["b", container("b", "you")]) },
    });
    expect([...containers.facts].map(([key, { from }]) => [key, from]).sort()).toEqual([["a", "docker"], ["b", "etcd"]]);
    expect(containers.settled).toBe(true);
  });

  it("is unsettled about containers while either shard is", () => {
    const mine = { node: self("me"), containers: complete(["a", container("a", "me")]) };
    const others = { containers: complete(["b", container("b", "you")]) };
    expect(take({ docker: mine }).containers.settled).toBe(false);
    expect(take({ docker: { node: self("me") }, etcd: others }).containers.settled).toBe(false);
    expect(take({ docker: mine, etcd: others }).containers.settled).toBe(true);
  });

  it("lives on memory's containers of both shards while nobody else speaks", () => {
    const { containers } = take({ memory: { node: unknownView(self("me").items), containers: unknownView(new Map([["a", container("a", "me")], ["b", container("b", "you")]])) } });
    expect([...containers.facts.keys()].sort()).toEqual(["a", "b"]);
    expect(containers.settled).toBe(false);
  });

  it("has endpoints that began although the listing lacks them, and not those that ended although it shows them", () => {
    const { endpoints, ended } = take(
      { docker: { endpoints: complete(["listed", endpoint("listed", "joined")], ["leaving", endpoint("leaving", "joined")]) } },
      { begun: new Map([["new", endpoint("new", "created")]]), ended: new Set(["leaving"]) },
    );
    expect([...endpoints.facts.keys()].sort()).toEqual(["listed", "new"]);
    expect(endpoints.settled).toBe(true);
    expect([...ended]).toEqual(["leaving"]);
  });

  it("has own writes that etcd has not echoed yet", () => {
    const [pool, lease] = [{ cidr: "10.0.0.0/20" } as Pool, { subnet: "10.0.4.0/25" } as SubnetLease];
    const { pools, subnets } = take({ etcd: { pools: complete(), subnets: complete() } }, { pools: new Map([["p", pool]]), subnets: new Map([["s", lease]]) });
    expect(pools.facts.get("p")?.value).toBe(pool);
    expect(subnets.facts.get("s")?.value).toBe(lease);
  });

  it("may declare a network gone only on Docker's own listing, not on a copy of it", () => {
    expect(take({ etcd: { networks: complete() } })).toMatchObject({ networks: { settled: true }, networksListed: false });
    expect(take({ docker: { networks: complete() } })).toMatchObject({ networks: { settled: true }, networksListed: true });
  });
});

describe("snapshots", () => {
  it("come once all sources have spoken, then at each change, with rising revisions", () => {
    new TestScheduler((actual, expected) => expect(actual).toEqual(expected)).run(({ hot, expectObservable }) => {
      const views = { v: unknown };
      const sources = { docker: hot<Views>("-v----v-", views), etcd: hot<Views>("--v-----", views), memory: hot<Views>("---v-v--", views) };
      const at = (revision: number): unknown => ({ ...snapshotOf({ docker: unknown, etcd: unknown, memory: unknown }, intents, revision, 5) });
      expectObservable(snapshots$(sources, of(intents), () => 5)).toBe("---a-bc-", { a: at(1), b: at(2), c: at(3) });
    });
  });
});
