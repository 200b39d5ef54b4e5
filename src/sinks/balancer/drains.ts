/**
 * Since when a server has been seen with weight 0: no engine tells. After a restart the time counts anew.
 */
export class Drains {
  readonly #now: () => number;
  readonly #since = new Map<string, number>();

  constructor(now: () => number) { this.#now = now; }

  /** Keys of all that drain now; forgets the others. */
  seen(keys: readonly string[]): (key: string) => number {
    const there = new Set(keys);
    for (const key of this.#since.keys()) if (!there.has(key)) this.#since.delete(key);
    const now = this.#now();
    for (const key of keys) if (!this.#since.has(key)) this.#since.set(key, now);
    return (key) => now - (this.#since.get(key) ?? now);
  }
}
