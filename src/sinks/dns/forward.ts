/**
 * Queries that are not ours, on their way to Docker's own resolver and back (design D6).
 *
 * In:  a query and whom to answer.  Out: exactly one answer: Docker's, one of the cache, or SERVFAIL. Never silence.
 * Rule: the query goes on unchanged but for its id, by the transport it came on; every wait has an end, every container a limit.
 */
import { performance } from "node:perf_hooks";
import { AnswerCache } from "./cache.ts";
import type { Home, Ledger } from "./home.ts";
import type { QueryLine } from "./messages.ts";
import { DatagramUpstream, streamUpstream, type Upstream } from "./upstream.ts";
import type { Loop } from "./loop.ts";
import { freeId, keyOf, labelsOf, sameQuestion, type Asked, type Pending } from "./pending.ts";
import { HEADER_BYTES, RCODE, writeHeader, type Question } from "./wire.ts";

/** As Docker's own limit would allow for eight containers that ask at once. */
const MOST_PENDING = 128;
/** Below glibc's and busybox's 5 s, above the 4 s after which Docker's resolver tries its next server. */
const DEADLINE_MS = 4_800;
/** After its client was told of failure an answer may still come for its next attempt: three servers at 4 s each. */
const LATE_MS = 13_000;
/** RFC 8767 §5: a client does not wait longer when there is a stale answer. */
const STALE_AFTER_MS = 1_800;
/** Unused sockets towards Docker's resolver are closed after this. */
const IDLE_MS = 15_000;

/** What the query log calls them. */
const OUTCOMES: Readonly<Record<number, string>> = { [RCODE.NOERROR]: "answered", [RCODE.SERVFAIL]: "servfail", [RCODE.NXDOMAIN]: "nxdomain" };

/** Forwarding state of one sandbox. */
interface Way {
  readonly pending: Map<number, Pending>;
  datagrams: DatagramUpstream | undefined;
  /** Replaced, but an answer may still come. */
  retired: readonly { readonly upstream: DatagramUpstream; readonly untilMs: number }[];
  readonly streams: Map<Pending, Upstream>;
  usedMs: number;
}

export class Forwarder {
  readonly #loop: Loop;
  readonly #ledger: Ledger;
  readonly #ways = new Map<Home, Way>();
  readonly #out = Buffer.allocUnsafeSlow(65_535);
  readonly #isFormer: (home: Home, key: string, message: Buffer, length: number) => boolean;
  #caching: boolean;

  constructor(loop: Loop, ledger: Ledger, caching: boolean, isFormer: (home: Home, key: string, message: Buffer, length: number) => boolean) {
    this.#isFormer = isFormer;
    this.#loop = loop;
    this.#ledger = ledger;
    this.#caching = caching;
  }

  /** Something waits for an answer or a socket for its end: look again soon. */
  get busy(): boolean { return this.#ways.size > 0; }

  setCaching(on: boolean): void { this.#caching = on; }

  ask(asked: Asked, message: Buffer, start: number, end: number, question: Question): void {
    const nowMs = performance.now();
    const { home } = asked;
    const query = Buffer.from(message.subarray(start, end));
    const cacheKey = this.#caching ? keyOf(query, question, asked.udp) : undefined;
    const pending = { asked, query, question: { key: question.key, type: question.type, end: question.end - start }, cacheKey, sinceMs: nowMs, id: 0, answered: false };
    if (cacheKey !== undefined && home.cache !== undefined) {
      if (this.#fromCache(pending, "cached", home.cache.fresh(cacheKey, nowMs, this.#out, 0))) return;
      if (home.cache.failed(cacheKey, nowMs)) return this.#standIn(pending, nowMs);
    }
    const way = this.#way(home);
    if (way.pending.size >= MOST_PENDING) {
      this.#ledger.count("limited");
      return this.#standIn(pending, nowMs);
    }
    this.#send(way, { ...pending, id: freeId(way) }, nowMs);
  }

  /** Ends what is late; to be called about ten times a second while busy. */
  sweep(): void {
    const nowMs = performance.now();
    for (const [home, way] of this.#ways) {
      for (const pending of way.pending.values()) this.#age(way, pending, nowMs);
      for (const { upstream, untilMs } of way.retired) if (nowMs >= untilMs) upstream.close();
      way.retired = way.retired.filter(({ untilMs }) => nowMs < untilMs);
      if (way.pending.size === 0 && nowMs - way.usedMs > IDLE_MS) this.end(home);
    }
  }

  /** Nothing more is answered for this sandbox. */
  end(home: Home): void {
    const way = this.#ways.get(home);
    if (way === undefined) return;
    this.#ways.delete(home);
    this.#dropDatagrams(way);
    for (const { upstream } of way.retired) upstream.close();
    for (const stream of way.streams.values()) stream.close();
    way.retired = [];
    way.streams.clear();
    way.pending.clear();
  }

  #way(home: Home): Way {
    const known = this.#ways.get(home);
    if (known !== undefined) return known;
    const way: Way = { pending: new Map(), datagrams: undefined, retired: [], streams: new Map(), usedMs: 0 };
    this.#ways.set(home, way);
    return way;
  }

  #send(way: Way, pending: Pending, nowMs: number): void {
    way.usedMs = nowMs;
    way.pending.set(pending.id, pending);
    pending.query.writeUInt16BE(pending.id, 0);
    try {
      if (pending.asked.udp) this.#datagrams(way, pending.asked.home).send(pending.query);
      else way.streams.set(pending, streamUpstream(this.#loop, this.#ledger, pending.asked.home, pending.query, {
        answer: (message, length) => this.#answer(way, message, length), failed: () => this.#lost(way, pending),
      }));
    } catch {
      this.#lost(way, pending);
    }
  }

  #datagrams(way: Way, home: Home): DatagramUpstream {
    way.datagrams ??= new DatagramUpstream(this.#loop, this.#ledger, home, {
      answer: (message, length) => this.#answer(way, message, length),
      // Nobody listens there, or its port moved: the next query opens another socket.
      failed: () => { for (const pending of [...way.pending.values()].filter(({ asked }) => asked.udp)) this.#lost(way, pending); this.#dropDatagrams(way); },
    });
    return way.datagrams;
  }

  #dropDatagrams(way: Way): void {
    way.datagrams?.close();
    way.datagrams = undefined;
  }

  /** Of Docker's resolver: its id, the answer bit and the question must fit. */
  #answer(way: Way, message: Buffer, length: number): void {
    if (length < HEADER_BYTES || (message[2] ?? 0) < 0x80) return;
    const pending = way.pending.get(message.readUInt16BE(0));
    if (pending === undefined || !sameQuestion(pending, message, length)) return;
    this.#done(way, pending);
    if (!this.#isFormer(pending.asked.home, pending.question.key, message, length)) return this.#take(way, pending, message, length);
    this.#ledger.count("former");
    this.#take(way, pending, this.#out, this.#refused(pending, RCODE.NXDOMAIN));
  }

  #take(way: Way, pending: Pending, message: Buffer, length: number): void {
    const { asked: { home }, cacheKey, question } = pending;
    const nowMs = performance.now();
    if (cacheKey !== undefined) {
      const cache = (home.cache ??= new AnswerCache());
      const failed = ((message[3] ?? 0) & 0x0f) === RCODE.SERVFAIL;
      if (failed) cache.fail(cacheKey, nowMs);
      if (failed && !pending.answered && this.#fromCache(pending, "stale", cache.stale(cacheKey, nowMs, this.#out, 0))) return;
      if (!failed) cache.store(cacheKey, message, 0, length, labelsOf(question.key), nowMs);
    }
    if (pending.answered) return this.#late(way, pending, message, length);
    this.#ledger.count("forwardAnswered");
    this.#reply(pending, message, length, "forward");
  }

  /** Its client was told of failure; the same question, asked again meanwhile, has its answer now. */
  #late(way: Way, late: Pending, message: Buffer, length: number): void {
    this.#ledger.count("forwardLate");
    for (const pending of [...way.pending.values()]) {
      if (pending.answered || late.cacheKey === undefined || pending.cacheKey !== late.cacheKey) continue;
      this.#done(way, pending);
      this.#reply(pending, message, length, "forward");
    }
  }

  #done(way: Way, pending: Pending): void {
    way.pending.delete(pending.id);
    way.streams.get(pending)?.close();
    way.streams.delete(pending);
  }

  #lost(way: Way, pending: Pending): void {
    this.#done(way, pending);
    if (!pending.answered) this.#fail(pending, performance.now());
  }

  #age(way: Way, pending: Pending, nowMs: number): void {
    const age = nowMs - pending.sinceMs;
    const { cacheKey, asked: { home } } = pending;
    if (!pending.answered && age >= STALE_AFTER_MS && cacheKey !== undefined && home.cache !== undefined) {
      pending.answered = this.#fromCache(pending, "stale", home.cache.stale(cacheKey, nowMs, this.#out, 0));
    }
    if (age >= LATE_MS) this.#done(way, pending);
    if (pending.answered || age < DEADLINE_MS) return;
    pending.answered = true;
    this.#fail(pending, nowMs);
    // Not one answer in all that time: the way itself may be wrong, as after a restart of dockerd.
    if (way.datagrams === undefined || way.datagrams.heardMs >= pending.sinceMs) return;
    way.retired = [...way.retired, { upstream: way.datagrams, untilMs: nowMs + LATE_MS - DEADLINE_MS }];
    way.datagrams = undefined;
  }

  /** Docker's resolver failed: that is remembered. */
  #fail(pending: Pending, nowMs: number): void {
    const { cacheKey, asked: { home } } = pending;
    if (cacheKey !== undefined) (home.cache ??= new AnswerCache()).fail(cacheKey, nowMs);
    this.#standIn(pending, nowMs);
  }

  /** A stale answer, else SERVFAIL. */
  #standIn(pending: Pending, nowMs: number): void {
    const { cacheKey, asked: { home } } = pending;
    this.#ledger.count("forwardFailed");
    if (cacheKey !== undefined && home.cache !== undefined && this.#fromCache(pending, "stale", home.cache.stale(cacheKey, nowMs, this.#out, 0))) return;
    this.#reply(pending, this.#out, this.#refused(pending, RCODE.SERVFAIL), "forward");
  }

  /** In our own buffer; its length. */
  #refused({ query, question }: Pending, rcode: number): number {
    writeHeader(query, 0, this.#out, 0, rcode);
    this.#out[5] = 1;
    query.copy(this.#out, HEADER_BYTES, HEADER_BYTES, question.end);
    return question.end;
  }

  #fromCache(pending: Pending, how: "cached" | "stale", length: number): boolean {
    if (length === 0) return false;
    this.#ledger.count(how);
    pending.query.copy(this.#out, HEADER_BYTES, HEADER_BYTES, pending.question.end);
    this.#reply(pending, this.#out, length, how);
    return true;
  }

  #reply(pending: Pending, message: Buffer, length: number, via: QueryLine["via"]): void {
    const { asked: { home, udp, reply }, question } = pending;
    reply(message, length);
    const rcode = (message[3] ?? 0) & 0x0f;
    this.#ledger.line(home, question, udp ? "udp" : "tcp", OUTCOMES[rcode] ?? `rcode ${rcode}`, via);
  }
}
