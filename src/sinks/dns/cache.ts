/**
 * A few answers of Docker's resolver, per container: what it may ask differs from container to container.
 *
 * In:  answers and failures, with the time.  Out: the same bytes with less time to live; stale ones when nothing else is to be had.
 * Rule: short-lived on purpose. Docker's resolver also knows the containers of bridge networks, and says 600 s for each: those and
 *       missing names of one label are kept for a second, everything else for at most 30 s (missing names: 5 s).
 */
import { DOCKERS_TTL_SECONDS } from "./former.ts";
import { CLASS_IN, HEADER_BYTES, RCODE, skipName, TYPE } from "./wire.ts";

const MOST_ENTRIES = 128;
const MOST_BYTES = 1500;
const MOST_SECONDS = 30;
const MOST_NEGATIVE_SECONDS = 5;
const LOCAL_SECONDS = 1;
/** After its end an answer may still stand in for one that does not come (RFC 8767). */
const STALE_SECONDS = 30;
/** RFC 9520 §3.2: a failure is kept for at least one second. */
const FAILURE_SECONDS = 2;

interface Entry {
  readonly bytes: Buffer;
  /** Where its times to live are. */
  readonly ttls: readonly number[];
  readonly storedMs: number;
  readonly freshUntilMs: number;
}

export class AnswerCache {
  readonly #entries = new Map<string, Entry>();
  readonly #failures = new Map<string, number>();

  /** Copies a fresh answer into `out`; its length, 0 when there is none. The caller sets the id and the question. */
  fresh(key: string, nowMs: number, out: Buffer, at: number): number {
    const entry = this.#entries.get(key);
    return entry === undefined || nowMs >= entry.freshUntilMs ? 0 : written(entry, nowMs, out, at);
  }

  /** The same of an answer that ended a short while ago. */
  stale(key: string, nowMs: number, out: Buffer, at: number): number {
    const entry = this.#entries.get(key);
    return entry === undefined || nowMs >= entry.freshUntilMs + STALE_SECONDS * 1000 ? 0 : written(entry, nowMs, out, at);
  }

  hasStale(key: string, nowMs: number): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && nowMs < entry.freshUntilMs + STALE_SECONDS * 1000;
  }

  failed(key: string, nowMs: number): boolean { return nowMs < (this.#failures.get(key) ?? 0); }

  fail(key: string, nowMs: number): void { keep(this.#failures, key, nowMs + FAILURE_SECONDS * 1000); }

  /** Keeps what may be kept of an answer; `labels` of the name asked for. */
  store(key: string, message: Buffer, start: number, end: number, labels: number, nowMs: number): void {
    this.#failures.delete(key);
    if (end - start > MOST_BYTES) return;
    const bytes = Buffer.from(message.subarray(start, end));
    const kept = lifetime(bytes, labels);
    if (kept === undefined || kept.seconds <= 0) this.#entries.delete(key);
    else keep(this.#entries, key, { bytes, ttls: kept.ttls, storedMs: nowMs, freshUntilMs: nowMs + kept.seconds * 1000 });
  }

  clear(): void {
    this.#entries.clear();
    this.#failures.clear();
  }
}

/** The oldest entry makes room. */
function keep<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MOST_ENTRIES) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

function written({ bytes, ttls, storedMs }: Entry, nowMs: number, out: Buffer, at: number): number {
  bytes.copy(out, at);
  const age = Math.floor((nowMs - storedMs) / 1000);
  for (const ttl of ttls) out.writeUInt32BE(Math.max(0, bytes.readUInt32BE(ttl) - age), at + ttl);
  return bytes.length;
}

interface Section { readonly ttls: number[]; least: number; negative: number }

/** How long an answer may be kept; undefined: not at all. */
function lifetime(bytes: Buffer, labels: number): { readonly seconds: number; readonly ttls: readonly number[] } | undefined {
  const flags = bytes.readUInt16BE(2);
  const rcode = flags & 0x0f;
  // Cut off, or neither an answer nor a denial.
  if ((flags & 0x0200) !== 0 || (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN)) return undefined;
  const section = records(bytes);
  if (section === undefined) return undefined;
  const answers = bytes.readUInt16BE(6);
  if (rcode === RCODE.NOERROR && answers > 0) {
    const seconds = section.least === DOCKERS_TTL_SECONDS ? LOCAL_SECONDS : Math.min(section.least, MOST_SECONDS);
    return { seconds, ttls: section.ttls };
  }
  // A denial without SOA says nothing about how long it holds (RFC 2308 §5).
  return section.negative < 0 ? undefined : { seconds: Math.min(section.negative, labels <= 1 ? LOCAL_SECONDS : MOST_NEGATIVE_SECONDS), ttls: section.ttls };
}

function records(bytes: Buffer): Section | undefined {
  const section: Section = { ttls: [], least: Infinity, negative: -1 };
  const question = skipName(bytes, HEADER_BYTES, bytes.length);
  if (question < 0 || bytes.readUInt16BE(4) !== 1) return undefined;
  let at = question + 4;
  const count = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  for (let record = 0; record < count; record += 1) {
    const fields = skipName(bytes, at, bytes.length);
    if (fields < 0 || fields + 10 > bytes.length) return undefined;
    const next = fields + 10 + bytes.readUInt16BE(fields + 8);
    if (next > bytes.length) return undefined;
    note(bytes, fields, next, section);
    at = next;
  }
  return section;
}

function note(bytes: Buffer, fields: number, next: number, section: Section): void {
  const type = bytes.readUInt16BE(fields);
  if (type === TYPE.OPT) return;
  const ttl = bytes.readUInt32BE(fields + 4);
  section.ttls.push(fields + 4);
  section.least = Math.min(section.least, ttl);
  if (type === TYPE.SOA && bytes.readUInt16BE(fields + 2) === CLASS_IN && next - fields >= 14) section.negative = Math.min(ttl, bytes.readUInt32BE(next - 4));
}
