/**
 * From a query's bytes to an answer's bytes: everything between the sockets and the table.
 *
 * In:  a message, whose it is, how much room the answer has.  Out: the answer's length, DROP or FORWARD.
 * Rule: no I/O; never throws on any bytes; one Map look-up and one copy for a name that was asked before.
 */
import { isFormerName } from "./former.ts";
import { ELSEWHERE, lookup, type Found, type LookupTable } from "./lookup.ts";
import { render, type Outcome, type Rendered } from "./render.ts";
import type { DnsSandbox } from "./vocabulary.ts";
import { HEADER_BYTES, OPT_BYTES, Question, RCODE, readQuestion, textOfKey, writeHeader, writeOpt, EDNS_BYTES, PLAIN_BYTES, type Verdict } from "./wire.ts";

/** No answer is right: not a query, or whose names we do not know yet. */
export const DROP = 0;
/** Not ours: Docker's own resolver is asked. */
export const FORWARD = -1;

/** Answers kept per view; past that it starts anew. */
const MOST_KEPT = 32_768;

/** Past that, every client beginning at another record spreads them as well. */
const MOST_SHUFFLED = 16;

/** What sandboxes with the same networks and no links of their own share. */
interface View { readonly sandbox: DnsSandbox; readonly answers: Map<string, Map<number, Rendered>> }

export type Said = Outcome | Exclude<Verdict, "ask"> | "untabled" | "forward";

export class Responder {
  readonly question = new Question();
  /** What was said to the last message, for counters and the query log. */
  said: Said = "drop";
  truncated = false;
  via: "zone" | "link" = "zone";
  #table: LookupTable = { mode: "compatible", zones: new Map(), ranges: [] };
  #sandboxes: ReadonlyMap<string, DnsSandbox> = new Map();
  #views = new Map<string, View>();
  #viewOf = new Map<string, View>();
  #random = 0x9e3779b9;
  readonly #order = new Uint32Array(MOST_SHUFFLED);

  /** Atomic: the next message is answered from this table alone. */
  setTable(table: LookupTable, sandboxes: ReadonlyMap<string, DnsSandbox>): void {
    this.#table = table;
    this.#sandboxes = sandboxes;
    this.#views = new Map();
    this.#viewOf = new Map();
  }

  /** `room`: what the transport carries; by UDP the client's own limit counts as well. */
  respond(message: Buffer, start: number, end: number, sandbox: string, udp: boolean, out: Buffer, at: number, room: number): number {
    const { question } = this;
    this.truncated = false;
    const verdict = readQuestion(message, start, end, question);
    if (verdict !== "ask") return this.#refuse(verdict, message, start, out, at);
    const view = this.#viewOf.get(sandbox) ?? this.#newView(sandbox);
    if (view === undefined) {
      this.said = "untabled";
      return DROP;
    }
    const rendered = view.answers.get(question.key)?.get(question.type + question.class * 65_536) ?? this.#ask(view);
    if (rendered === undefined) {
      this.said = "forward";
      return FORWARD;
    }
    this.said = rendered.outcome;
    this.via = rendered.via;
    return this.#write(message, start, rendered, out, at, udp ? Math.min(room, this.payload()) : room);
  }

  /** An answer of Docker's resolver that names one of our containers by a name it gave up. */
  isFormer(sandbox: string, key: string, message: Buffer, length: number): boolean {
    const asker = this.#sandboxes.get(sandbox);
    const name = textOfKey(key);
    return asker !== undefined && name !== undefined && isFormerName(this.#table, asker, name, message, length);
  }

  /** What the asking client takes by UDP. */
  payload(): number { return this.question.ednsBytes === 0 ? PLAIN_BYTES : Math.min(this.question.ednsBytes, EDNS_BYTES); }

  #refuse(verdict: Exclude<Verdict, "ask">, message: Buffer, start: number, out: Buffer, at: number): number {
    this.said = verdict;
    if (verdict === "drop") return DROP;
    const rcode = { formerr: RCODE.FORMERR, notimp: RCODE.NOTIMP, badvers: RCODE.BADVERS }[verdict];
    writeHeader(message, start, out, at, rcode);
    if (verdict === "notimp") out[at + 2] = (out[at + 2] ?? 0) & 0xf9;
    if (verdict !== "badvers") return HEADER_BYTES;
    const { end, dnssecOk } = this.question;
    message.copy(out, at + HEADER_BYTES, start + HEADER_BYTES, end);
    out[at + 5] = 1;
    out[at + 11] = 1;
    return writeOpt(out, at + end - start, rcode, dnssecOk) - at;
  }

  #newView(name: string): View | undefined {
    const sandbox = this.#sandboxes.get(name);
    if (sandbox === undefined) return undefined;
    const shared = `${sandbox.zones.join(",")} ${sandbox.links.size === 0 ? "" : JSON.stringify([...sandbox.links])}`;
    const view = this.#views.get(shared) ?? { sandbox, answers: new Map<string, Map<number, Rendered>>() };
    this.#views.set(shared, view);
    this.#viewOf.set(name, view);
    return view;
  }

  #ask({ sandbox, answers }: View): Rendered | undefined {
    const { key, type, class: klass } = this.question;
    const name = textOfKey(key);
    const found: Found = name === undefined ? ELSEWHERE : lookup(this.#table, sandbox, name);
    if (found.kind === "elsewhere") return undefined;
    const rendered = render(found, type, klass, HEADER_BYTES + 1 + key.charCodeAt(0));
    if (answers.size >= MOST_KEPT) answers.clear();
    const kept = answers.get(key) ?? new Map<number, Rendered>();
    // Types are 16 bits: a client that tries them all must not fill memory.
    if (kept.size < 16) kept.set(type + klass * 65_536, rendered);
    answers.set(key, kept);
    return rendered;
  }

  #write(message: Buffer, start: number, rendered: Rendered, out: Buffer, at: number, room: number): number {
    const { end, ednsBytes, dnssecOk } = this.question;
    const edns = ednsBytes > 0;
    writeHeader(message, start, out, at, rendered.rcode);
    out[at + 5] = 1;
    copied(message, start + HEADER_BYTES, end, out, at + HEADER_BYTES);
    const written = this.#records(rendered, out, at + end - start, at + room - (edns ? OPT_BYTES : 0));
    const next = written.at;
    const answers = Math.min(written.count, rendered.answers);
    const authorities = Math.min(written.count - answers, rendered.authorities);
    const additional = written.count - answers - authorities + (edns ? 1 : 0);
    if (answers < rendered.answers) {
      out[at + 2] = (out[at + 2] ?? 0) | 0x02;
      this.truncated = true;
    }
    out.writeUInt16BE(answers, at + 6);
    out[at + 9] = authorities;
    out.writeUInt16BE(additional, at + 10);
    return (edns ? writeOpt(out, next, rendered.rcode, dnssecOk) : next) - at;
  }

  /** As many as fit, answers in random order: few are shuffled, many are turned by a random number of places. */
  #records(rendered: Rendered, out: Buffer, from: number, limit: number): { at: number; count: number } {
    const { bytes, ends, answers } = rendered;
    if (answers > MOST_SHUFFLED) return this.#turned(rendered, out, from, limit);
    let at = from;
    const order = this.#order;
    for (let n = 0; n < answers; n += 1) order[n] = n;
    for (let n = 0; n < ends.length; n += 1) {
      if (n < answers - 1) this.#swap(order, n, n + this.#below(answers - n));
      const record = n < answers ? (order[n] ?? 0) : n;
      const first = record === 0 ? 0 : (ends[record - 1] ?? 0);
      const last = ends[record] ?? 0;
      if (at + last - first > limit) return { at, count: n };
      at = copied(bytes, first, last, out, at);
    }
    return { at, count: ends.length };
  }

  /** From a random record to the last, then from the first: long runs are copied at once. */
  #turned({ bytes, ends, answers }: Rendered, out: Buffer, from: number, limit: number): { at: number; count: number } {
    const start = this.#below(answers);
    let at = from;
    let count = 0;
    for (const [begin, end] of [[start, answers], [0, start], [answers, ends.length]] as const) {
      const first = begin === 0 ? 0 : (ends[begin - 1] ?? 0);
      let fits = begin;
      while (fits < end && at + (ends[fits] ?? 0) - first <= limit) fits += 1;
      if (fits > begin) at = copied(bytes, first, ends[fits - 1] ?? 0, out, at);
      count += fits - begin;
      if (fits < end) break;
    }
    return { at, count };
  }

  #swap(order: Uint32Array, a: number, b: number): void {
    const kept = order[a] ?? 0;
    order[a] = order[b] ?? 0;
    order[b] = kept;
  }

  /** xorshift32 (Marsaglia): good enough to spread clients over addresses. */
  #below(count: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x >>> 0;
    return this.#random % count;
  }
}

/** Position after the copy. A short one costs less here than a call of Buffer's. */
function copied(from: Buffer, first: number, last: number, out: Buffer, at: number): number {
  if (last - first > 64) return at + from.copy(out, at, first, last);
  for (let n = first, to = at; n < last; n += 1, to += 1) out[to] = from[n] ?? 0;
  return at + last - first;
}
