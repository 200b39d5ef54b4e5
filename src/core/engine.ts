/**
 * Repeats every reconciler until reality is what the snapshot says, and lets a caller wait for it.
 *
 * In:  bindings, snapshots, pokes of kernel monitors, requests of the plugin and the debug endpoint.  Out: `reports$`, events.
 * Rule: the engine owns pace, backoff and resync (lane.ts); reconcilers run side by side, a request runs them in its order.
 * Streams never error.
 */
import { asyncScheduler, firstValueFrom, merge, ReplaySubject, type Observable, type SchedulerLike, type Subscription } from "rxjs";
import { asOperatorError, explain, OperatorError } from "./errors.ts";
import type { Emit } from "./events.ts";
import { Lane, type LaneState } from "./lane.ts";
import type { Snapshot } from "./model.ts";
import type { AnyBinding } from "./reconciler.ts";
import { planOnce, type PlanReport, type RunReport } from "./run.ts";

export type { LaneState, PlanReport, RunReport };

export interface Engine {
  /** In the order the engine was given them, which is the order of dependency. */
  readonly names: readonly string[];
  readonly reports$: Observable<RunReport>;
  /**
   * Runs reconcilers one after the other against the newest snapshot, without their minimum interval. Each report is of a run
   * that started after the call; parallel calls share it. Waits for the first snapshot. `share`: a run in flight for the newest
   * snapshot will do, for a caller that has just changed what is wanted and knows of no drift.
   * Rejects: `invalid` (no such reconciler), `timeout` (signal aborted; the run itself goes on), `unavailable` (stopping).
   */
  run(names: readonly string[], signal: AbortSignal, share?: boolean): Promise<readonly RunReport[]>;
  /** The same, without applying: what would be changed. */
  plan(names: readonly string[], signal: AbortSignal): Promise<readonly PlanReport[]>;
  /** "Look again", within the pace. A name nobody has is ignored: a monitor may see more than is switched on. */
  poke(name: string): void;
  state(): Readonly<Record<string, LaneState>>;
  /** Ends the triggers, finishes an `apply` that has begun, leaves everything standing. */
  stop(): Promise<void>;
}

export interface EngineOptions {
  readonly bindings: readonly AnyBinding[];
  readonly snapshot$: Observable<Snapshot>;
  readonly emit: Emit;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly scheduler?: SchedulerLike;
  /** 0…1, for the jitter of retries. */
  readonly random?: () => number;
}

export const createEngine = (options: EngineOptions): Engine => new LaneEngine(options);

class LaneEngine implements Engine {
  readonly names: readonly string[];
  readonly reports$: Observable<RunReport>;
  readonly #bindings: ReadonlyMap<string, AnyBinding>;
  readonly #lanes: ReadonlyMap<string, Lane>;
  /** Replays the newest snapshot, so that a caller can wait for the first. */
  readonly #snapshots = new ReplaySubject<Snapshot>(1);
  readonly #subscription: Subscription;
  readonly #now: () => number;
  #newest: Snapshot | undefined;

  constructor({ bindings, snapshot$, emit, scheduler = asyncScheduler, now = () => scheduler.now(), random = Math.random }: EngineOptions) {
    const setting = { emit, now, random, scheduler, newest: () => this.#newest as Snapshot };
    this.names = bindings.map(({ name }) => name);
    this.#bindings = new Map(bindings.map((binding) => [binding.name, binding]));
    this.#lanes = new Map(bindings.map((binding) => [binding.name, new Lane(binding, setting)]));
    this.reports$ = merge(...[...this.#lanes.values()].map((lane) => lane.reports$));
    this.#now = now;
    this.#subscription = snapshot$.subscribe({
      next: (snapshot) => this.#renew(snapshot),
      error: (error: unknown) => emit("source.lost", { source: "snapshot", reason: explain(asOperatorError(error)) }),
    });
  }

  async run(names: readonly string[], signal: AbortSignal, share = false): Promise<readonly RunReport[]> {
    const lanes = names.map((name) => find(this.#lanes, name));
    const list = names.join(", ");
    await orAborted(this.#first(), signal, list);
    const reports: RunReport[] = [];
    for (const lane of lanes) reports.push(await orAborted(lane.request(share), signal, list));
    return reports;
  }

  async plan(names: readonly string[], signal: AbortSignal): Promise<readonly PlanReport[]> {
    const bindings = names.map((name) => find(this.#bindings, name));
    const snapshot = await orAborted(this.#first(), signal, names.join(", "));
    return Promise.all(bindings.map((binding) => planOnce(binding, { ...snapshot, nowMs: this.#now() }, signal)));
  }

  poke(name: string): void {
    if (this.#newest !== undefined) this.#lanes.get(name)?.poke();
  }

  state(): Readonly<Record<string, LaneState>> {
    return Object.fromEntries([...this.#lanes].map(([name, lane]) => [name, lane.state()]));
  }

  async stop(): Promise<void> {
    this.#subscription.unsubscribe();
    this.#snapshots.complete();
    await Promise.all([...this.#lanes.values()].map((lane) => lane.stop()));
  }

  #renew(snapshot: Snapshot): void {
    this.#newest = snapshot;
    this.#snapshots.next(snapshot);
    for (const lane of this.#lanes.values()) lane.snapshot();
  }

  async #first(): Promise<Snapshot> {
    try {
      return await firstValueFrom(this.#snapshots);
    } catch (cause) {
      throw new OperatorError("unavailable", "Cannot reconcile: the operator is stopping", { cause });
    }
  }
}

function find<T>(named: ReadonlyMap<string, T>, name: string): T {
  const found = named.get(name);
  if (found !== undefined) return found;
  throw new OperatorError("invalid", `Cannot run reconciler ${JSON.stringify(name)}: there is none of that name`, {
    cure: `There are: ${[...named.keys()].join(", ")}`,
  });
}

/** Stops waiting, not what is waited for: a run is shared with others. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal, names: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(new OperatorError("timeout", `Cannot wait longer for ${names}: the caller's time is up`));
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", giveUp));
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp, { once: true });
  });
}
