/**
 * Whether calls that change something may be served at all: settings are usable, and no other operator runs on this host.
 *
 * Rule: design D13, D24: never exit over it; each refused call carries the reason and the cure to the user's terminal.
 */
import { OperatorError } from "../core/errors.ts";

export interface Obstacle { readonly what: string; readonly reason: string; readonly cure: string }

export class Admission {
  #obstacles: readonly Obstacle[] = [];

  get obstacles(): readonly Obstacle[] {
    return this.#obstacles;
  }

  obstruct(obstacle: Obstacle): void {
    this.#obstacles = [...this.#obstacles, obstacle];
  }

  clear(what: string): void {
    this.#obstacles = this.#obstacles.filter((obstacle) => obstacle.what !== what);
  }

  /** One fact at a time: there, or over. */
  settle(what: string, found: Omit<Obstacle, "what"> | undefined): void {
    this.clear(what);
    if (found !== undefined) this.obstruct({ what, ...found });
  }

  /** Throws `invalid` with the first obstacle. */
  check(): void {
    const [first] = this.#obstacles;
    if (first === undefined) return;
    throw new OperatorError("invalid", `Cannot serve networks: ${first.what}: ${first.reason}`, { cure: first.cure });
  }
}
