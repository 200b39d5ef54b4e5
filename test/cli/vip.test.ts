/** `vip list` against a debug endpoint on a socket. */
import { afterEach, describe, expect, test } from "@jest/globals";
import type { VipAnswer } from "../../src/core/state-answer.ts";
import { fakeOperator, flannelNp, type FakeOperator, type Said } from "./fake-operator.ts";

let operator: FakeOperator | undefined;
afterEach(async () => { await operator?.close(); operator = undefined; });

async function list(answer: unknown, ...args: readonly string[]): Promise<Said> {
  operator = await fakeOperator({ "GET /vips": answer });
  return flannelNp(["vip", "list", ...args, "--socket", operator.socket]);
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
