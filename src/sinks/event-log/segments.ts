/**
 * The log on the disk: events.ndjson, which grows, and events.1.ndjson … (the older the higher), which do not.
 *
 * Rule: one writer, this process. Together they stay below the limit; a line is in one file whole or not at all.
 *       Errors go to the caller and leave the files as they were.
 */
import {
  closeSync, existsSync, fstatSync, ftruncateSync, mkdirSync, openSync, read as readFd, readSync, readdirSync, renameSync, rmSync, writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

/** Files of the log, the growing one included: with each rotation a fifth of the history goes. */
const SEGMENTS = 5;
const READ_BYTES = 64 * 1024;
const read = promisify(readFd);

/** Where a reader stands; `segment` never names another file, however often files are renamed. */
export interface Place { readonly segment: number; readonly offset: number }
export interface Chunk { readonly text: string; readonly next: Place }

export class Segments {
  readonly #dir: string;
  readonly #segmentBytes: number;
  /** Of the growing file; each rotation adds one. */
  #current = 0;
  #fd: number | undefined;

  constructor(dir: string, maxBytes: number) {
    this.#dir = dir;
    this.#segmentBytes = Math.floor(maxBytes / SEGMENTS);
  }

  #path(segment: number): string {
    return join(this.#dir, segment === this.#current ? "events.ndjson" : `events.${this.#current - segment}.ndjson`);
  }

  /** A whole line with its end. Throws what the file system says; then nothing of it is in the file. */
  append(line: string): void {
    const bytes = Buffer.from(line);
    let { fd, size } = this.#open();
    if (size > 0 && size + bytes.length > this.#segmentBytes) {
      this.#rotate();
      ({ fd, size } = this.#open());
    }
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    } catch (error) {
      // A disk that becomes full takes the first part of a write.
      try { ftruncateSync(fd, size); } finally { this.close(); }
      throw error;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Asks each time: somebody may have deleted the file, or cut it. */
  #open(): { readonly fd: number; readonly size: number } {
    if (this.#fd !== undefined) {
      const { nlink, size } = fstatSync(this.#fd);
      if (nlink > 0) return { fd: this.#fd, size };
      this.close();
    }
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    this.#fd = openSync(this.#path(this.#current), "a+", 0o600);
    const size = wholeBytes(this.#fd);
    if (fstatSync(this.#fd).size > size) ftruncateSync(this.#fd, size);
    return { fd: this.#fd, size };
  }

  #rotate(): void {
    this.close();
    for (const name of readdirSync(this.#dir)) {
      const age = Number(/^events\.(\d+)\.ndjson$/.exec(name)?.[1] ?? 0);
      if (age >= SEGMENTS - 1) rmSync(join(this.#dir, name), { force: true });
    }
    for (let age = SEGMENTS - 2; age >= 0; age--) {
      const path = this.#path(this.#current - age);
      if (existsSync(path)) renameSync(path, join(this.#dir, `events.${age + 1}.ndjson`));
    }
    this.#current++;
  }

  /** The start of the oldest file. */
  first(): Place {
    for (let age = SEGMENTS - 1; age > 0; age--) if (existsSync(this.#path(this.#current - age))) return { segment: this.#current - age, offset: 0 };
    return { segment: this.#current, offset: 0 };
  }

  /** Whole lines from a place on; undefined at the end of the log. A place that was rotated away continues at the oldest file. */
  async readFrom(place: Place): Promise<Chunk | undefined> {
    const oldest = this.#current - SEGMENTS + 1;
    let at = place.segment < oldest ? { segment: oldest, offset: 0 } : place;
    for (; at.segment <= this.#current; at = { segment: at.segment + 1, offset: 0 }) {
      const chunk = await readLines(this.#path(at.segment), at.offset);
      if (chunk !== undefined) return { text: chunk.text, next: { segment: at.segment, offset: at.offset + chunk.bytes } };
    }
    return undefined;
  }
}

/** Length up to the end of the last whole line: a power cut may leave a part of one. */
function wholeBytes(fd: number): number {
  const { size } = fstatSync(fd);
  const tail = Buffer.alloc(READ_BYTES);
  for (let end = size; end > 0; end -= READ_BYTES) {
    const start = Math.max(0, end - READ_BYTES);
    const got = readSync(fd, tail, 0, end - start, start);
    const newline = tail.subarray(0, got).lastIndexOf(10);
    if (newline >= 0) return start + newline + 1;
  }
  return 0;
}

/** Opens at once, before a rotation can rename. Undefined when there is no whole line (any more). */
async function readLines(path: string, offset: number): Promise<{ readonly text: string; readonly bytes: number } | undefined> {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    for (let length = READ_BYTES; ; length *= 4) {
      const { bytesRead, buffer } = await read(fd, Buffer.alloc(length), 0, length, offset);
      const newline = buffer.subarray(0, bytesRead).lastIndexOf(10);
      if (newline >= 0) return { text: buffer.subarray(0, newline + 1).toString("utf8"), bytes: newline + 1 };
      if (bytesRead < length) return undefined;
    }
  } finally {
    closeSync(fd);
  }
}
