/**
 * Broken DNS messages, the same ones for the same seed, a million in a few seconds.
 *
 * In:  whole messages.  Out: one of them in `into`, bytes lost, added, flipped, doubled, counters and lengths that lie.
 */
import { Packet, query, TYPE } from "./builders.ts";

/** Bytes that mean something to a parser: ends, pointers, kinds of label, limits of lengths. */
const NASTY = [0, 1, 0x0c, 0x29, 0x3f, 0x40, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xff];
export const MOST_BYTES = 1_024;

export class Mutator {
  readonly into = Buffer.alloc(MOST_BYTES);
  readonly #seeds: readonly Buffer[];
  /** xorshift32: jest's worlds make every use of a global dear, and this needs none. */
  #random: number;

  constructor(seeds: readonly Buffer[], seed: number) {
    this.#seeds = seeds;
    this.#random = seed;
  }

  /** Length of the next one. */
  next(): number {
    const seed = this.#seeds[this.#below(this.#seeds.length)] as Buffer;
    let length = seed.copy(this.into);
    for (let times = 1 + this.#below(4); times > 0; times -= 1) length = this.#mutate(length);
    return length;
  }

  #mutate(length: number): number {
    const { into } = this;
    const at = this.#below(length === 0 ? 1 : length);
    switch (this.#below(8)) {
      case 0: return at;
      case 1: into[at] = this.#below(256); return length;
      case 2: into[at] = NASTY[this.#below(NASTY.length)] ?? 0; return length;
      case 3: into[at] = (into[at] ?? 0) ^ (1 << this.#below(8)); return length;
      case 4: into[2 + this.#below(10)] = NASTY[this.#below(NASTY.length)] ?? 0; return length;
      case 5: {
        const count = least(this.#below(64), MOST_BYTES - length);
        for (let n = 0; n < count; n += 1) into[length + n] = this.#below(256);
        return length + count;
      }
      case 6: {
        const count = least(least(length - at, 1 + this.#below(64)), MOST_BYTES - length);
        into.copyWithin(at + count, at, length);
        return length + count;
      }
      default: {
        const count = least(length - at, 1 + this.#below(16));
        into.copyWithin(at, at + count, length);
        return length - count;
      }
    }
  }

  #below(count: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 0) % count;
  }
}

const least = (a: number, b: number): number => (a < b ? a : b);

/** Ordinary questions of all kinds. */
export const QUESTIONS: readonly Buffer[] = [
  query("web"), query("web.net", { edns: 1232 }), query("tasks.web", { type: 28 }), query("many", { edns: 4096 }), query("_http._tcp.web", { type: TYPE.SRV }), query("web", { type: TYPE.TXT }),
  query("web", { type: 255 }), query("1.0.0.10.in-addr.arpa", { type: TYPE.PTR }), query("9.9.0.10.in-addr.arpa", { type: TYPE.PTR, edns: 512 }), query("example.com", { edns: 1232 }),
  query(`${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(60)}`), query("", { type: 2 }), query("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", { flags: 0x0130 }),
  Buffer.concat([query("web", { edns: 1232 }).subarray(0, -2), Buffer.from([0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])]),
];

/** What a resolver may say. */
export function answers(): readonly Buffer[] {
  const packet = new Packet();
  Object.assign(packet.header, { id: 1, qr: 1, rd: 1, ra: 1 });
  packet.questions.push({ name: "example.com", type: 1, class: 1 } as never);
  for (let n = 0; n < 4; n += 1) packet.answers.push({ name: "example.com", type: 1, class: 1, ttl: 10 + n, address: `192.0.2.${n}` } as never);
  const denial = new Packet();
  Object.assign(denial.header, { id: 1, qr: 1, rcode: 3 });
  denial.questions.push({ name: "none.example.com", type: 1, class: 1 } as never);
  denial.authorities.push({ name: "com", type: TYPE.SOA, class: 1, ttl: 60, primary: "a", admin: "b", serial: 1, refresh: 1, retry: 1, expiration: 1, minimum: 9 } as never);
  return [packet.toBuffer(), denial.toBuffer()];
}
