/** The engine over a small world: who waits for whom. Timers are faked. */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { BehaviorSubject, NEVER, Subject, throwError } from "rxjs";
import { createEngine, type Engine, type RunReport } from "../../src/core/engine.ts";
import { OperatorError } from "../../src/core/errors.ts";
import type { Snapshot } from "../../src/core/model.ts";
import { bindingOf, gate, recorder, snapshot, Table } from "./world.ts";

const NOW = Date.UTC(2024, 0, 1);
const patient = (): AbortSignal => new AbortController().signal;
/** Lets promises settle without letting time pass. */
const settle = (): Promise<void> => jest.advanceTimersByTimeAsync(0);

interface Stage {
  readonly engine: Engine; readonly table: Table; readonly reports: RunReport[]; readonly events: ReturnType<typeof recorder>;
  readonly snapshots: BehaviorSubject<Snapshot>;
}

let running: Engine[] = [];

function stage(wanted: readonly string[] = ["a"]): Stage {
  const table = new Table();
  const events = recorder();
  const snapshots = new BehaviorSubject(snapshot(1, wanted));
  const engine = createEngine({ bindings: [bindingOf("links", table)], snapshot$: snapshots, emit: events.emit, random: () => 1 });
  const reports: RunReport[] = [];
  engine.reports$.subscribe((report) => reports.push(report));
  running.push(engine);
  return { engine, table, reports, events, snapshots };
}

beforeEach(() => { jest.useFakeTimers({ now: NOW }); });
afterEach(async () => {
  await Promise.all(running.map((engine) => engine.stop()));
  running = [];
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

describe("run", () => {
  it("rejects a name nobody has, and lists the names", async () => {
    const { engine } = stage();
    await expect(engine.run(["links", "lynx"], patient())).rejects.toMatchObject({ code: "invalid", message: expect.stringContaining("lynx"), cure: "There are: links" });
    await expect(engine.plan(["lynx"], patient())).rejects.toMatchObject({ code: "invalid" });
    engine.poke("lynx");
  });

  it("needs no minimum interval", async () => {
    const { engine, reports } = stage();
    await settle();
    await engine.run(["links"], patient());
    await engine.run(["links"], patient());
    expect(reports.map(({ startedAtMs }) => startedAtMs - NOW)).toEqual([0, 0, 0]);
  });

  it("during a run waits for one that starts afterwards, shared by all who wait", async () => {
    const { engine, reports, table, snapshots } = stage([]);
    await settle();
    const { opened, open } = gate();
    table.observing = () => opened;
    engine.poke("links");
    await jest.advanceTimersByTimeAsync(200);
    snapshots.next(snapshot(2, ["new"]));
    const calls = [engine.run(["links"], patient()), engine.run(["links"], patient()), engine.run(["links"], patient())];
    await settle();
    expect(table.observations).toBe(2);
    open();
    const [first, ...others] = (await Promise.all(calls)).flat();
    expect(first).toMatchObject({ result: "converged", revision: 2 });
    expect(others).toEqual([first, first]);
    expect(reports.map(({ revision }) => revision)).toEqual([1, 1, 2]);
  });

  it("that may share is answered by a run in flight for the newest snapshot, and by no older one", async () => {
    const { engine, reports, table, snapshots } = stage([]);
    await settle();
    const { opened, open } = gate();
    table.observing = () => opened;
    await jest.advanceTimersByTimeAsync(200);
    snapshots.next(snapshot(2, ["new"]));
    await settle();
    const sharing = engine.run(["links"], patient(), true);
    await settle();
    snapshots.next(snapshot(3, ["new", "newer"]));
    const late = engine.run(["links"], patient(), true);
    await settle();
    open();
    expect([(await sharing)[0]?.revision, (await late)[0]?.revision]).toEqual([2, 3]);
    expect(reports.map(({ revision }) => revision)).toEqual([1, 2, 3]);
  });

  it("that may share is not answered by a run that was skipped", async () => {
    const { engine, reports, snapshots } = stage(["a"]);
    await jest.advanceTimersByTimeAsync(200);
    snapshots.next(snapshot(2, ["a"]));
    expect(await engine.run(["links"], patient(), true)).toMatchObject([{ result: "idle", revision: 2 }]);
    expect(reports.map(({ revision }) => revision)).toEqual([1, 2]);
  });

  it("goes in the order it was asked, each awaited", async () => {
    const [one, two] = [new Table(), new Table()];
    const order: string[] = [];
    one.observing = () => void order.push("one");
    two.observing = () => void order.push("two");
    const engine = createEngine({ bindings: [bindingOf("one", one), bindingOf("two", two)], snapshot$: new BehaviorSubject(snapshot(1)), emit: recorder().emit });
    running.push(engine);
    await settle();
    order.length = 0;
    const reports = await engine.run(engine.names.toReversed(), patient());
    expect(order).toEqual(["two", "one"]);
    expect(reports.map(({ reconciler }) => reconciler)).toEqual(["two", "one"]);
  });

  it("goes on after one that failed", async () => {
    const [one, two] = [new Table(), new Table()];
    one.observing = () => { throw new OperatorError("unavailable", "Cannot list: down"); };
    const engine = createEngine({ bindings: [bindingOf("one", one), bindingOf("two", two)], snapshot$: new BehaviorSubject(snapshot(1)), emit: recorder().emit });
    running.push(engine);
    expect((await engine.run(["one", "two"], patient())).map(({ result }) => result)).toEqual(["unobserved", "idle"]);
  });

  it("waits for the first snapshot, as long as its caller does", async () => {
    const snapshots = new Subject<Snapshot>();
    const engine = createEngine({ bindings: [bindingOf("links", new Table())], snapshot$: snapshots, emit: recorder().emit });
    running.push(engine);
    const reports: RunReport[] = [];
    engine.reports$.subscribe((report) => reports.push(report));
    engine.poke("links");
    await settle();
    expect(reports).toEqual([]);
    const hurried = new AbortController();
    const given = expect(engine.run(["links"], hurried.signal)).rejects.toMatchObject({ code: "timeout" });
    const call = engine.run(["links"], patient());
    hurried.abort();
    await given;
    snapshots.next(snapshot(7));
    expect(await call).toMatchObject([{ revision: 7, result: "idle" }]);
  });

  it("leaves the run alone when a caller gives up", async () => {
    const { engine, reports, table } = stage(["a"]);
    const { opened, open } = gate();
    table.applying = () => opened;
    const hurried = new AbortController();
    const call = expect(engine.run(["links"], hurried.signal)).rejects.toMatchObject({ code: "timeout", message: expect.stringContaining("links") });
    await settle();
    hurried.abort();
    await call;
    open();
    await settle();
    expect(reports[0]).toMatchObject({ result: "converged" });
    await expect(engine.run(["links"], hurried.signal)).rejects.toMatchObject({ code: "timeout" });
  });
});

describe("plan", () => {
  it("shows what would be changed and changes nothing", async () => {
    const snapshots = new BehaviorSubject(snapshot(3, ["a"]));
    const [good, blind] = [new Table(), new Table()];
    blind.observing = () => { throw new Error("no such device"); };
    const engine = createEngine({ bindings: [bindingOf("good", good), bindingOf("blind", blind)], snapshot$: snapshots, emit: recorder().emit });
    running.push(engine);
    await settle();
    good.rows.clear();
    const applications = good.applications;
    expect(await engine.plan(["good", "blind"], patient())).toMatchObject([
      { reconciler: "good", desiredBlocked: [], plan: { changes: [{ op: "create", key: "a" }], held: [] } },
      { reconciler: "blind", error: { code: "bug", message: "no such device" } },
    ]);
    expect(good.applications).toBe(applications);
  });
});

describe("sources", () => {
  it("that break leave the engine running on what it knows", async () => {
    const events = recorder();
    const engine = createEngine({ bindings: [], snapshot$: throwError(() => new Error("gone")), emit: events.emit });
    expect(events.said).toEqual([{ event: "source.lost", fields: { source: "snapshot", reason: "gone" } }]);
    await engine.stop();
  });

  it("that never speak do not keep it from stopping", async () => {
    const engine = createEngine({ bindings: [bindingOf("links", new Table())], snapshot$: NEVER, emit: recorder().emit });
    const call = expect(engine.run(["links"], patient())).rejects.toMatchObject({ code: "unavailable" });
    await engine.stop();
    await call;
  });
});
