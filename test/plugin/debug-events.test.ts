/** GET /events: replay, follow, and readers who do not read. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debugServer, type DebugServer } from "../../src/plugin/debug.ts";
import { eventLog, type EventLog } from "../../src/sinks/event-log.ts";
import { ask, open, until, type Place } from "./debug-client.ts";
import { fakeNames } from "./fake-names.ts";

let folder: string;
let log: EventLog;
let server: DebugServer;
const place = (): Place => ({ socketPath: join(folder, "run", "debug.sock") });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "debug-"));
  log = eventLog({ dir: join(folder, "log"), boot: "b1", maxBytes: 10_000_000, level: "info" });
  server = await debugServer({
    socketPath: join(folder, "run", "debug.sock"), events: log, emit: log.emit, revision: () => 0, state: () => ({}), metrics: () => [], names: fakeNames(),
    ipam: { report: () => ({ ranges: [], findings: [] }), fix: () => Promise.resolve({ ranges: [], findings: [] }) }, vips: async () => ({ engine: "off", why: "BALANCER=off", vips: [] }), vipsOfSwarm: async () => ({ nodes: [], differences: [] }), readiness: () => ({ ready: true, reasons: [] }), engine: { names: [], run: async () => [], plan: async () => [] },
  });
});
afterEach(async () => {
  await server.close();
  log.close();
  rmSync(folder, { recursive: true, force: true });
});

const lines = (text: string): { seq: number; event: string; lost?: number }[] => text.trim().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as { seq: number; event: string });

describe("GET /events", () => {
  const emit = (count: number): void => { for (let n = 0; n < count; n++) log.emit("kernel.drift", { facility: "x" }); };

  it("replays after a seq and filters by level", async () => {
    emit(3);
    log.emit("source.lost", { source: "etcd", reason: "gone" });
    expect(lines((await ask("GET", "/events?after=1", place())).text).map(({ seq }) => seq)).toEqual([2, 3, 4]);
    expect(lines((await ask("GET", "/events?after=b1:0&level=warn", place())).text).map(({ seq }) => seq)).toEqual([4]);
    expect(lines((await ask("GET", "/events", place())).text)).toHaveLength(4);
  });

  it("follows", async () => {
    emit(2);
    const response = await open("GET", "/events?after=0&follow=1", place());
    let text = "";
    response.setEncoding("utf8").on("data", (chunk: string) => { text += chunk; });
    response.on("error", () => undefined);
    await until(() => lines(text).length === 2);
    emit(2);
    await until(() => lines(text).length === 4);
    expect(lines(text).map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    response.destroy();
  });

  it("tells a reader of one line a second what it lost under 10,000 events, and slows nobody", async () => {
    const response = await open("GET", "/events?follow=1", place());
    response.on("error", () => undefined);
    const since = performance.now();
    for (let n = 0; n < 100; n++) {
      emit(100);
      await new Promise(setImmediate);
    }
    expect(performance.now() - since).toBeLessThan(5_000);
    let text = "";
    response.setEncoding("utf8").on("data", (chunk: string) => { text += chunk; });
    await until(() => text.endsWith("\n") && (lines(text).at(-1)?.seq ?? 0) === 10_000);
    let expected = 1;
    let lost = 0;
    for (const line of lines(text)) {
      if (line.event === "events.lost") lost += line.lost ?? 0;
      expected += line.event === "events.lost" ? line.lost ?? 0 : 1;
      expect(line.seq).toBe(expected - 1);
    }
    expect(lost).toBeGreaterThan(1_000);
    response.destroy();
  }, 30_000);

  it("ends its streams when it closes", async () => {
    const response = await open("GET", "/events?follow=1", place());
    const ended = new Promise((resolve) => response.on("close", resolve).on("error", () => undefined).resume());
    const since = performance.now();
    await server.close();
    await ended;
    expect(performance.now() - since).toBeLessThan(1_500);
  });
});
