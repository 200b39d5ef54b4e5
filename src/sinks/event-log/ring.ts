/**
 * The last lines in memory: what followers read from, and what waits for a disk that does not take it.
 *
 * Rule: bounded; whoever falls out of it is told how much it lost. Seqs in it are consecutive.
 */
import type { LogLine } from "./lines.ts";

export class Ring {
  readonly #slots: (LogLine | undefined)[];
  readonly #waiting = new Set<() => void>();
  #last = 0;
  #count = 0;

  /** `size` in lines. */
  constructor(size: number) {
    this.#slots = new Array<LogLine | undefined>(size).fill(undefined);
  }

  /** Seq of the newest line; 0 when there is none. */
  get last(): number {
    return this.#last;
  }

  /** Seq of the oldest line it holds; last + 1 when it holds none. */
  get oldest(): number {
    return this.#last - this.#count + 1;
  }

  push(line: LogLine): void {
    this.#slots[line.seq % this.#slots.length] = line;
    this.#last = line.seq;
    this.#count = Math.min(this.#count + 1, this.#slots.length);
  }

  at(seq: number): LogLine | undefined {
    return seq >= this.oldest && seq <= this.#last ? this.#slots[seq % this.#slots.length] : undefined;
  }

  /** Lets all go on who wait for a line after the one they have. */
  wake(): void {
    for (const go of this.#waiting) go();
    this.#waiting.clear();
  }

  /** Resolves when there is a line after `seq`, or the signal fires. */
  async after(seq: number, signal: AbortSignal): Promise<void> {
    if (this.#last > seq || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        signal.removeEventListener("abort", go);
        this.#waiting.delete(go);
        resolve();
      };
      this.#waiting.add(go);
      signal.addEventListener("abort", go);
    });
  }
}
