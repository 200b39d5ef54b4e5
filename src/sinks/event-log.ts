/**
 * The event log (design D19): one JSON object per line, seq from 1 without gaps within one life of the process.
 *
 * In:  events.  Out: lines in files, lines to followers.
 * Rule: a line is in the file before anybody gets it. Nothing here blocks, throws or waits: while the disk takes nothing,
 *       followers are served and lines wait in memory, and those that no longer fit there are counted and told; a follower
 *       that does not read is told what it lost and slows nobody.
 */
import { CATALOGUE, type Emit, type EventFields, type EventName, type Level } from "../core/events.ts";
import { decodeLine, encodeLine, includes, type Cursor, type LogLine } from "./event-log/lines.ts";
import { Ring } from "./event-log/ring.ts";
import { Segments, type Place } from "./event-log/segments.ts";

export type { Cursor, LogLine } from "./event-log/lines.ts";

export interface EventLogOptions {
  /** Directory of the files. */
  readonly dir: string;
  /** Id of this life of the process. */
  readonly boot: string;
  /** Bytes of all files together. */
  readonly maxBytes: number;
  /** What is logged at all; events below it get no seq. */
  readonly level: Level;
  /** Clock, ms; default Date.now. */
  readonly now?: () => number;
  /** Lines kept in memory; a follower this far behind loses them. */
  readonly ringLines?: number;
}

export interface EventLogCounters {
  readonly logged: Readonly<Record<Level, number>>;
  /** Failed writes, and lines that are in no file for that reason. */
  readonly failedWrites: number;
  readonly lost: number;
  /** Lines that followers did not get. */
  readonly lostByFollowers: number;
}

export interface EventLog {
  readonly emit: Emit;
  readonly boot: string;
  readonly lastSeq: number;
  readonly counters: EventLogCounters;
  /** All lines after the cursor that the files and the memory hold, oldest first; without one, all. */
  replay(after?: Cursor): AsyncIterable<LogLine>;
  /** The same and then each new line, until the signal fires; without a cursor, from now on. */
  follow(after: Cursor | undefined, signal: AbortSignal): AsyncIterable<LogLine>;
  close(): void;
}

const RING_LINES = 2_000;
/** Between two tries to write to a disk that refused, ms. */
const RETRY_MS = 1_000;

export function eventLog(options: EventLogOptions): EventLog {
  const log = new Log(options);
  return {
    emit: (event, fields) => log.emit(event, fields),
    boot: options.boot,
    get lastSeq() { return log.ring.last; },
    counters: log.counters,
    replay: (after) => log.replay(after),
    follow: (after, signal) => log.follow(after, signal),
    close: () => log.close(),
  };
}

class Log {
  readonly ring: Ring;
  readonly counters = { logged: { error: 0, warn: 0, info: 0, debug: 0 }, failedWrites: 0, lost: 0, lostByFollowers: 0 };
  readonly #options: EventLogOptions;
  readonly #now: () => number;
  readonly #segments: Segments;
  #written = 0;
  #trouble: { readonly reason: string; lost: number; retryAtMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: EventLogOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#segments = new Segments(options.dir, options.maxBytes);
    this.ring = new Ring(options.ringLines ?? RING_LINES);
  }

  emit<N extends EventName>(event: N, fields: EventFields[N]): void {
    if (!includes(this.#options.level, CATALOGUE[event].level)) return;
    this.#add(event, fields);
    this.#write();
    this.ring.wake();
  }

  #add<N extends EventName>(event: N, fields: EventFields[N]): void {
    const { level } = CATALOGUE[event];
    this.ring.push(encodeLine({ boot: this.#options.boot, seq: this.ring.last + 1, atMs: this.#now(), level, event }, fields));
    this.counters.logged[level]++;
    if (this.#written + 1 >= this.ring.oldest) return;
    const lost = this.ring.oldest - this.#written - 1;
    this.#written += lost;
    this.counters.lost += lost;
    if (this.#trouble !== undefined) this.#trouble.lost += lost;
  }

  /** Writes what is not written yet; after a refusal at most once per RETRY_MS. */
  #write(): void {
    const trouble = this.#trouble;
    if (trouble !== undefined && this.#now() < trouble.retryAtMs) return;
    try {
      while (this.#written < this.ring.last) {
        const line = this.ring.at(this.#written + 1);
        if (line !== undefined) this.#segments.append(`${line.text}\n`);
        this.#written++;
      }
    } catch (error) {
      this.#refused(error as Error);
      return;
    }
    if (trouble === undefined) return;
    this.#trouble = undefined;
    if (trouble.lost > 0) this.emit("events.lost", { lost: trouble.lost, reason: trouble.reason });
  }

  #refused(error: Error): void {
    this.counters.failedWrites++;
    this.#trouble = { reason: error.message, lost: this.#trouble?.lost ?? 0, retryAtMs: this.#now() + RETRY_MS };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#write(); }, RETRY_MS + 1).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#segments.close();
  }

  /** Up to the line that is the newest now. */
  async *replay(after?: Cursor): AsyncGenerator<LogLine, void, undefined> {
    const end = this.ring.last;
    for await (const line of this.#history(after)) {
      if (line.boot === this.#options.boot && line.seq > end) return;
      yield line;
      if (line.boot === this.#options.boot && line.seq === end) return;
    }
  }

  async *follow(after: Cursor | undefined, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined> {
    let seq = this.ring.last;
    if (after !== undefined) {
      const place = await this.#placeOf(after);
      seq = place?.boot === this.#options.boot ? place.seq : 0;
      for await (const line of this.#history(after)) {
        if (signal.aborted) return;
        if (line.boot === this.#options.boot) seq = line.seq;
        yield line;
      }
    }
    while (!signal.aborted) {
      await this.ring.after(seq, signal);
      if (signal.aborted) return;
      const line = this.#next(seq, "it read too slowly");
      seq = line.seq;
      yield line;
    }
  }

  /** The line after `seq`; for who fell out of the memory, a word on how much, and it goes on from now. */
  #next(seq: number, reason: string): LogLine {
    return this.ring.at(seq + 1) ?? this.#lostLine(this.#options.boot, this.ring.last - seq, this.ring.last, reason);
  }

  /** For one reader only. Its seq is that of the last line lost, as if the reader had read them all. */
  #lostLine(boot: string, lost: number, seq: number, reason: string): LogLine {
    this.counters.lostByFollowers += lost;
    return encodeLine({ boot, seq, atMs: this.#now(), level: CATALOGUE["events.lost"].level, event: "events.lost" }, { lost, reason });
  }

  /** Files first unless memory has it all; then what is in memory only. */
  async *#history(after: Cursor | undefined): AsyncGenerator<LogLine, void, undefined> {
    const { boot } = this.#options;
    const place = after === undefined ? undefined : await this.#placeOf(after);
    if (after !== undefined && place === undefined) {
      yield this.#lostLine(after.boot ?? boot, 0, after.seq, "the files no longer hold its boot; how many is not known");
    }
    let seq = place?.boot === boot ? place.seq : 0;
    if (place?.boot !== boot || seq + 1 < this.ring.oldest) {
      for await (const line of this.#fromFiles(place)) {
        if (line.boot === boot) seq = line.seq;
        yield line;
      }
    }
    while (seq < this.ring.last) {
      const line = this.#next(seq, "neither the files nor the memory hold them");
      seq = line.seq;
      yield line;
    }
  }

  /**
   * The line after which a reader wants to go on; undefined when its boot is in no file. A seq alone, that this life has not
   * reached, is of the life before: its reader slept through our restart.
   */
  async #placeOf({ boot, seq }: Cursor): Promise<Required<Cursor> | undefined> {
    const own = this.#options.boot;
    if (boot === own || (boot === undefined && seq <= this.ring.last)) return { boot: own, seq: Math.min(seq, this.ring.last) };
    let found: Required<Cursor> | undefined;
    for await (const line of this.#lines()) {
      if (boot === undefined ? line.boot !== own && line.seq === seq : line.boot === boot) found = { boot: line.boot, seq };
    }
    return found ?? (boot === undefined ? { boot: own, seq: 0 } : undefined);
  }

  async *#fromFiles(place: Required<Cursor> | undefined): AsyncGenerator<LogLine, void, undefined> {
    let skipping = place !== undefined;
    let last: Pick<LogLine, "boot" | "seq"> | undefined = place;
    for await (const line of this.#lines()) {
      skipping &&= line.boot !== place?.boot;
      const gap = last?.boot === line.boot ? line.seq - last.seq - 1 : 0;
      if (skipping || gap < 0) continue;
      if (gap > 0) yield this.#lostLine(line.boot, gap, line.seq - 1, "the files do not hold them");
      last = line;
      yield line;
    }
  }

  async *#lines(): AsyncGenerator<LogLine, void, undefined> {
    let place: Place = this.#segments.first();
    for (let chunk = await this.#segments.readFrom(place); chunk !== undefined; chunk = await this.#segments.readFrom(place)) {
      place = chunk.next;
      for (const text of chunk.text.split("\n")) {
        const line = decodeLine(text);
        if (line !== undefined) yield line;
      }
    }
  }
}
