/**
 * Who reads the queries of which sandbox.
 *
 * Rule: a sandbox without readers is not logged; readers end with their sandbox.
 */
import type { QueryLine } from "./messages.ts";

export interface Watcher {
  line(line: QueryLine): void;
  /** No more lines: the sandbox is served no longer. */
  ended(): void;
}

export class Watchers {
  readonly #watchers = new Map<string, Set<Watcher>>();

  sandboxes(): Iterable<string> { return this.#watchers.keys(); }

  add(sandbox: string, watcher: Watcher): void {
    const known = this.#watchers.get(sandbox) ?? new Set();
    this.#watchers.set(sandbox, known.add(watcher));
  }

  /** True when it was the last one of its sandbox. */
  remove(sandbox: string, watcher: Watcher): boolean {
    const known = this.#watchers.get(sandbox);
    if (known?.delete(watcher) !== true || known.size > 0) return false;
    return this.#watchers.delete(sandbox);
  }

  tell(line: QueryLine): void { for (const watcher of this.#watchers.get(line.sandbox) ?? []) watcher.line(line); }

  end(sandbox: string): void {
    const known = this.#watchers.get(sandbox);
    this.#watchers.delete(sandbox);
    for (const watcher of known ?? []) watcher.ended();
  }
}
