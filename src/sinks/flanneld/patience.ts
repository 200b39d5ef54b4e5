/**
 * When a flanneld that keeps ending may be started again.
 *
 * In:  how long it lived.  Out: the earliest next start.
 * Rule: a life that was too short doubles the wait, a decent one forgets it; each start costs etcd a lease object for 24 h.
 */
export interface Pace {
  /** A life shorter than this counts as a failed start, ms. */
  readonly decentLifeMs: number;
  readonly firstMs: number;
  readonly maxMs: number;
}

export const PACE: Pace = { decentLifeMs: 60_000, firstMs: 500, maxMs: 30_000 };

export class Patience {
  readonly #pace: Pace;
  #failures = 0;
  #earliestMs = 0;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  get failures(): number {
    return this.#failures;
  }

  ended(livedMs: number, nowMs: number): void {
    this.#failures = livedMs < this.#pace.decentLifeMs ? this.#failures + 1 : 0;
    this.#earliestMs = this.#failures === 0 ? nowMs : nowMs + Math.min(this.#pace.maxMs, this.#pace.firstMs * 2 ** (this.#failures - 1));
  }

  /** The input changed, so the old failures prove nothing. */
  forget(): void {
    this.#failures = 0;
    this.#earliestMs = 0;
  }

  /** 0 when it may start now. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#earliestMs - nowMs);
  }
}
