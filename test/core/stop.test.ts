/** How the engine ends: what has begun is finished, nothing else starts, nobody is left waiting. Timers are faked. */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { BehaviorSubject } from "rxjs";
import { createEngine, type Engine, type RunReport } from "../../src/core/engine.ts";
import type { Snapshot } from "../../src/core/model.ts";
import { bindingOf, gate, recorder, snapshot, Table } from "./world.ts";

const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);
const patient = (): AbortSignal => new AbortController().signal;

let engine: Engine;
let table: Table;
let reports: RunReport[];
let events: ReturnType<typeof recorder>;
let snapshots: BehaviorSubject<Snapshot>;

function start(wanted: readonly string[]): void {
  events = recorder();
  reports = [];
  snapshots = new BehaviorSubject(snapshot(1, wanted));
  engine = createEngine({ bindings: [bindingOf("links", table)], snapshot$: snapshots, emit: events.emit });
  engine.reports$.subscribe((report) => reports.push(report));
}

const rejected = (call: Promise<unknown>): Promise<void> => expect(call).rejects.toMatchObject({ code: "unavailable" });

beforeEach(() => {
  jest.useFakeTimers();
  table = new Table();
});
afterEach(() => {
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

describe("stop", () => {
  it("finishes the apply that has begun and starts nothing more", async () => {
    const { opened, open } = gate();
    table.applying = () => opened;
    start(["a"]);
    const waiting = rejected(engine.run(["links"], patient()));
    await pass(0);
    let stopped = false;
    const stop = engine.stop().then(() => { stopped = true; });
    await pass(1000);
    expect(stopped).toBe(false);
    open();
    await stop;
    await waiting;
    expect([...table.rows]).toEqual(["a"]);
    expect(table.applications).toBe(1);
    expect(events.named("change.applied")).toHaveLength(1);
  });

  it("interrupts a look, applies nothing, reports nothing, and lets its caller go", async () => {
    start([]);
    await pass(1000);
    const before = reports.length;
    table.rows.add("late");
    table.observing = (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("interrupted"))));
    const call = rejected(engine.run(["links"], patient()));
    await pass(0);
    await engine.stop();
    await call;
    expect(table.applications).toBe(0);
    expect(reports).toHaveLength(before);
    expect(events.said).toEqual([]);
  });

  it("applies nothing after a look that did not heed the interruption", async () => {
    const { opened, open } = gate();
    table.observing = () => opened;
    start(["a"]);
    await pass(0);
    const stop = engine.stop();
    open();
    await stop;
    expect(table.applications).toBe(0);
  });

  it("refuses callers from then on, and hears no more snapshots", async () => {
    start([]);
    await pass(0);
    await engine.stop();
    await rejected(engine.run(["links"], patient()));
    expect(snapshots.observed).toBe(false);
    engine.poke("links");
    await engine.stop();
    expect(reports).toHaveLength(1);
  });
});
