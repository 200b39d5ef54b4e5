/**
 * Whether a sandbox's queries still reach us: a datagram sent to its resolver from inside must arrive here.
 *
 * In:  the sandboxes served, the time.  Out: those whose datagram did not come.
 * Rule: one sandbox at a time, all of them within the period. The datagram says that it is an answer, so whoever gets it instead of us
 *       drops it in silence. One that is lost is a reason to look, no proof: a full socket loses it, too.
 */
import { randomBytes } from "node:crypto";
import { close, NO_WAIT, sendto } from "../libc.ts";
import { openClient, RESOLVER_ADDRESS } from "../netns-sockets.ts";
import type { Home } from "./home.ts";
import { HEADER_BYTES } from "./wire.ts";

const PERIOD_MS = 3_000;
/** A process with thousands of containers takes longer than the period rather than more of the thread. */
const LEAST_MS = 5;

export class Probe {
  readonly #homes: ReadonlyMap<string, Home>;
  readonly #unheard: (sandbox: string) => void;
  readonly #message = Buffer.concat([Buffer.from([0, 0, 0x80, 0]), randomBytes(HEADER_BYTES - 4)]);
  #turn: Iterator<Home>;
  #sent: Home | undefined;
  #nextMs = 0;

  constructor(homes: ReadonlyMap<string, Home>, unheard: (sandbox: string) => void) {
    this.#homes = homes;
    this.#unheard = unheard;
    this.#turn = homes.values();
  }

  /** Until the next one is due. */
  waitMs(nowMs: number): number { return this.#homes.size === 0 ? Infinity : Math.max(0, Math.ceil(this.#nextMs - nowMs)); }

  /** What was sent in the last turn has been read by now, if it came. */
  turn(nowMs: number): void {
    if (this.#homes.size === 0 || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + Math.max(LEAST_MS, PERIOD_MS / this.#homes.size);
    const missed = this.#sent;
    this.#sent = undefined;
    if (missed !== undefined && this.#homes.get(missed.sandbox) === missed) this.#unheard(missed.sandbox);
    const next = this.#next();
    if (next !== undefined) this.#send(next);
  }

  /** True when the message is ours: nobody's query. */
  heard(home: Home, bytes: Buffer, start: number, end: number): boolean {
    if (end - start !== HEADER_BYTES || this.#message.compare(bytes, start, end) !== 0) return false;
    if (this.#sent === home) this.#sent = undefined;
    return true;
  }

  #next(): Home | undefined {
    const { value, done } = this.#turn.next() as IteratorResult<Home, undefined>;
    if (done !== true) return value;
    this.#turn = this.#homes.values();
    return (this.#turn.next() as IteratorResult<Home, undefined>).value;
  }

  #send(home: Home): void {
    try {
      const fd = openClient(home.sockets.netns);
      this.#sent = home;
      sendto(fd, this.#message, this.#message.length, NO_WAIT, RESOLVER_ADDRESS, RESOLVER_ADDRESS.length);
      close(fd);
    } catch {
      // The namespace cannot be entered: whoever serves it finds out.
    }
  }
}
