/** When a reconciler runs: minimum interval, resync, backoff, skipping, mistakes, the end. Timers are faked. */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { BehaviorSubject } from "rxjs";
import { createEngine, type Engine, type RunReport } from "../../src/core/engine.ts";
import { OperatorError, type ErrorCode } from "../../src/core/errors.ts";
import type { AnyBinding } from "../../src/core/reconciler.ts";
import { bindingOf, gate, recorder, snapshot, Table } from "./world.ts";

const NOW = Date.UTC(2024, 0, 1);
const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);
const patient = (): AbortSignal => new AbortController().signal;

let engine: Engine;
let table: Table;
let reports: RunReport[];
let events: ReturnType<typeof recorder>;
let snapshots: BehaviorSubject<ReturnType<typeof snapshot>>;

function start(wanted: readonly string[] = [], change: (binding: AnyBinding) => AnyBinding = (binding) => binding): void {
  events = recorder();
  reports = [];
  snapshots = new BehaviorSubject(snapshot(1, wanted));
  engine = createEngine({ bindings: [change(bindingOf("links", table))], snapshot$: snapshots, emit: events.emit, random: () => 1 });
  engine.reports$.subscribe((report) => reports.push(report));
}

const starts = (): readonly number[] => reports.map(({ startedAtMs }) => startedAtMs - NOW);
const failing = (code: ErrorCode): void => { table.observing = () => { throw new OperatorError(code, "Cannot list links: no"); }; };

beforeEach(() => {
  jest.useFakeTimers({ now: NOW });
  table = new Table();
});
afterEach(async () => {
  await engine.stop();
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

describe("pace", () => {
  it("rests the minimum interval and makes one run of what came meanwhile", async () => {
    start();
    await pass(50);
    for (let n = 0; n < 20; n++) engine.poke("links");
    // The pause and the resync.
    expect(jest.getTimerCount()).toBe(2);
    await pass(1000);
    expect(starts()).toEqual([0, 200]);
  });

  it("looks again after the resync interval, with the time of that run", async () => {
    const times: number[] = [];
    start([], (binding) => ({ ...binding, desire: (s) => { times.push(s.nowMs - NOW); return binding.desire(s); } }));
    await pass(120_000);
    expect(starts()).toEqual([0, 60_000, 120_000]);
    expect(times).toEqual([0, 60_000, 120_000]);
  });

  it("repairs what drifted when told to look", async () => {
    start(["a"]);
    await pass(1000);
    table.rows.clear();
    engine.poke("links");
    await pass(0);
    expect([...table.rows]).toEqual(["a"]);
  });
});

describe("a new snapshot", () => {
  it("that changes nothing wanted costs no look", async () => {
    start(["a"]);
    await pass(1000);
    const { observations } = table;
    for (let revision = 2; revision < 10; revision++) {
      snapshots.next(snapshot(revision, ["a"]));
      await pass(1000);
    }
    expect(table.observations).toBe(observations);
    snapshots.next(snapshot(10, ["a", "b"]));
    await pass(200);
    expect([...table.rows]).toEqual(["a", "b"]);
  });

  it("that changes nothing wanted does not take a requested look away", async () => {
    start(["a"]);
    await pass(50);
    engine.poke("links");
    snapshots.next(snapshot(2, ["a"]));
    await pass(200);
    expect(starts()).toEqual([0, 200]);
  });

  it("is run for even if nothing changed when the last run failed", async () => {
    start(["a"]);
    await pass(0);
    table.rows.clear();
    table.applying = () => { throw new OperatorError("invalid", "Cannot add a: no"); };
    engine.poke("links");
    await pass(200);
    snapshots.next(snapshot(2, ["a"]));
    await pass(200);
    expect(reports.map(({ revision, result }) => [revision, result])).toEqual([[1, "converged"], [1, "diverged"], [2, "diverged"]]);
  });

  it("that came during a failing run is not held back by that failure, nor by pokes after it", async () => {
    const { opened, open } = gate();
    table.observing = async () => {
      await opened;
      throw new OperatorError("unsupported", "Cannot list links: no");
    };
    start();
    snapshots.next(snapshot(2));
    engine.poke("links");
    open();
    await pass(300);
    expect(reports.map(({ revision }) => revision)).toEqual([1, 2]);
  });

  it("ends the backoff, and the counting starts anew", async () => {
    failing("unavailable");
    start();
    await pass(10_000);
    expect(engine.state()["links"]).toMatchObject({ failuresInARow: 7, nextRetryAtMs: NOW + 12_800 });
    snapshots.next(snapshot(2));
    await pass(0);
    expect(engine.state()["links"]).toMatchObject({ failuresInARow: 1, nextRetryAtMs: NOW + 10_100 });
  });
});

describe("after a failure", () => {
  it("retries twice as late each time, and says the trouble once", async () => {
    failing("unavailable");
    start();
    await pass(3100);
    // The first retry is due after 100 ms, but a run rests 200 ms.
    expect(starts()).toEqual([0, 200, 400, 800, 1600]);
    expect(events.named("reconcile.unobserved")).toHaveLength(1);
  });

  it("ignores pokes until the retry is due", async () => {
    failing("unavailable");
    start();
    await pass(1700);
    engine.poke("links");
    await pass(1000);
    expect(starts().at(-1)).toBe(1600);
    await engine.run(["links"], patient());
    expect(starts().at(-1)).toBe(2700);
  });

  it("is calm again after a success, and tells the next trouble", async () => {
    failing("unavailable");
    start();
    await pass(1000);
    table.observing = () => undefined;
    await pass(1000);
    expect(engine.state()["links"]).toMatchObject({ failuresInARow: 0, lastReport: { result: "idle" } });
    expect(engine.state()["links"]).not.toHaveProperty("nextRetryAtMs");
    failing("unavailable");
    engine.poke("links");
    await pass(0);
    expect(events.named("reconcile.unobserved")).toHaveLength(2);
  });

  it("that waiting cannot mend, looks again with the resync", async () => {
    failing("unsupported");
    start();
    await pass(100_000);
    expect(starts()).toEqual([0, 60_000]);
  });

  it("is not stretched by a clock that is set back", async () => {
    failing("unavailable");
    start();
    await pass(0);
    jest.setSystemTime(NOW - 86_400_000);
    await pass(1000);
    expect(table.observations).toBeGreaterThan(2);
  });
});

describe("a mistake of ours", () => {
  const brokenFor = (revision: number) => (binding: AnyBinding): AnyBinding => ({
    ...binding,
    desire: (s) => {
      if (s.revision === revision) throw new TypeError("x is undefined");
      return binding.desire(s);
    },
  });

  it("is a bug report with the revision, and waits for the next snapshot", async () => {
    start([], brokenFor(1));
    await pass(200_000);
    engine.poke("links");
    expect(jest.getTimerCount()).toBe(0);
    await pass(1000);
    expect(reports).toMatchObject([{
      result: "unobserved", revision: 1, error: { code: "bug", message: "Cannot plan links for snapshot 1: x is undefined", context: { revision: 1 } },
    }]);
    expect(engine.state()["links"]).not.toHaveProperty("nextRetryAtMs");
    snapshots.next(snapshot(2));
    await pass(0);
    expect(reports.at(-1)).toMatchObject({ revision: 2, result: "idle" });
  });

  it("is told to a caller who asks", async () => {
    start([], brokenFor(1));
    await pass(0);
    expect(await engine.run(["links"], patient())).toMatchObject([{ error: { code: "bug" } }]);
  });

  it("in plan is one too, even in the second look", async () => {
    start(["a"], (binding) => ({
      ...binding,
      plan: (desired, observed) => {
        if (table.applications > 0) throw new RangeError("second look");
        return binding.plan(desired, observed);
      },
    }));
    await pass(100_000);
    expect(reports).toMatchObject([{ result: "unobserved", error: { code: "bug" } }]);
  });

  it("in a sink is looked at again with the resync: the snapshot is not to blame", async () => {
    table.observing = () => { throw new TypeError("cannot read"); };
    start();
    await pass(100_000);
    expect(starts()).toEqual([0, 60_000]);
  });
});
