/**
 * One reconciler's life in the engine: triggers in, paced and coalesced runs, reports out.
 *
 * In:  new snapshots, pokes, requests, its own timer (retry or resync).  Out: `reports$`, events.
 * Rule: one run at a time. A new snapshot lifts the backoff, and is skipped if it changes nothing this reconciler wants;
 * a request skips every pause; everything else always looks at reality, within the pace.
 */
import { asyncScheduler, filter, from, lastValueFrom, Subject, Subscription, type Observable, type SchedulerLike } from "rxjs";
import { announcer } from "./announce.ts";
import { coalesce } from "./coalesce.ts";
import { OperatorError } from "./errors.ts";
import type { Emit } from "./events.ts";
import type { Snapshot } from "./model.ts";
import { delayAfterFailureMs, leftMs } from "./pace.ts";
import type { AnyBinding, Desired } from "./reconciler.ts";
import { runOnce, type Outcome, type RunReport } from "./run.ts";

/** What the engine gives each of its lanes. */
export interface LaneSetting {
  readonly emit: Emit;
  readonly now: () => number;
  readonly random: () => number;
  readonly scheduler?: SchedulerLike;
  /** The newest snapshot; lanes are triggered only once there is one. */
  readonly newest: () => Snapshot;
}

/** What `GET /state` shows of a reconciler. */
export interface LaneState {
  readonly running: boolean;
  readonly failuresInARow: number;
  /** Absent while nothing failed, or when only a new snapshot can help. */
  readonly nextRetryAtMs?: number;
  readonly lastReport?: RunReport;
}

/** fresh: a snapshot came; look: reality must be looked at even if the wishes are the same. */
interface Trigger { readonly fresh: boolean; readonly look: boolean }
interface Waiter { readonly resolve: (report: RunReport) => void; readonly reject: (error: OperatorError) => void }

export class Lane {
  readonly reports$: Observable<RunReport>;
  readonly #binding: AnyBinding;
  readonly #setting: LaneSetting;
  readonly #triggers = new Subject<Trigger>();
  readonly #reports = new Subject<RunReport>();
  readonly #announce: (report: RunReport) => void;
  readonly #stopping = new AbortController();
  readonly #ended: Promise<unknown>;
  /** Callers whose run has not started yet. */
  #waiters: Waiter[] = [];
  /** Callers that the run in flight answers, and the snapshot it is for. */
  #served: Waiter[] = [];
  #revision = -1;
  #timer = Subscription.EMPTY;
  #running = false;
  #endedAtMs = -Infinity;
  #failures = 0;
  /** Rest after a failure; `Infinity`: until the next snapshot. */
  #backoffMs = 0;
  /** Desired by the last run, if that run left nothing to do. */
  #proven: Desired<unknown> | undefined;
  #last: RunReport | undefined;

  constructor(binding: AnyBinding, setting: LaneSetting) {
    this.#binding = binding;
    this.#setting = setting;
    this.#announce = announcer(setting.emit);
    this.reports$ = this.#reports.asObservable();
    const runs$ = this.#triggers.pipe(coalesce<Trigger, RunReport | undefined>({
      run: (trigger) => from(this.#run(trigger)),
      merge: (a, b) => ({ fresh: a.fresh || b.fresh, look: a.look || b.look }),
      pauseMs: (trigger) => this.#pauseMs(trigger),
      scheduler: setting.scheduler ?? asyncScheduler,
    }), filter((report) => report !== undefined));
    runs$.subscribe(this.#reports);
    this.#ended = lastValueFrom(this.#reports, { defaultValue: undefined });
  }

  snapshot(): void {
    this.#triggers.next({ fresh: true, look: false });
  }

  poke(): void {
    this.#triggers.next({ fresh: false, look: true });
  }

  /**
   * Resolves with the report of a run that started after this call; rejects when the lane stops before that.
   * `share`: a run in flight will do if it is for the newest snapshot.
   */
  request(share = false): Promise<RunReport> {
    if (this.#stopping.signal.aborted) return Promise.reject(this.#stopped());
    return new Promise((resolve, reject) => {
      const fits = share && this.#running && this.#revision === this.#setting.newest().revision;
      (fits ? this.#served : this.#waiters).push({ resolve, reject });
      if (!fits) this.poke();
    });
  }

  state(): LaneState {
    const waits = this.#failures > 0 && this.#backoffMs < Infinity;
    return {
      running: this.#running, failuresInARow: this.#failures,
      ...(waits ? { nextRetryAtMs: this.#endedAtMs + this.#backoffMs } : {}),
      ...(this.#last === undefined ? {} : { lastReport: this.#last }),
    };
  }

  /** Finishes an `apply` that has begun, starts nothing more, touches nothing. */
  async stop(): Promise<void> {
    this.#stopping.abort(this.#stopped());
    this.#timer.unsubscribe();
    this.#triggers.complete();
    await this.#ended;
    for (const { reject } of this.#waiters.splice(0)) reject(this.#stopped());
  }

  #pauseMs({ fresh }: Trigger): number {
    if (this.#waiters.length > 0) return 0;
    const { minIntervalMs } = this.#binding.pace;
    return leftMs(this.#endedAtMs, fresh ? minIntervalMs : Math.max(minIntervalMs, this.#backoffMs), this.#setting.now());
  }

  async #run({ fresh, look }: Trigger): Promise<RunReport | undefined> {
    const { emit, now, newest } = this.#setting;
    this.#served = this.#waiters.splice(0);
    this.#revision = newest().revision;
    this.#running = true;
    if (fresh) this.#failures = 0;
    const outcome = await runOnce(this.#binding, {
      // Time moves on while no source has news: retries and resyncs see the time of their run.
      snapshot: { ...newest(), nowMs: now() }, emit, now, signal: this.#stopping.signal,
      ...(look || this.#proven === undefined ? {} : { unless: this.#proven }),
    });
    this.#running = false;
    this.#endedAtMs = now();
    const callers = this.#served.splice(0);
    if (outcome === undefined) return this.#askAgain(callers);
    if (this.#stopping.signal.aborted) {
      for (const { reject } of callers) reject(this.#stopped());
      return undefined;
    }
    this.#conclude(outcome);
    for (const { resolve } of callers) resolve(outcome.report);
    return outcome.report;
  }

  /** Nobody may be answered by a run that did not look. */
  #askAgain(callers: readonly Waiter[]): undefined {
    this.#waiters.push(...callers);
    if (callers.length > 0) this.poke();
  }

  #conclude({ report, desired, mistaken }: Outcome): void {
    const { pace } = this.#binding;
    const failed = report.result === "diverged" || report.result === "unobserved";
    this.#failures = failed ? this.#failures + 1 : 0;
    this.#proven = failed ? undefined : desired;
    this.#last = report;
    this.#backoffMs = 0;
    if (mistaken) this.#backoffMs = Infinity;
    else if (failed) this.#backoffMs = delayAfterFailureMs(this.#failures, report.error, pace, this.#setting.random());
    this.#announce(report);
    this.#wakeIn(failed ? Math.min(this.#backoffMs, pace.resyncMs) : pace.resyncMs);
  }

  /** Retry and resync are one timer: it asks for a look, and a pause that is longer lets it wait. */
  #wakeIn(delayMs: number): void {
    this.#timer.unsubscribe();
    this.#timer = (this.#setting.scheduler ?? asyncScheduler).schedule(() => this.poke(), delayMs);
  }

  #stopped(): OperatorError {
    return new OperatorError("unavailable", `Cannot reconcile ${this.#binding.name}: the operator is stopping`);
  }
}
