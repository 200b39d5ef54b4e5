/** The verbs against a debug endpoint on a socket: what is asked, what is shown, which status ends it. */
import { afterEach, describe, expect, test } from "@jest/globals";
import type { ServerResponse } from "node:http";
import { fakeOperator, flannelNp, READY, REFUSED, STATE, type Answers, type FakeOperator } from "./fake-operator.ts";

let operator: FakeOperator | undefined;
afterEach(async () => { await operator?.close(); operator = undefined; });

async function asking(args: readonly string[], answers: Answers): Promise<{ exit: number; out: string; err: string; asked: readonly string[] }> {
  operator = await fakeOperator(answers);
  return { ...await flannelNp([...args, "--socket", operator.socket]), asked: operator.asked };
}

describe("status", () => {
  const status = (ready: unknown, state: unknown, ...more: readonly string[]) => asking(["status", ...more], { "GET /readyz": ready, "GET /state": state });

  test("a well node: one screen, exit 0", async () => {
    const { exit, out, err } = await status(READY, STATE);
    expect(err).toBe("");
    expect(out).toBe([
      "node1 (manager, leader), 10.99.0.11 on eth0, MTU 1500", "flannel-np 0.1.0, revision 12, boot b1", "balancer nftables (BALANCER=auto)", "ready", "",
      "SOURCES",
      "SOURCE  KNOWS",
      "docker  complete: networks, services; partial: containers",
      "etcd    unknown: networks",
      "memory  -", "",
      "OTHER NODES",
      "NAME   ADDRESS     STATE     CONTAINERS  ID",
      "box-b  172.16.0.2  doubtful  2           n2", "",
      "NETWORKS",
      "NAME  RANGE        VNI   THIS NODE'S SUBNET  STATE  CONTAINERS  ID",
      "web   10.1.0.0/20  6514  10.1.4.0/25         ready  3           2tul1rqmkl4w", "",
      "RECONCILERS",
      "NAME    LAST RESULT  AGO  CHANGES  HELD  WAITS FOR",
      "leases  converged    3 s  2        0     -",
      "dns     never        -    0        1     container c1 has no sandbox", "",
    ].join("\n"));
    expect(exit).toBe(0);
  });

  test("not ready is 503 of the endpoint and exit 1", async () => {
    const notReady = (response: ServerResponse): void => { response.writeHead(503).end(JSON.stringify({ ready: false, reasons: ["etcd has not listed"] })); };
    const { exit, out } = await status(notReady, STATE);
    expect(out).toContain("NOT READY\n  etcd has not listed\n");
    expect(exit).toBe(1);
  });

  test("problems and refused networks come with their cures, each once, exit 1", async () => {
    const setting = { what: "VNI_START", reason: "\"x\" is no number", cure: "Set e.g. VNI_START=6514" };
    const { exit, out } = await status(READY, { ...STATE, problems: [setting], networks: [...STATE.networks, REFUSED] });
    expect(out).toContain([
      "PROBLEMS", "VNI_START: \"x\" is no number", "  cure: Set e.g. VNI_START=6514",
      "network v6: IPv6 is not carried", "  cure: Create it without --ipv6", "",
    ].join("\n"));
    expect(exit).toBe(1);
    await operator?.close();
    const twice = await status(READY, { ...STATE, problems: [{ what: "network v6", reason: "IPv6 is not carried", cure: "c" }], networks: [REFUSED] });
    expect(twice.out.split("IPv6 is not carried")).toHaveLength(2);
  });

  test("JSON has everything", async () => {
    const { exit, out } = await status(READY, STATE, "-o", "json");
    expect(JSON.parse(out)).toEqual({ ...READY, ...STATE });
    expect(exit).toBe(0);
  });
});

describe("reconcile", () => {
  const report = (more: object): object => ({ reconciler: "dns", result: "idle", atMs: 1, changes: 0, held: 0, blocked: [], ...more });

  test("all, or those named", async () => {
    const all = await asking(["reconcile"], { "POST /reconcile": { revision: 3, reports: [report({}), report({ reconciler: "vips", result: "converged", changes: 2 })] } });
    expect(all).toMatchObject({ exit: 0, out: "NAME  RESULT     CHANGES  HELD\ndns   idle       0        0\nvips  converged  2        0\n" });
    await operator?.close();
    const some = await asking(["reconcile", "dns", "vips"], { "POST /reconcile?only=dns%2Cvips": { revision: 3, reports: [] } });
    expect(some).toMatchObject({ exit: 0, asked: ["POST /reconcile?only=dns%2Cvips"] });
  });

  test("a run that failed shows why and exits 1", async () => {
    const error = { code: "denied", message: "Cannot list links: not permitted", cure: "Grant NET_ADMIN" };
    const { exit, out } = await asking(["reconcile"], { "POST /reconcile": { revision: 3, reports: [report({ result: "unobserved", error, blocked: ["no underlay"] })] } });
    expect(out).toContain("dns waits: no underlay\ndns failed: Cannot list links: not permitted\n  cure: Grant NET_ADMIN\n");
    expect(exit).toBe(1);
  });

  test("a name nobody has is refused in the operator's words", async () => {
    const refuse = (response: ServerResponse): void => {
      response.writeHead(404).end(JSON.stringify({ error: { code: "not-found", message: "Cannot run x: there is no such reconciler", cure: "Take one of dns, vips" } }));
    };
    expect(await asking(["reconcile", "x"], { "POST /reconcile?only=x": refuse }))
      .toMatchObject({ exit: 2, out: "", err: "Cannot run x: there is no such reconciler.\nTake one of dns, vips.\n" });
  });
});

describe("plan", () => {
  const change = (op: string, key: string): object => ({ op, key, why: "missing" });

  test("changes, held deletes and what waits", async () => {
    const { exit, out } = await asking(["plan", "links"], { "GET /plan?only=links": { revision: 4, plans: [
      { reconciler: "links", changes: [change("create", "fnp1")], held: [change("delete", "fnp2"), change("delete", "fnp3")], blocked: ["no underlay"] },
    ] } });
    expect(out).toBe([
      "RECONCILER  OPERATION      KEY   WHY", "links       create         fnp1  missing", "links       delete (held)  fnp2  missing",
      "links       delete (held)  fnp3  missing", "", "links waits: no underlay", "1 change, 2 deletes held until every source has listed", "",
    ].join("\n"));
    expect(exit).toBe(0);
  });

  test("nothing to do says so; a facility that cannot be looked at is exit 1", async () => {
    expect(await asking(["plan"], { "GET /plan": { revision: 4, plans: [] } })).toMatchObject({ exit: 0, out: "nothing to change\n" });
    await operator?.close();
    const error = { code: "unavailable", message: "Cannot list links: no ip" };
    expect(await asking(["plan"], { "GET /plan": { revision: 4, plans: [{ reconciler: "links", changes: [], held: [], blocked: [], error }] } }))
      .toMatchObject({ exit: 1, out: "links could not look: Cannot list links: no ip\nnothing to change\n" });
  });
});

describe("events", () => {
  const line = JSON.stringify({
    schema: 1, boot: "b1", seq: 7, at: "2026-01-02T03:04:05.678Z", level: "info", event: "change.applied", reconciler: "links", why: "not there", n: 2,
  });
  const lines = (...text: readonly string[]) => (response: ServerResponse): void => { response.writeHead(200); response.end(text.map((each) => `${each}\n`).join("")); };

  test("lines for people, garbage as it came", async () => {
    expect(await asking(["events"], { "GET /events": lines(line, "garbage") })).toMatchObject({
      exit: 0, out: "7 2026-01-02T03:04:05.678Z info  change.applied reconciler=links why=\"not there\" n=2\ngarbage\n",
    });
  });

  test("lines for programs, from a point, of a level", async () => {
    expect(await asking(["events", "--after", "6", "--level", "warn", "-o", "json"], { "GET /events?after=6&level=warn": lines(line) }))
      .toMatchObject({ exit: 0, out: `${line}\n` });
  });

  test("following shows each line as it comes and says when the stream ends", async () => {
    const slowly = (response: ServerResponse): void => { response.writeHead(200); response.write(`${line}\n`); setImmediate(() => { response.end(); }); };
    const { exit, out, err } = await asking(["events", "--follow"], { "GET /events?follow=1": slowly });
    expect(out).toContain("change.applied");
    expect(err).toContain("last seen: 7");
    expect(exit).toBe(2);
  });
});

describe("ipam", () => {
  const range = { network: "web", flannelId: "f", cidr: "10.1.0.0/20", node: "services", range: "10.1.0.0/22", capacity: 1_021, used: 17, resting: 3, leaked: 1 };
  const leaked = { kind: "leaked", network: "web", address: "10.1.0.9", why: "in no VIP", action: "rests" };

  test("show: a line per range", async () => {
    const { exit, out } = await asking(["ipam", "show"], { "GET /ipam": { ranges: [range], findings: [leaked] } });
    expect(out).toBe("NETWORK  NODE      RANGE        CAPACITY  USED  RESTING  LEAKED  FULL\nweb      services  10.1.0.0/22  1021      17    3        1       2 %\n");
    expect(exit).toBe(0);
  });

  test("check: what it would free and why, exit 1; with --fix it does, exit 0", async () => {
    const answer = { ranges: [], findings: [leaked] };
    const found = await asking(["ipam", "check"], { "GET /ipam": answer });
    expect(found).toMatchObject({ exit: 1, out: expect.stringMatching(/leaked +web +10\.1\.0\.9 +in no VIP +rests\nfree them: flannel-np ipam check --fix/) });
    await operator?.close();
    expect(await asking(["ipam", "check", "--fix"], { "POST /ipam/fix": answer })).toMatchObject({ exit: 0, out: expect.stringContaining("1 address rests") });
  });

  test("check: a duplicate is not fixed by --fix; nothing found is exit 0; JSON for programs", async () => {
    const answer = { ranges: [], findings: [{ ...leaked, kind: "duplicate" }] };
    expect(await asking(["ipam", "check", "--fix"], { "POST /ipam/fix": answer })).toMatchObject({ exit: 1 });
    await operator?.close();
    expect(await asking(["ipam", "check"], { "GET /ipam": { ranges: [], findings: [] } })).toMatchObject({ exit: 0, out: "nothing is leaked, no address is held twice\n" });
    await operator?.close();
    expect(JSON.parse((await asking(["ipam", "show", "-o", "json"], { "GET /ipam": answer })).out)).toEqual(answer);
  });
});

describe("dns", () => {
  const front = { container: "front", id: "3f2a".padEnd(64, "0"), sandbox: "s" };
  const answer = { ...front, name: "web", type: "A", by: "zone", code: "NOERROR", records: [{ name: "web", type: "A", ttlSeconds: 5, data: "10.1.0.2" }], authorities: [], truncated: false, tookMs: 0.4 };
  const query = (reply: unknown) => asking(["dns", "query", "web", "--as", "front"], { "GET /dns/query?as=front&name=web": reply });

  test("query: who says what, exit 0 with a record", async () => {
    expect(await query(answer)).toMatchObject({
      exit: 0, out: "web A, asked as front: NOERROR, 0.4 ms\nanswered by flannel-np, from the container's table\n\nANSWER\nNAME  TTL  TYPE  DATA\nweb   5    A     10.1.0.2\n",
    });
  });

  test.each([
    ["no such record", { ...answer, records: [] }, /NOERROR, no such record, 0.4 ms/], ["nobody answers", { ...answer, by: "nobody", code: "TIMEOUT", records: [] }, /TIMEOUT\nanswered by nobody, within 5 s\.\n {2}cure: /],
    ["not by us", { ...answer, by: "beside" }, /do not reach flannel-np\.\n {2}cure: flannel-np reconcile dns/], ["cut short", { ...answer, records: [], truncated: true }, /cut short: more is said over TCP/],
  ])("query: %s is exit 1", async (_what, reply, says) => {
    const { exit, out } = await query(reply);
    expect(out).toMatch(says);
    expect(exit).toBe(1);
  });

  test("table: networks in order, what is empty is not shown", async () => {
    const network = (name: string) => ({ network: name, id: name, ttlSeconds: 5, names: [{ name: "web", addresses: ["10.1.0.2", "10.1.0.3"], texts: ["service=web"] }], services: [], pointers: [{ address: "10.1.0.2", name: "web" }] });
    const { out } = await asking(["dns", "table", "--as", "front"], { "GET /dns/table?as=front": { ...front, mode: "complete", port: 4_711, links: [{ alias: "a", name: "b" }], networks: [network("one"), network("two")] } });
    expect(out).toContain("front (3f2a00000000), mode complete, served on 127.0.0.11:4711\n\nLINKS\nALIAS  NAME\na      b\n\nNETWORK one, asked first, TTL 5 s\n");
    expect(out).toContain("NETWORK two, asked after one, TTL 5 s\nNAME  ADDRESSES          TEXTS\nweb   10.1.0.2 10.1.0.3  \"service=web\"\n\nADDRESSES of two\n");
    expect(out).not.toContain("PORTS");
  });

  test("log: a line per question until the operator ends it; lost lines are told", async () => {
    const line = { at: "2026-01-02T03:04:05.678Z", name: "web", type: "A", transport: "udp", outcome: "answered", by: "zone", lost: 2 };
    const { exit, out, err } = await asking(["dns", "log", "--as", "front"], { "GET /dns/log?as=front": (response: ServerResponse) => { response.end(`${JSON.stringify(line)}\n`); } });
    expect(out).toBe("2026-01-02T03:04:05.678Z udp web A answered by zone (2 lines before it left out)\n");
    expect(err).toContain("front is served no longer");
    expect(exit).toBe(0);
  });

  test("flush and stats; without --as all are meant, query needs it", async () => {
    expect(await asking(["dns", "flush"], { "POST /dns/flush": { containers: 3 } })).toMatchObject({ exit: 0, out: "forgotten for 3 containers\n" });
    await operator?.close();
    expect((await asking(["dns", "stats"], { "GET /dns/stats": { sandboxes: 1, networks: 2, names: 3, counters: { udp: 4 } } })).out).toBe("1 container served, 3 names of 2 networks\n\nCOUNTED SINCE THE OPERATOR BEGAN\nWHAT  TIMES\nudp   4\n");
    await operator?.close();
    expect(await asking(["dns", "query", "web"], {})).toMatchObject({ exit: 2, err: expect.stringContaining("--as <container>") });
  });
});
