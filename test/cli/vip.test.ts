/** `vip list` against a debug endpoint on a socket. */
import { afterEach, describe, expect, test } from "@jest/globals";
import type { SwarmVipAnswer, VipAnswer, VipNode } from "../../src/core/state-answer.ts";
import { fakeOperator, flannelNp, type FakeOperator, type Said } from "./fake-operator.ts";

let operator: FakeOperator | undefined;
afterEach(async () => { await operator?.close(); operator = undefined; });

async function list(answer: unknown, ...args: readonly string[]): Promise<Said> {
  operator = await fakeOperator({ "GET /vips": answer });
  return flannelNp(["vip", "list", ...args, "--socket", operator.socket]);
}
async function listAll(answer: SwarmVipAnswer, ...args: readonly string[]): Promise<Said> {
  operator = await fakeOperator({ "GET /vips/all": answer, "GET /vips/all?service=web": answer });
  return flannelNp(["vip", "list", "--all-nodes", ...args, "--socket", operator.socket]);
}
const answer = {
  engine: "nftables", why: "BALANCER=auto", vips: [
    { service: "web", network: "net", vip: "10.1.0.5", scheduler: "rr", differences: [], backends: [
      { address: "10.1.4.2", state: "ready", weight: 1, connections: 7, drainingMs: 0, container: "c1", node: "box-a" },
      { address: "10.1.5.2", state: "draining", weight: 0, connections: 1, drainingMs: 3_000, container: "c2", node: "box-b" },
    ] },
    { service: "empty", network: "net", vip: "10.1.0.6", scheduler: "rr", differences: [], backends: [] },
  ],
} as unknown as VipAnswer;

describe("vip list", () => {
  test("one line per server, a service without any says that it refuses", async () => {
    const { exit, out, err } = await list(answer);
    expect(err).toBe("");
    expect(out).toBe([
      "engine nftables (BALANCER=auto)",
      "SERVICE  NETWORK  VIP       SCHEDULER  SERVER    STATE             CONNECTIONS  CONTAINER  NODE",
      "web      net      10.1.0.5  rr         10.1.4.2  ready             7            c1         box-a",
      "-        -        -         -          10.1.5.2  draining for 3 s  1            c2         box-b",
      "empty    net      10.1.0.6  rr         -         refuses           -            -          -", "",
    ].join("\n"));
    expect(exit).toBe(0);
  });

  test("of one service, by name or address, or none", async () => {
    expect(JSON.parse((await list(answer, "empty", "-o", "json")).out)).toMatchObject({ engine: "nftables", vips: [{ service: "empty" }] });
    await operator?.close();
    expect((await list(answer, "10.1.0.5")).out).not.toContain("empty");
    await operator?.close();
    expect(await list(answer, "nobody")).toMatchObject({ exit: 2, err: expect.stringContaining("Cannot find a VIP of nobody on this node") });
  });

  test("what differs in the kernel is shown, exit 1", async () => {
    const [web] = answer.vips;
    const { exit, out } = await list({ ...answer, vips: [{ ...web, differences: ["delete 10.1.0.5>10.1.5.2 (not desired)"] }] });
    expect(out).toContain("\nDIFFERENT IN THE KERNEL\n  delete 10.1.0.5>10.1.5.2 (not desired)\n");
    expect(exit).toBe(1);
  });

  test("without any VIP it says so", async () => {
    expect((await list({ engine: "off", why: "BALANCER=off", vips: [] })).out).toBe("engine off (BALANCER=off)\nno VIP on this node\n");
  });
});

describe("vip list --all-nodes", () => {
  const part = (node: string, more: Partial<VipNode> = {}): VipNode =>
    ({ id: node, node, balancer: { engine: "nftables", why: "auto" }, vips: answer.vips.slice(1), cut: 0, cutDiffering: 0, ...more });
  const [empty] = answer.vips.slice(1);

  test("every node's rows, by node; exit 0 when nothing differs", async () => {
    const { exit, out, err } = await listAll({ nodes: [part("n1", { vips: answer.vips }), part("n2")], differences: [] });
    expect(err).toBe("");
    expect(out).toBe([
      "n1: engine nftables (auto)", "n2: engine nftables (auto)",
      "NODE  SERVICE  NETWORK  VIP       SCHEDULER  SERVER    STATE             CONNECTIONS  CONTAINER  RUNS ON",
      "n1    web      net      10.1.0.5  rr         10.1.4.2  ready             7            c1         box-a",
      "n1    -        -        -         -          10.1.5.2  draining for 3 s  1            c2         box-b",
      "n1    empty    net      10.1.0.6  rr         -         refuses           -            -          -",
      "n2    empty    net      10.1.0.6  rr         -         refuses           -            -          -", "",
    ].join("\n"));
    expect(exit).toBe(0);
  });

  test.each<readonly [string, SwarmVipAnswer, string]>([
    ["a table differs", { nodes: [part("n1"), part("n2", { vips: [{ ...empty as VipNode["vips"][number], differences: ["create a>b (missing)"] }] })], differences: [] }, "\nDIFFERENT IN THE KERNEL\n  n2: create a>b (missing)\n"],
    ["nodes differ", { nodes: [part("n1"), part("n2")], differences: ["v>s takes connections on n1, not on n2"] }, "\nDIFFERENT BETWEEN NODES\n  v>s takes connections on n1, not on n2\n"],
    ["a node is not heard", { nodes: [part("n1"), { id: "n2", node: "n2", vips: [], cut: 0, cutDiffering: 0, missing: "its plugin was stopped" }], differences: [] }, "\nNOT HEARD\n  n2: its plugin was stopped\n"],
    ["what is cut differs", { nodes: [part("n1"), part("n2", { cut: 3, cutDiffering: 1 })], differences: [] }, "\nNOT SHOWN\n  n2: 3 VIPs, 1 of them different in the kernel; name a service"],
    ["etcd is away", { nodes: [part("n1")], differences: [], problem: { code: "unavailable", message: "Cannot reach etcd", cure: "Start it" } }, "\nCannot reach etcd.\nStart it.\n"],
  ])("exit 1 when %s", async (_what, seen, text) => {
    const { exit, out } = await listAll(seen);
    expect(out).toContain(text);
    expect(exit).toBe(1);
  });

  test("what is only cut is counted, exit 0; JSON is the whole answer", async () => {
    const seen = { nodes: [part("n1"), part("n2", { cut: 1 })], differences: [] };
    expect(await listAll(seen)).toMatchObject({ exit: 0, out: expect.stringContaining("n2: 1 VIP; name a service, or ask there without --all-nodes") });
    await operator?.close();
    expect(JSON.parse((await listAll(seen, "web", "-o", "json")).out)).toEqual(seen);
  });

  test("a service that no node knows", async () => {
    expect(await listAll({ nodes: [part("n1", { vips: [] })], differences: [] }, "web")).toMatchObject({ exit: 2, err: expect.stringContaining("Cannot find a VIP of web on any node") });
  });
});
