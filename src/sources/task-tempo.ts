/**
 * How often a manager reads its tasks. No event tells of a task, and what swarm wants to end loses its place two seconds before
 * its signal (protocol §5): whoever is to stop sending there in time must have read it by then.
 *
 * In:  service events, readings.  Out: whether to read now.
 * Rule: no I/O; times in ms of one clock. Quick while something moves, never more than a twentieth of the time spent reading.
 */
import type { DockerEvent } from "./docker-api.ts";

/** After the last sign of a change. */
const MOVING_MS = 10_000;
/** A large swarm's list takes long to write, to send and to decode. */
const SHARE = 20;
/** Swarm's `UpdateStatus.State` while a rolling update works (swarmkit api/types.proto). */
const WORKING = /^(updating|rollback_started)$/;

export class TaskTempo {
  readonly #working = new Set<string>();
  #movedAtMs = -Infinity;
  #readAtMs = -Infinity;
  #tookMs = 0;

  service({ action, id, attributes }: DockerEvent, nowMs: number): void {
    this.#movedAtMs = nowMs;
    const state = attributes["updatestate.new"];
    if (action === "remove") this.#working.delete(id);
    else if (state !== undefined && WORKING.test(state)) this.#working.add(id);
    else if (state !== undefined) this.#working.delete(id);
  }

  /** `changed`: the list was not the one before. */
  read(changed: boolean, startedAtMs: number, nowMs: number): void {
    this.#readAtMs = nowMs;
    this.#tookMs = nowMs - startedAtMs;
    if (changed) this.#movedAtMs = nowMs;
  }

  wants(nowMs: number): boolean {
    const moving = this.#working.size > 0 || nowMs - this.#movedAtMs < MOVING_MS;
    return moving && nowMs - this.#readAtMs >= this.#tookMs * SHARE;
  }
}
