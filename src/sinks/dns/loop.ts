/**
 * One thread, all sockets: waits for any of them and lets each do a bounded piece of work in turn.
 *
 * In:  files with what to do when they are ready.  Out: calls.  Rule: level-triggered, and the kernel turns its list round after
 *       each look, so a socket that is always ready gets one turn per round and no more.
 */
import { arch } from "node:process";
import { CLOEXEC, EINTR, epollControl, epollCreate, epollWait, errno } from "../libc.ts";

export const READABLE = 1;
export const WRITABLE = 4;
/** EPOLLERR and EPOLLHUP: told whether asked for or not. */
export const GONE = 0x18;

/** `events`: what the kernel says, EPOLLHUP and EPOLLERR included. */
export type Ready = (events: number) => void;

const ADD = 1;
const DELETE = 2;
const CHANGE = 3;
/** struct epoll_event is packed on x86 alone. */
const EVENT_BYTES = arch === "x64" || arch === "ia32" ? 12 : 16;
const DATA_AT = EVENT_BYTES - 8;
const PER_ROUND = 64;

export class Loop {
  readonly #ep = epollCreate(CLOEXEC);
  readonly #events = Buffer.allocUnsafeSlow(EVENT_BYTES * PER_ROUND);
  readonly #one = Buffer.alloc(EVENT_BYTES);
  readonly #ready: (Ready | undefined)[] = [];

  get file(): number { return this.#ep; }

  add(fd: number, events: number, ready: Ready): void {
    this.#ready[fd] = ready;
    this.#control(ADD, fd, events);
  }

  /** What the file is waited for from now on. */
  change(fd: number, events: number): void { this.#control(CHANGE, fd, events); }

  /** Before the file is closed. */
  remove(fd: number): void {
    this.#ready[fd] = undefined;
    this.#control(DELETE, fd, 0);
  }

  /** One round; at most `timeoutMs` of waiting. */
  round(timeoutMs: number): void {
    const count = epollWait(this.#ep, this.#events, PER_ROUND, timeoutMs);
    if (count < 0 && errno() !== EINTR) throw new Error(`Cannot wait for sockets: errno ${errno()}`);
    for (let n = 0; n < count; n += 1) {
      const at = n * EVENT_BYTES;
      this.#ready[this.#events.readUInt32LE(at + DATA_AT)]?.(this.#events.readUInt32LE(at));
    }
  }

  #control(op: number, fd: number, events: number): void {
    this.#one.writeUInt32LE(events, 0);
    this.#one.writeUInt32LE(fd, DATA_AT);
    if (epollControl(this.#ep, op, fd, this.#one) < 0 && op === ADD) throw new Error(`Cannot wait for file ${fd}: errno ${errno()}`);
  }
}
