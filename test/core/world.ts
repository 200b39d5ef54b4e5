/** A small world for the engine: a table of strings as reality, a reconciler that wants other strings, and every event said. */
import type { Emit, EventName } from "../../src/core/events.ts";
import type { Snapshot } from "../../src/core/model.ts";
import { diff, withhold, type Change } from "../../src/core/plan.ts";
import { bind, type AnyBinding, type Pace, type Reconciler, type Sink } from "../../src/core/reconciler.ts";

const nothing = { facts: new Map(), settled: true };

/** A snapshot whose only content is its networks' names: `wanted` is what the reconcilers below make of it. */
export function snapshot(revision: number, wanted: readonly string[] = [], settled = true): Snapshot {
  const networks = new Map(wanted.map((name) => [name, { value: { name }, from: "docker" }]));
  return {
    revision, nowMs: 0, node: { hostname: "box", role: "manager", leader: true, dockerSeen: true },
    networks: { facts: networks as unknown as Snapshot["networks"]["facts"], settled },
    services: nothing, tasks: nothing, containers: nothing, endpoints: nothing, pools: nothing, subnets: nothing, members: nothing, grants: nothing, ownGrants: new Map(), nodes: nothing,
    ended: new Set(), networksListed: settled, servicesListed: settled,
  };
}

export const PACE: Pace = { minIntervalMs: 200, resyncMs: 60_000, backoffMs: [100, 60_000] };

export function reconcilerOf(name: string): Reconciler<ReadonlySet<string>, ReadonlySet<string>, Change> {
  return {
    name,
    desire: ({ networks }) => ({ value: new Set(networks.facts.keys()), settled: networks.settled, blocked: [] }),
    plan({ value, settled }, observed) {
      const asMap = (keys: ReadonlySet<string>): Map<string, string> => new Map([...keys].map((key) => [key, key]));
      const { create, remove } = diff(asMap(value), asMap(observed), () => true);
      return withhold([
        ...create.map(([key]): Change => ({ op: "create", key, why: "missing" })),
        ...remove.map(([key]): Change => ({ op: "delete", key, why: "not desired" })),
      ], settled);
    },
  };
}

/** Reality with faults: `observing` and `applying` are called first and may throw, wait or change something. */
export class Table implements Sink<ReadonlySet<string>, Change> {
  readonly rows = new Set<string>();
  observations = 0;
  applications = 0;
  observing: (signal: AbortSignal) => Promise<void> | void = () => undefined;
  /** Called before each change. */
  applying: (change: Change) => Promise<void> | void = () => undefined;

  async observe(signal: AbortSignal): Promise<ReadonlySet<string>> {
    this.observations += 1;
    await this.observing(signal);
    return new Set(this.rows);
  }

  async apply(changes: readonly Change[]): Promise<void> {
    this.applications += 1;
    for (const change of changes) {
      await this.applying(change);
      if (change.op === "delete") this.rows.delete(change.key);
      else this.rows.add(change.key);
    }
  }
}

export const bindingOf = (name: string, sink: Table, pace: Pace = PACE): AnyBinding => bind({ reconciler: reconcilerOf(name), sink, pace });

/** Everything said, in order. */
export interface Said { readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> }
export function recorder(): { readonly said: Said[]; readonly emit: Emit; named(event: EventName): readonly Said[] } {
  const said: Said[] = [];
  const emit: Emit = (event, fields) => void said.push({ event, fields: fields as unknown as Said["fields"] });
  return { said, emit, named: (event) => said.filter((line) => line.event === event) };
}

/** A promise that is settled from outside. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => { open = resolve; });
  return { opened, open: () => open() };
}
