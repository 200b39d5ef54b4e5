/**
 * Many datagrams per call: reads a socket's waiting queries at once and sends their answers at once.
 *
 * In:  a socket, a function that answers one message.  Out: how many were read.
 * Rule: one arena for all sockets of the thread; the layouts are those of 64-bit Linux (struct mmsghdr, iovec, sockaddr_in).
 */
import { addressOf, NO_WAIT, recvmmsg, sendmmsg } from "../libc.ts";

/** Messages per turn: enough to share the cost of a call, few enough that a flood delays others by a tenth of a millisecond. */
export const BATCH = 32;
export const SLOT = 4096;
const HEAD = 64;
const HEAD_WORDS = HEAD / 4;
const LENGTH_AT = 56 / 4;
const FLAGS_AT = 48 / 4;
const IOVEC_WORDS = 16 / 4;
const PEER = 16;
const TRUNCATED = 0x20;

/** Answers the message `query[start, end)` of the peer into `out` at `at`; the answer's length, or 0. */
export type Answer = (query: Buffer, start: number, end: number, peer: Buffer, out: Buffer, at: number) => number;

class Arena {
  readonly data = Buffer.allocUnsafeSlow(BATCH * SLOT);
  readonly heads = Buffer.from(new ArrayBuffer(BATCH * HEAD));
  readonly headWords = new Uint32Array(this.heads.buffer, this.heads.byteOffset, BATCH * HEAD_WORDS);
  readonly iovecs = new Uint32Array(BATCH * IOVEC_WORDS);

  constructor(peers: Buffer) {
    const data = addressOf(this.data);
    const iovecs = addressOf(new Uint8Array(this.iovecs.buffer));
    const names = addressOf(peers);
    for (let n = 0; n < BATCH; n += 1) {
      this.#pointer(this.iovecs, n * IOVEC_WORDS, data + BigInt(n * SLOT));
      this.iovecs[n * IOVEC_WORDS + 2] = SLOT;
      this.name(n, names + BigInt(n * PEER));
      this.headWords[n * HEAD_WORDS + 2] = PEER;
      this.#pointer(this.headWords, n * HEAD_WORDS + 4, iovecs + BigInt(n * 16));
      this.headWords[n * HEAD_WORDS + 6] = 1;
    }
  }

  name(slot: number, address: bigint): void { this.#pointer(this.headWords, slot * HEAD_WORDS, address); }

  #pointer(words: Uint32Array, at: number, address: bigint): void {
    words[at] = Number(address & 0xffffffffn);
    words[at + 1] = Number(address >> 32n);
  }
}

export class Datagrams {
  readonly #peers = Buffer.from(new ArrayBuffer(BATCH * PEER));
  readonly #in = new Arena(this.#peers);
  readonly #out = new Arena(this.#peers);
  /** One view per peer, made once. */
  readonly #peer = Array.from({ length: BATCH }, (_, n) => this.#peers.subarray(n * PEER, (n + 1) * PEER));
  readonly #truncated: () => void;
  readonly #unsent: () => void;

  constructor(on: { truncated: () => void; unsent: () => void }) {
    this.#truncated = on.truncated;
    this.#unsent = on.unsent;
  }

  /** One turn of one socket. */
  turn(fd: number, answer: Answer): number {
    const { data, headWords, heads } = this.#in;
    const count = recvmmsg(fd, heads, BATCH, NO_WAIT, null);
    let replies = 0;
    for (let n = 0; n < count; n += 1) {
      const head = n * HEAD_WORDS;
      if (((headWords[head + FLAGS_AT] ?? 0) & TRUNCATED) !== 0) {
        this.#truncated();
        continue;
      }
      const start = n * SLOT;
      const length = answer(data, start, start + (headWords[head + LENGTH_AT] ?? 0), this.#peer[n] as Buffer, this.#out.data, replies * SLOT);
      if (length > 0) {
        this.#out.iovecs[replies * IOVEC_WORDS + 2] = length;
        this.#out.headWords[replies * HEAD_WORDS] = headWords[head] ?? 0;
        this.#out.headWords[replies * HEAD_WORDS + 1] = headWords[head + 1] ?? 0;
        replies += 1;
      }
    }
    if (replies > 0) this.#send(fd, replies);
    return count;
  }

  #send(fd: number, replies: number): void {
    for (let sent = 0; sent < replies;) {
      const heads = sent === 0 ? this.#out.heads : this.#out.heads.subarray(sent * HEAD);
      const count = sendmmsg(fd, heads, replies - sent, NO_WAIT);
      // The first of the rest cannot be sent: its client asks again.
      if (count <= 0) this.#unsent();
      sent += Math.max(1, count);
    }
  }
}
