/** The debug endpoint's words on names: what is asked, what a wrong call is told, a log that ends with its reader. */
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debugServer, type DebugServer } from "../../src/plugin/debug.ts";
import { nameFamilies } from "../../src/plugin/debug/names.ts";
import { renderMetrics } from "../../src/plugin/metrics.ts";
import { eventLog, type EventLog } from "../../src/sinks/event-log.ts";
import { ask, open, until } from "./debug-client.ts";
import { fakeNames, FRONT, type FakeNames } from "./fake-names.ts";

let folder: string;
let log: EventLog;
let names: FakeNames;
let server: DebugServer;
const socketPath = (): string => join(folder, "run", "debug.sock");
const call = (method: string, url: string) => ask(method, url, { socketPath: socketPath() });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "debug-"));
  log = eventLog({ dir: join(folder, "log"), boot: "b1", maxBytes: 10_000_000, level: "info" });
  names = fakeNames();
  server = await debugServer({
    socketPath: socketPath(), events: log, emit: log.emit, revision: () => 0, state: () => ({}), metrics: () => [], names,
    ipam: { report: () => ({ ranges: [], findings: [] }), fix: () => Promise.resolve({ ranges: [], findings: [] }) }, vips: async () => ({ engine: "off", why: "BALANCER=off", vips: [] }), vipsOfSwarm: async () => ({ nodes: [], differences: [] }), readiness: () => ({ ready: true, reasons: [] }), engine: { names: [], run: async () => [], plan: async () => [] },
  });
});
afterEach(async () => {
  await server.close();
  log.close();
  rmSync(folder, { recursive: true, force: true });
});

test("a question, a table, counters, and what is forgotten", async () => {
  expect((await call("GET", "/dns/query?as=front&name=web&type=TXT")).json).toMatchObject({ ...FRONT, name: "web", type: "TXT" });
  expect((await call("GET", "/dns/table?as=front")).json).toMatchObject({ ...FRONT, networks: [] });
  expect((await call("GET", "/dns/stats")).json).toMatchObject({ sandboxes: 1, names: 3 });
  expect((await call("POST", "/dns/flush?as=front")).json).toEqual({ containers: 1 });
  expect((await call("POST", "/dns/flush")).status).toBe(200);
  expect(names.flushed).toEqual(["front", undefined]);
});

test.each([
  ["GET", "/dns/query?name=web", 400, "as is missing"], ["GET", "/dns/query?as=front", 400, "name is missing"], ["GET", "/dns/table", 400, "as is missing"],
  ["GET", "/dns/log?as=nobody", 404, "no container is called so"], ["POST", "/dns/flush?as=", 400, "as is missing"], ["GET", "/dns/flush", 405, "only POST"],
] as const)("%s %s is refused: %d, %s", async (method, url, status, says) => {
  const refused = await call(method, url);
  expect(refused.status).toBe(status);
  expect(refused.json).toMatchObject({ error: { message: expect.stringContaining(says), cure: expect.any(String) } });
});

test("counters are metrics with a closed set of labels", () => {
  const text = renderMetrics(nameFamilies(names.stats()));
  expect(text).toContain('flannel_np_dns_queries_total{transport="udp"} 4\n');
  expect(text).toContain('flannel_np_dns_answers_total{outcome="answered"} 5\n');
  expect(text).toContain('flannel_np_dns_elsewhere_total{outcome="failed"} 6\n');
  expect(text).toContain("flannel_np_dns_names 3\n");
});

const LINE = { at: "2026-01-02T03:04:05.678Z", name: "web", type: "A", transport: "udp", outcome: "answered", by: "zone", lost: 0 } as const;

async function reading(): Promise<{ readonly response: IncomingMessage; readonly lines: string[] }> {
  const response = await open("GET", "/dns/log?as=front", { socketPath: socketPath() });
  const lines: string[] = [];
  response.on("data", (part) => { lines.push(...String(part).split("\n").filter((line) => line !== "")); });
  return { response, lines };
}

test("a log begins with its reader and ends with him", async () => {
  const { response, lines } = await reading();
  for (const reader of names.readers) reader.line(LINE);
  await until(() => lines.length > 0);
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([LINE]);
  response.destroy();
  await until(() => names.readers.size === 0);
});

test("a log ends with its container", async () => {
  const { response } = await reading();
  const ended = new Promise((resolve) => { response.on("end", resolve); });
  for (const reader of names.readers) reader.ended();
  await ended;
  expect(names.readers.size).toBe(0);
});

test("what a slow reader has no room for is left out, and told", async () => {
  const { response, lines } = await reading();
  response.pause();
  const [reader] = names.readers;
  const long = { ...LINE, name: "x".repeat(60_000) };
  for (let n = 0; n < 1_000; n += 1) reader?.line(long);
  response.resume();
  let said = 0;
  await until(() => { reader?.line(LINE); said += 1; return lines.some((line) => line.includes('"web"')); });
  const last = JSON.parse(lines.find((line) => line.includes('"web"')) ?? "{}") as { lost: number };
  expect(last.lost).toBeGreaterThan(900);
  expect(said).toBeGreaterThan(0);
  response.destroy();
});
