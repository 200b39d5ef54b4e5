/** Death of a node by three signs: silence alone takes nothing away, its own word brings everything back. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { NodeId } from "../../src/core/ids.ts";
import { follow, seenContainers, seenNodes, type Signs, type Standings } from "../../src/core/liveness.ts";
import type { Container, Member, NodeRecord } from "../../src/core/model.ts";
import { unknownView, type Coverage, type View } from "../../src/core/precedence.ts";
import { container, NODE, OTHER, publicIp } from "../plan/builders.ts";

const record = (more: Partial<NodeRecord> = {}): NodeRecord => ({ id: OTHER, hostname: "b", publicIp: publicIp(2), role: "worker", ...more });
const box = (n: number, more: Partial<Container> = {}): Container => container(n, { node: OTHER, ...more });
const view = <T extends { readonly id: string }>(items: readonly T[], coverage: Coverage = "complete"): View<T> =>
  ({ coverage, items: new Map(items.map((item) => [item.id, item])) });
const seen = (nodes: readonly NodeRecord[], boxes: readonly Container[], coverage: Coverage = "complete") =>
  ({ nodes: view(nodes, coverage), containers: view(boxes, coverage) });
const member = (id: NodeId, state: string): Member => ({ id, hostname: id, state, index: 1 });
const signs = (state = "ready", failures = 0): Signs => ({
  self: NODE, machine: { hostname: "a", address: publicIp(1) }, failures: new Map([[OTHER, failures]]),
  members: new Map([[NODE, member(NODE, "ready")], ...(state === "" ? [] : [[OTHER, member(OTHER, state)] as const])]),
});
const WELL = seen([record()], [box(1), box(2)]);
const GONE = seen([], []);
const before = follow(new Map(), WELL, signs());
const shown = (standings: Standings, from: View<Container>, by: Signs = signs()): string[] => [...seenContainers(from, standings, by).items.keys()].sort();
const stateOf = (standings: Standings): string | undefined => standings.get(OTHER)?.state;

describe("a node that falls silent", () => {
  it("is in doubt, and all its containers stay", () => {
    const after = follow(before, GONE, signs());
    expect([stateOf(after), shown(after, GONE.containers)]).toEqual(["doubtful", ["box-1", "box-2"]]);
    expect([...seenNodes(GONE.nodes, after).items.values()]).toEqual([record()]);
  });

  it.each<[string, Signs, string]>([
    ["Docker lists it down", signs("down"), "Docker lists it down"],
    ["Docker lists it no more", signs(""), "Docker lists it no more"],
    ["it failed three probes", signs("ready", 3), "it failed 3 probes"],
    ["this machine left it behind under another id", { ...signs(), machine: { hostname: "b", address: publicIp(2) } }, "another node has its address"],
  ])("dies when %s", (_name, by, sign) => {
    const doubt = follow(before, GONE, signs());
    const after = follow(doubt, GONE, by);
    expect(after.get(OTHER)).toMatchObject({ state: "dead", sign });
    expect([shown(after, GONE.containers, by), seenNodes(GONE.nodes, after).items.size]).toEqual([[], 0]);
    expect(follow(after, GONE, signs()).has(OTHER)).toBe(false);
  });

  it.each<[string, Signs]>([
    ["two failed probes", signs("ready", 2)], ["a list of another swarm", { ...signs(""), members: new Map([["x", member("x" as NodeId, "ready")]]) }],
    ["a twin of its address", { ...signs(), machine: { hostname: "a", address: publicIp(2) } }], ["no list", { ...signs(), members: new Map() }], ["swarm's doubt", signs("unknown")],
  ])("lives on through %s", (_name, by) => {
    expect(stateOf(follow(follow(before, GONE, signs()), GONE, by))).toBe("doubtful");
  });

  it("is back at once by its own word, from doubt and from death", () => {
    const doubt = follow(before, GONE, signs());
    for (const was of [doubt, follow(doubt, GONE, signs("down"))]) {
      const after = follow(was, seen([record()], [box(3)]), signs());
      expect([stateOf(after), shown(after, view([box(3)]))]).toEqual(["present", ["box-3"]]);
    }
  });

  it("is not judged while etcd does not answer, and keeps what it had", () => {
    const doubt = follow(before, GONE, signs());
    const lost = seen([], [], "unknown");
    expect(follow(doubt, lost, signs("down", 9))).toBe(doubt);
    expect(seenContainers(lost.containers, doubt, signs())).toMatchObject({ coverage: "unknown", items: new Map([["box-1", box(1)], ["box-2", box(2)]]) });
  });
});

describe("a node that speaks", () => {
  it("takes its containers away itself", () => {
    expect(shown(follow(before, seen([record()], [box(2)]), signs()), view([box(2)]))).toEqual(["box-2"]);
  });

  it("loses what swarm runs on it the moment Docker lists it down, and keeps the rest", () => {
    const boxes = [box(1, { task: "t" as never }), box(2)];
    const now = seen([record()], boxes);
    const after = follow(before, now, signs("down"));
    expect([stateOf(after), shown(after, now.containers, signs("down"))]).toEqual(["present", ["box-2"]]);
  });

  it("leaves the views as they are while all is well", () => {
    expect(seenContainers(WELL.containers, before, signs())).toBe(WELL.containers);
    expect(seenNodes(WELL.nodes, before)).toBe(WELL.nodes);
  });
});

describe("maintenance", () => {
  const resting = seen([record({ maintenance: true })], [box(1), box(2)]);
  it("keeps everything, in doubt", () => {
    const after = follow(before, resting, signs());
    expect([stateOf(after), shown(after, resting.containers)]).toEqual(["doubtful", ["box-1", "box-2"]]);
  });

  it("ends by the same signs although its keys still live, and stays ended until the node speaks", () => {
    const dead = follow(follow(before, resting, signs()), resting, signs("ready", 3));
    expect([stateOf(dead), shown(dead, resting.containers)]).toEqual(["dead", []]);
    expect(stateOf(follow(dead, resting, signs()))).toBe("dead");
    expect(shown(follow(dead, WELL, signs()), WELL.containers)).toEqual(["box-1", "box-2"]);
  });
});

it("own containers and those of unknown nodes pass as etcd shows them", () => {
  const now = seen([], [container(7), box(8)]);
  expect(shown(follow(new Map(), now, signs()), now.containers)).toEqual(["box-7", "box-8"]);
  expect(seenContainers(unknownView(), new Map(), signs()).items.size).toBe(0);
});

it("whatever happens: silence without a sign never takes a container away, and death shows none", () => {
  const step = fc.record({ here: fc.boolean(), maintenance: fc.boolean(), boxes: fc.subarray([1, 2, 3]), down: fc.boolean(), failures: fc.nat(4), lost: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
    let standings: Standings = new Map();
    for (const { here, maintenance, boxes, down, failures, lost } of steps) {
      const was = standings.get(OTHER);
      const by = signs(down ? "down" : "ready", failures);
      const now = seen(here ? [record(maintenance ? { maintenance: true } : {})] : [], here ? boxes.map((n) => box(n)) : [], lost ? "unknown" : "complete");
      standings = follow(standings, now, by);
      const visible = shown(standings, now.containers, by);
      const is = standings.get(OTHER);
      if (is?.state === "dead") expect(visible).toEqual([]);
      if (!here && !lost && !down && failures < 3 && was !== undefined && was.state !== "dead") expect(visible).toEqual([...was.containers.keys()].sort());
    }
  }));
});
