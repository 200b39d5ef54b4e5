/** What nodes do with a VIP, side by side: what is cut from a long answer, what differs, who is missing and why. */
import { describe, expect, it } from "@jest/globals";
import type { NodeId } from "../../src/core/ids.ts";
import type { VipNode, VipRow } from "../../src/core/state-answer.ts";
import { answerSize, cutTo, neighboursOf, rowsOf, swarmVips } from "../../src/core/vip-swarm.ts";
import { ip, nodeRecord, NODE, OTHER, snapshotOf } from "../plan/builders.ts";

const row = (service: string, vip: string, servers: readonly string[], differences: readonly string[] = []): VipRow => ({
  service, network: "net", vip: ip(vip), scheduler: "rr", differences,
  backends: servers.map((address) => ({ address: ip(address), state: "ready", weight: 1, connections: 0, drainingMs: 0, container: "c", node: "n" })),
});
const part = (id: string, ...vips: readonly VipRow[]): VipNode => ({ id, node: id, balancer: { engine: "nftables", why: "auto" }, vips, cut: 0, cutDiffering: 0 });
const member = (id: NodeId, hostname: string, state = "ready") => ({ id, hostname, state, index: 1 });
const heard = (...parts: readonly VipNode[]) => new Map(parts.map((one) => [one.id, one]));
const neighbours = (...ids: readonly string[]) => ids.map((id) => ({ id, node: id }));

describe("an answer", () => {
  it("is of one service, by name or VIP, or of all", () => {
    const rows = [row("a", "10.1.0.1", []), row("b", "10.1.0.2", [])];
    expect([rowsOf(rows, undefined), rowsOf(rows, "b"), rowsOf(rows, "10.1.0.1"), rowsOf(rows, "c")].map((found) => found.map(({ service }) => service))).toEqual([["a", "b"], ["b"], ["a"], []]);
  });

  it("is cut to its size: what differs first, the rest counted", () => {
    const rows = Array.from({ length: 100 }, (_, n) => row(`s${n}`, `10.1.0.${n}`, ["10.1.4.2"], n >= 98 ? ["create x (missing)"] : []));
    const cut = cutTo(JSON.stringify(rows[98]).length * 2 + 300, part("n", ...rows));
    expect(cut.vips.map(({ service }) => service)).toEqual(["s0", "s98", "s99"]);
    expect(cut).toMatchObject({ cut: 97, cutDiffering: 0 });
    expect(cutTo(10, part("n", ...rows))).toMatchObject({ vips: [], cut: 100, cutDiffering: 2 });
  });

  it("stays below etcd's limit whatever is asked, and all of them together are small", () => {
    const many = Array.from({ length: 5_000 }, (_, n) => row(`service-${n}`, `10.${n >> 8}.0.${n & 255}`, Array.from({ length: 10 }, (_server, s) => `10.1.4.${s}`)));
    expect(JSON.stringify(cutTo(Infinity, part("n", ...many))).length).toBeLessThan(1_000_000);
    expect([1, 8, 1_000].map(answerSize)).toEqual([524_288, 262_144, 16_384]);
  });
});

describe("the nodes of a swarm", () => {
  it("are those that told of themselves and those that swarm lists", () => {
    const snapshot = snapshotOf({
      nodes: { items: [nodeRecord(1), nodeRecord(2), { ...nodeRecord(3), maintenance: true }] },
      members: { items: [member(NODE, "box-1"), member(OTHER, "box-2"), member("node-d" as NodeId, "a-d", "down")] },
    });
    expect(neighboursOf(snapshot).map(({ id, mute }) => [id, mute])).toEqual([
      ["node-d", "no plugin speaks there; swarm says down"], [nodeRecord(2).id, undefined], [nodeRecord(3).id, "its plugin was stopped"],
    ]);
  });
});

describe("side by side", () => {
  it("nothing differs where all do the same; a VIP that a node does not carry is no difference", () => {
    const same = row("web", "10.1.0.5", ["10.1.4.2", "10.1.5.2"]);
    expect(swarmVips({ own: part("a", same), neighbours: neighbours("b", "c"), answers: heard(part("b", same), part("c")), waitedMs: 5_000 })).toMatchObject({ differences: [] });
  });

  it("names servers that one node has and another has not, unless a table itself is wrong: that is said by its node", () => {
    const [full, less] = [row("web", "10.1.0.5", ["10.1.4.2", "10.1.5.2"]), row("web", "10.1.0.5", ["10.1.4.2"])];
    const both = (other: VipRow) => swarmVips({ own: part("a", full), neighbours: neighbours("b"), answers: heard(part("b", other)), waitedMs: 5_000 }).differences;
    expect(both(less)).toEqual(["10.1.0.5>10.1.5.2 takes connections on a, not on b"]);
    expect(both({ ...less, differences: ["create 10.1.0.5>10.1.5.2 (missing)"] })).toEqual([]);
  });

  it("names who is missing and why, and who answered unexpectedly", () => {
    const answer = swarmVips({ own: part("a"), neighbours: [...neighbours("b"), { id: "c", node: "c", mute: "its plugin was stopped" }], answers: heard(part("z")), waitedMs: 5_000 });
    expect(answer.nodes.map(({ id, missing }) => [id, missing])).toEqual([
      ["a", undefined], ["b", "no answer within 5 s; it may be of an older version"], ["c", "its plugin was stopped"], ["z", undefined],
    ]);
    const problem = { code: "unavailable", message: "Cannot ask" } as const;
    expect(swarmVips({ own: part("a"), neighbours: neighbours("b"), answers: new Map(), waitedMs: 5_000, problem })).toMatchObject({ problem, nodes: [{}, { missing: "it could not be asked" }] });
  });
});
