/**
 * The one custom operator: one run at a time, and whatever arrives meanwhile becomes exactly one more run.
 *
 * In:  triggers.  Out: what the runs emit.
 * Rule: triggers that wait are merged into one, so a storm costs two runs; a pause is asked anew whenever a trigger arrives,
 * so an urgent one cuts the pause of those before it. When the triggers end, the run in flight finishes and what waits is dropped.
 */
import { asyncScheduler, defer, Observable, Subscription, type ObservableInput, type OperatorFunction, type SchedulerLike, type Subscriber } from "rxjs";

export interface Coalescing<T, R> {
  /** One run; an error ends the stream, so a run that may fail says so in what it emits. */
  readonly run: (trigger: T) => ObservableInput<R>;
  /** What two waiting triggers amount to; default: the latest. */
  readonly merge?: (waiting: T, latest: T) => T;
  /** How long the waiting trigger has to rest yet; `Infinity`: until another one arrives. Default 0. */
  readonly pauseMs?: (waiting: T) => number;
  readonly scheduler?: SchedulerLike;
}

export const coalesce = <T, R>(coalescing: Coalescing<T, R>): OperatorFunction<T, R> =>
  (triggers$) => new Observable<R>((subscriber) => {
    const queue = new Queue(coalescing, subscriber);
    subscriber.add(() => queue.rest());
    subscriber.add(triggers$.subscribe({
      next: (trigger) => queue.add(trigger),
      error: (error) => subscriber.error(error),
      complete: () => queue.end(),
    }));
  });

class Queue<T, R> {
  readonly #coalescing: Coalescing<T, R>;
  readonly #out: Subscriber<R>;
  #waiting: { readonly trigger: T } | undefined;
  #running = false;
  #ended = false;
  #pause = Subscription.EMPTY;

  constructor(coalescing: Coalescing<T, R>, out: Subscriber<R>) {
    this.#coalescing = coalescing;
    this.#out = out;
  }

  add(trigger: T): void {
    const { merge = (_waiting: T, latest: T) => latest } = this.#coalescing;
    this.#waiting = { trigger: this.#waiting === undefined ? trigger : merge(this.#waiting.trigger, trigger) };
    this.#next();
  }

  end(): void {
    this.#ended = true;
    this.#next();
  }

  rest(): void {
    this.#pause.unsubscribe();
  }

  #next(): void {
    this.#pause.unsubscribe();
    if (this.#running) return;
    if (this.#ended) return this.#out.complete();
    if (this.#waiting === undefined) return;
    const { pauseMs = () => 0, scheduler = asyncScheduler } = this.#coalescing;
    const ms = pauseMs(this.#waiting.trigger);
    if (ms <= 0) this.#start(this.#waiting.trigger);
    else if (ms < Infinity) this.#pause = scheduler.schedule(() => this.#next(), ms);
  }

  #start(trigger: T): void {
    this.#waiting = undefined;
    this.#running = true;
    this.#out.add(defer(() => this.#coalescing.run(trigger)).subscribe({
      next: (value) => this.#out.next(value),
      error: (error) => this.#out.error(error),
      complete: () => {
        this.#running = false;
        this.#next();
      },
    }));
  }
}
