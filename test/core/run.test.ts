/** One run over a small world: what it proves and what is said. Timers are faked. */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { BehaviorSubject } from "rxjs";
import { createEngine, type Engine, type RunReport } from "../../src/core/engine.ts";
import { OperatorError } from "../../src/core/errors.ts";
import type { Snapshot } from "../../src/core/model.ts";
import type { AnyBinding } from "../../src/core/reconciler.ts";
import { bindingOf, recorder, snapshot, Table } from "./world.ts";

const NOW = Date.UTC(2024, 0, 1);
const patient = (): AbortSignal => new AbortController().signal;
/** Lets promises settle without letting time pass. */
const settle = (): Promise<void> => jest.advanceTimersByTimeAsync(0);

interface Stage {
  readonly engine: Engine; readonly table: Table; readonly reports: RunReport[]; readonly events: ReturnType<typeof recorder>;
  readonly snapshots: BehaviorSubject<Snapshot>;
}

let running: Engine[] = [];

function stage(wanted: readonly string[] = ["a"], settled = true, change: (binding: AnyBinding) => AnyBinding = (binding) => binding, table = new Table()): Stage {
  const events = recorder();
  const snapshots = new BehaviorSubject(snapshot(1, wanted, settled));
  const engine = createEngine({ bindings: [change(bindingOf("links", table))], snapshot$: snapshots, emit: events.emit, random: () => 1 });
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

describe("one run", () => {
  it("tells once of what only a person can mend, with the cure, and is well all the same", async () => {
    const broken = [{ reason: "The link of a is gone", cure: "Restart a" }];
    const breaking = (binding: AnyBinding): AnyBinding => ({ ...binding, plan: (desired, observed) => ({ ...binding.plan(desired, observed), broken }) });
    const { engine, reports, events } = stage(["a"], true, breaking);
    await settle();
    void engine.run(["links"], patient());
    await settle();
    expect(reports.map(({ result, blocked }) => ({ result, blocked }))).toEqual(["converged", "idle"].map((result) => ({ result, blocked: ["The link of a is gone. Restart a"] })));
    expect(events.named("reconcile.blocked").map(({ fields }) => fields)).toEqual([{ reconciler: "links", reasons: ["The link of a is gone. Restart a"] }]);
  });

  it("applies the plan and proves it by a second, empty one", async () => {
    const { reports, table, events } = stage(["a", "b"]);
    await settle();
    expect(reports).toMatchObject([{ reconciler: "links", revision: 1, startedAtMs: NOW, durationMs: 0, blocked: [], result: "converged" }]);
    expect([...table.rows]).toEqual(["a", "b"]);
    expect(table.observations).toBe(2);
    expect(events.said).toEqual([
      { event: "reconcile.planned", fields: { reconciler: "links", revision: 1, changes: 2, held: 0 } },
      { event: "change.applied", fields: { reconciler: "links", op: "create", key: "a", why: "missing" } },
      { event: "change.applied", fields: { reconciler: "links", op: "create", key: "b", why: "missing" } },
      { event: "reconcile.converged", fields: { reconciler: "links", changes: 2, durationMs: 0 } },
    ]);
  });

  it("is idle and silent when reality is as wanted", async () => {
    const { engine, reports, table, events } = stage([]);
    await settle();
    expect(reports).toMatchObject([{ result: "idle" }]);
    expect(table.applications).toBe(0);
    expect(events.said).toEqual([]);
    expect(engine.state()).toMatchObject({ links: { running: false, failuresInARow: 0, lastReport: { result: "idle" } } });
  });

  it("holds deletes until everybody has listed, and says so once", async () => {
    const { engine, reports, table, events, snapshots } = stage([], false);
    table.rows.add("stranger");
    await settle();
    await engine.run(["links", "links"], patient());
    expect(reports.map(({ result }) => result)).toEqual(["held", "held", "held"]);
    expect(events.said).toEqual([{ event: "reconcile.held", fields: { reconciler: "links", held: ["delete stranger (not desired)"] } }]);
    snapshots.next(snapshot(2, []));
    await jest.advanceTimersByTimeAsync(200);
    expect(reports.at(-1)).toMatchObject({ result: "converged", revision: 2 });
    expect([...table.rows]).toEqual([]);
  });

  it("says anew what is held when that changes", async () => {
    const { engine, table, events } = stage([], false);
    table.rows.add("one");
    await settle();
    table.rows.add("two");
    await engine.run(["links"], patient());
    expect(events.named("reconcile.held").map(({ fields }) => (fields["held"] as string[]).length)).toEqual([1, 2]);
  });

  it("looks again after a failing apply: what got done is said, what is left is the divergence", async () => {
    const { reports, table, events } = stage(["a", "b", "c"]);
    table.applying = ({ key }) => { if (key === "b") throw new OperatorError("denied", "Cannot add b: not permitted", { cure: "Run as root" }); };
    await settle();
    expect(reports).toMatchObject([{ result: "diverged", leftover: { changes: [{ key: "b" }, { key: "c" }] }, error: { code: "denied" } }]);
    expect(events.named("change.applied").map(({ fields }) => fields["key"])).toEqual(["a"]);
    expect(events.named("reconcile.diverged")).toEqual([{
      event: "reconcile.diverged",
      fields: { reconciler: "links", leftover: ["create b (missing)", "create c (missing)"], reason: "Cannot add b: not permitted. Run as root" },
    }]);
  });

  it("has converged when reality is as wanted although apply failed", async () => {
    const { reports, table } = stage(["a"]);
    table.applying = ({ key }) => {
      table.rows.add(key);
      throw new OperatorError("exists", "Cannot add a: it exists");
    };
    await settle();
    expect(reports).toMatchObject([{ result: "converged" }]);
  });

  it("has diverged when apply succeeded and reality did not follow", async () => {
    const { reports, table, events } = stage(["a"]);
    table.observing = () => table.rows.clear();
    await settle();
    expect(reports).toMatchObject([{ result: "diverged", leftover: { changes: [{ key: "a" }] } }]);
    expect(reports[0]).not.toHaveProperty("error");
    expect(events.named("change.applied")).toHaveLength(1);
    expect(events.named("reconcile.diverged")[0]?.fields).not.toHaveProperty("reason");
  });

  it("counts the whole plan as left over when it could neither apply nor look afterwards", async () => {
    const { reports, table, events } = stage(["a"]);
    table.applying = () => {
      table.observing = () => { throw new OperatorError("timeout", "Cannot list links: no answer"); };
      throw new OperatorError("timeout", "Cannot add a: no answer");
    };
    await settle();
    expect(reports).toMatchObject([{ result: "diverged", leftover: { changes: [{ key: "a" }] }, error: { message: "Cannot add a: no answer" } }]);
    expect(events.named("change.applied")).toEqual([]);
  });

  it("changes nothing when it cannot look", async () => {
    const table = new Table();
    table.observing = () => { throw new OperatorError("unavailable", "Cannot list links: no ip", { cure: "Install iproute2" }); };
    const { reports, events } = stage(["a"], true, undefined, table);
    await settle();
    expect(reports).toMatchObject([{ result: "unobserved", error: { code: "unavailable" } }]);
    expect(table.applications).toBe(0);
    expect(events.said).toEqual([{
      event: "reconcile.unobserved", fields: { reconciler: "links", code: "unavailable", reason: "Cannot list links: no ip", cure: "Install iproute2" },
    }]);
  });

  it("tells what is blocked once", async () => {
    const { engine, reports, events } = stage([], true, (binding) => ({ ...binding, desire: (s) => ({ ...binding.desire(s), blocked: ["no lease yet"] }) }));
    await settle();
    await engine.run(["links"], patient());
    expect(reports.map(({ blocked }) => blocked)).toEqual([["no lease yet"], ["no lease yet"]]);
    expect(events.said).toEqual([{ event: "reconcile.blocked", fields: { reconciler: "links", reasons: ["no lease yet"] } }]);
  });
});
