/**
 * Sockets towards Docker's own resolver, from inside a sandbox and from the address that is not redirected to us.
 *
 * In:  a query with the id it shall have there.  Out: whatever comes back, or that nothing will.
 * Rule: every file is noted in the ledger while it is open; `failed` and `answer` come after the call that caused them, never within.
 */
import { performance } from "node:perf_hooks";
import { EAGAIN, errno, NO_WAIT, recv, send } from "../libc.ts";
import { openForward } from "../netns-sockets.ts";
import type { Home, Ledger } from "./home.ts";
import { READABLE, WRITABLE, type Loop } from "./loop.ts";

export interface Upstream { close(): void }
export interface Heard {
  answer(message: Buffer, length: number): void;
  failed(): void;
}

/** One at a time is read: shared by all. */
const received = Buffer.allocUnsafeSlow(65_535);
/** Answers per turn. */
const PER_TURN = 32;

/** One connected socket for all of a sandbox's queries by UDP. */
export class DatagramUpstream implements Upstream {
  readonly #fd: number;
  readonly #loop: Loop;
  readonly #ledger: Ledger;
  /** When the last answer came. */
  heardMs = -1;

  constructor(loop: Loop, ledger: Ledger, home: Home, heard: Heard) {
    this.#loop = loop;
    this.#ledger = ledger;
    this.#fd = ledger.opened(openForward(home.sockets.netns, "udp"));
    loop.add(this.#fd, READABLE, () => this.#turn(heard));
  }

  /** A query that does not go out meets its deadline, as one that was lost. */
  send(query: Buffer): void { send(this.#fd, query, query.length, NO_WAIT); }

  close(): void {
    this.#loop.remove(this.#fd);
    this.#ledger.close(this.#fd);
  }

  #turn({ answer, failed }: Heard): void {
    for (let n = 0; n < PER_TURN; n += 1) {
      const length = recv(this.#fd, received, received.length, NO_WAIT);
      if (length < 0) {
        if (errno() !== EAGAIN) failed();
        return;
      }
      this.heardMs = performance.now();
      answer(received, length);
    }
  }
}

/** One connection for one query by TCP. */
export function streamUpstream(loop: Loop, ledger: Ledger, home: Home, query: Buffer, { answer, failed }: Heard): Upstream {
  const fd = ledger.opened(openForward(home.sockets.netns, "tcp"));
  let message = Buffer.alloc(0);
  let sent = false;
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    loop.remove(fd);
    ledger.close(fd);
  };
  const write = (): boolean => {
    const framed = Buffer.alloc(query.length + 2);
    framed.writeUInt16BE(query.length, 0);
    query.copy(framed, 2);
    sent = true;
    loop.change(fd, READABLE);
    return send(fd, framed, framed.length, NO_WAIT) === framed.length;
  };
  const read = (): void => {
    const length = recv(fd, received, received.length, NO_WAIT);
    if (length < 0 && errno() === EAGAIN) return;
    if (length <= 0) return failed();
    message = Buffer.concat([message, received.subarray(0, length)]);
    const size = message.length < 2 ? Infinity : message.readUInt16BE(0);
    if (message.length >= size + 2) answer(message.subarray(2, size + 2), size);
  };
  loop.add(fd, WRITABLE, () => {
    if (sent) read();
    else if (!write()) failed();
  });
  return { close };
}
