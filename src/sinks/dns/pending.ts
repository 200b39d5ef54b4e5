/**
 * A query on its way to Docker's resolver: what is remembered of it, and which answers are its own.
 *
 * Rule: pure but for the choice of an id, which must not be guessed.
 */
import { randomInt } from "node:crypto";
import type { Home } from "./home.ts";
import { HEADER_BYTES, type Question } from "./wire.ts";

/** Sends one answer to whoever asked. */
export type Reply = (answer: Buffer, length: number) => void;

export interface Asked { readonly home: Home; readonly udp: boolean; readonly reply: Reply }

export interface Pending {
  readonly asked: Asked;
  readonly query: Buffer;
  readonly question: { readonly key: string; readonly type: number; readonly end: number };
  readonly cacheKey: string | undefined;
  readonly sinceMs: number;
  readonly id: number;
  answered: boolean;
}

/** An id that no other query of this sandbox has on its way. */
export function freeId({ pending }: { readonly pending: ReadonlyMap<number, Pending> }): number {
  for (;;) {
    const id = randomInt(65_536);
    if (!pending.has(id)) return id;
  }
}

/** What an answer may be kept under; undefined for queries that say more than an ordinary resolver's. */
export function keyOf(query: Buffer, { key, type, class: klass, ednsBytes, dnssecOk, unusual }: Question, udp: boolean): string | undefined {
  const asksRecursion = query[2] === 0x01 && ((query[3] ?? 0) & 0xcf) === 0;
  return unusual || !asksRecursion ? undefined : `${type} ${klass} ${query[3]} ${udp ? ednsBytes : "tcp"} ${dnssecOk} ${key}`;
}

/** The answer's question is ours, byte for byte. */
export function sameQuestion({ query, question }: Pending, message: Buffer, length: number): boolean {
  return length >= question.end ? message.compare(query, HEADER_BYTES, question.end, HEADER_BYTES, question.end) === 0
    : message.readUInt16BE(4) === 0;
}

export function labelsOf(key: string): number {
  let labels = 0;
  for (let at = 0; at < key.length; at += 1 + key.charCodeAt(at)) labels += 1;
  return labels;
}
