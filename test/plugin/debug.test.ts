/** The debug endpoint, asked through its real sockets. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OperatorError } from "../../src/core/errors.ts";
import type { EventName } from "../../src/core/events.ts";
import type { PlanReport, RunReport } from "../../src/core/run.ts";
import { debugServer, type DebugOptions, type DebugServer } from "../../src/plugin/debug.ts";
import { parseLoopback } from "../../src/plugin/debug/socket.ts";
import { eventLog, type EventLog } from "../../src/sinks/event-log.ts";
import { ask, type Place } from "./debug-client.ts";
import { fakeNames } from "./fake-names.ts";

let folder: string;
let log: EventLog;
let server: DebugServer;
let said: { readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> }[];
let ran: string[];
let ready: boolean;
let repaired: boolean;
const path = (): string => join(folder, "run", "debug.sock");

const report = (reconciler: string): RunReport =>
  ({ reconciler, revision: 7, startedAtMs: 1_000, durationMs: 500, blocked: [], result: "converged", plan: { changes: [{ op: "create", key: "a", why: "missing" }], held: [] } });
const options = (over: Partial<DebugOptions> = {}): DebugOptions => ({
  socketPath: path(), events: log, waitMs: 5_000, revision: () => 7,
  emit: (event, fields) => { said.push({ event, fields }); },
  engine: {
    names: ["flannel", "gateways", "dns"],
    run: async (names) => {
      ran.push(...names);
      await new Promise((resolve) => setTimeout(resolve, 50));
      repaired = true;
      return names.map(report);
    },
    plan: async (names) => names.map((reconciler): PlanReport => (reconciler === "dns"
      ? { reconciler, error: new OperatorError("unavailable", "Cannot list zones: no", { cure: "Wait" }) }
      : { reconciler, desiredBlocked: ["no lease"], plan: { changes: [{ op: "create", key: "k", why: "w", password: "x" } as never], held: [] } })),
  },
  state: () => ({ networks: new Map([["n1", { name: "web", options: { PSK: "top", mtu: "1400" } }]]), names: new Set(["a"]) }),
  vips: async () => ({ engine: "nftables", why: "BALANCER=auto", vips: [] }),
  vipsOfSwarm: async (service) => ({ nodes: [], differences: [service ?? "all"] }),
  ipam: { report: () => ({ ranges: [], findings: [] }), fix: () => Promise.resolve({ ranges: [], findings: [] }) },
  names: fakeNames(),
  readiness: () => (ready ? { ready, reasons: [] } : { ready, reasons: ["etcd does not answer"] }),
  metrics: () => [{ name: "events_total", help: "Events.", type: "counter", samples: [{ labels: { event: 'a"b' }, value: 3 }] }],
  ...over,
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "debug-"));
  log = eventLog({ dir: join(folder, "log"), boot: "b1", maxBytes: 10_000_000, level: "info" });
  [said, ran, ready, repaired] = [[], [], true, false];
  server = await debugServer(options());
});
afterEach(async () => {
  await server.close();
  log.close();
  rmSync(folder, { recursive: true, force: true });
});

const call = (method: string, url: string, place: Place = { socketPath: path() }) => ask(method, url, place);

describe("debug endpoint", () => {
  it("keeps others out: socket 0600 in a directory 0700, a stale socket replaced", async () => {
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "run")).mode & 0o777).toBe(0o700);
    await server.close();
    writeFileSync(path(), "stale");
    server = await debugServer(options());
    expect((await call("GET", "/healthz")).json).toEqual({ healthy: true });
  });

  it("answers a reconcile after the repair, in run order", async () => {
    const { status, json } = await call("POST", "/reconcile?only=dns,flannel");
    expect(repaired).toBe(true);
    expect(status).toBe(200);
    expect(ran).toEqual(["flannel", "dns"]);
    expect(json).toEqual({ revision: 7, reports: ["flannel", "dns"].map((reconciler) => ({ reconciler, result: "converged", atMs: 1_500, changes: 1, held: 0, blocked: [] })) });
    expect(said).toEqual([{ event: "reconcile.requested", fields: { reconcilers: ["flannel", "dns"] } }]);
    await call("POST", "/reconcile");
    expect(ran.slice(2)).toEqual(["flannel", "gateways", "dns"]);
  });

  it.each([
    ["POST", "/reconcile?only=dsn", 400, /no reconciler "dsn"/, /There are: flannel, gateways, dns/],
    ["POST", "/reconcile?olny=dns", 400, /no parameter "olny"/, /only/],
    ["POST", "/reconcile?only=dns&only=flannel", 400, /more than once/, /commas/],
    ["GET", "/reconcile", 405, /only POST/, /POST/],
    ["POST", "/state", 405, /only GET/, /GET/],
    ["GET", "/nothing", 404, /no such page/, /\/reconcile/],
    ["GET", "/__proto__", 404, /no such page/, /\/events/],
    ["GET", "/events?after=x", 400, /after is "x"/, /seq/],
    ["GET", "/events?level=loud", 400, /level is "loud"/, /error, warn, info, debug/],
    ["GET", "/events?follow=maybe", 400, /follow is "maybe"/, /follow=1/],
  ])("refuses %s %s with %i, reason and cure", async (method, url, status, message, cure) => {
    const answer = await call(method, url);
    expect(answer.status).toBe(status);
    expect(answer.json).toEqual({ error: { code: expect.any(String), message: expect.stringMatching(message), cure: expect.stringMatching(cure) } });
    expect(ran).toEqual([]);
  });

  it("shows plans without the rest of a change, and who could not look", async () => {
    expect((await call("GET", "/plan?only=flannel,dns")).json).toEqual({ revision: 7, plans: [
      { reconciler: "flannel", changes: [{ op: "create", key: "k", why: "w" }], held: [], blocked: ["no lease"] },
      { reconciler: "dns", changes: [], held: [], blocked: [], error: { code: "unavailable", message: "Cannot list zones: no", cure: "Wait" } },
    ] });
  });

  it("renders maps as objects and hides what is secret by name", async () => {
    expect((await call("GET", "/state")).json).toEqual({ networks: { n1: { name: "web", options: { PSK: "***", mtu: "1400" } } }, names: ["a"] });
  });

  it("is ready or says why not", async () => {
    expect(await call("GET", "/readyz")).toMatchObject({ status: 200, json: { ready: true, reasons: [] } });
    ready = false;
    expect(await call("GET", "/readyz")).toMatchObject({ status: 503, json: { ready: false, reasons: ["etcd does not answer"] } });
  });

  it("exposes metrics", async () => {
    expect((await call("GET", "/metrics")).text).toBe(
      '# HELP flannel_np_events_total Events.\n# TYPE flannel_np_events_total counter\nflannel_np_events_total{event="a\\"b"} 3\n');
  });

  it("says what went wrong inside, and goes on", async () => {
    await server.close();
    server = await debugServer(options({ state: () => { throw new Error("oh"); } }));
    expect(await call("GET", "/state")).toMatchObject({ status: 500, json: { error: { code: "bug", message: "oh" } } });
    expect((await call("GET", "/healthz")).status).toBe(200);
  });

  it("stops waiting for a run that takes too long", async () => {
    await server.close();
    const { engine } = options();
    server = await debugServer(options({ waitMs: 20, engine: { ...engine, run: (_, signal) => new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(new OperatorError("timeout", "Cannot wait longer for dns: time is up")));
    }) } }));
    expect((await call("POST", "/reconcile")).status).toBe(504);
  });
});

describe("TCP", () => {
  const freePort = (): Promise<number> => new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });

  it("answers on loopback if asked to, but no web page", async () => {
    const port = await freePort();
    await server.close();
    server = await debugServer(options({ listen: `127.0.0.1:${port}` }));
    const place = { host: "127.0.0.1", port };
    expect((await call("GET", "/healthz", place)).status).toBe(200);
    expect((await call("POST", "/reconcile", { ...place, headers: { Origin: "http://evil.example" } })).status).toBe(403);
    expect((await call("POST", "/reconcile", { ...place, headers: { Host: "evil.example" } })).status).toBe(403);
    expect(ran).toEqual([]);
  });

  it("refuses any other address with the reason, and listens on the unix socket all the same", async () => {
    await server.close();
    server = await debugServer(options({ listen: "0.0.0.0:9799" }));
    expect(server.refused).toMatchObject({ code: "invalid", message: 'Cannot listen on "0.0.0.0:9799": it is no loopback address, so others could reach the endpoint' });
    expect(said).toEqual([{ event: "config.invalid", fields: { variable: "DEBUG_LISTEN", reason: server.refused?.message, cure: expect.stringContaining("127.0.0.1:9799") } }]);
    expect((await call("GET", "/healthz")).status).toBe(200);
  });

  it("goes on without a port that is taken", async () => {
    const port = await freePort();
    const other = createServer();
    await new Promise<void>((resolve) => { other.listen(port, "127.0.0.1", resolve); });
    await server.close();
    server = await debugServer(options({ listen: `127.0.0.1:${port}` }));
    expect(server.refused?.code).toBe("unavailable");
    other.close();
  });

  it.each(["127.0.0.1:1", "127.9.9.9:80", "localhost:80", "[::1]:80"])("takes %s", (text) => { expect(parseLoopback(text).port).toBeGreaterThan(0); });
  it.each(["9799", ":9799", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "192.168.0.1:80", "[::]:80", "example.org:80", "127.0.0.256:80"])(
    "refuses %s", (text) => { expect(() => parseLoopback(text)).toThrow(/^Cannot listen on/); });
});
