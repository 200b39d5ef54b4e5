/**
 * Lines of the event log: how one is written, and what a reader must know of one without parsing it.
 *
 * Rule: pure; boot, seq, time and level come first in a line, so that skipping a line costs no JSON.
 */
import { EVENT_SCHEMA, type EventFields, type EventName, type Level } from "../../core/events.ts";

export interface LogLine {
  readonly boot: string;
  readonly seq: number;
  readonly level: Level;
  /** The JSON object, without the line's end. */
  readonly text: string;
}

/** Where a reader stands: after this line. Without a boot: of the life that runs now, or if that has no such seq yet, of the last that had. */
export interface Cursor { readonly boot?: string; readonly seq: number }

const HEAD = /^\{"schema":\d+,"boot":"([^"]+)","seq":(\d+),"at":"[^"]*","level":"(error|warn|info|debug)",/;

export interface Head<N extends EventName> { readonly boot: string; readonly seq: number; readonly atMs: number; readonly level: Level; readonly event: N }

export function encodeLine<N extends EventName>({ boot, seq, atMs, level, event }: Head<N>, fields: EventFields[N]): LogLine {
  const text = JSON.stringify({ schema: EVENT_SCHEMA, boot, seq, at: new Date(atMs).toISOString(), level, event, ...fields });
  return { boot, seq, level, text };
}

/** Undefined for what is no whole line of ours: a power cut may leave one. */
export function decodeLine(text: string): LogLine | undefined {
  const [, boot, seq, level] = HEAD.exec(text) ?? [];
  if (boot === undefined || !text.endsWith("}")) return undefined;
  return { boot, seq: Number(seq), level: level as Level, text };
}

const RANK: Readonly<Record<Level, number>> = { error: 0, warn: 1, info: 2, debug: 3 };

/** True when a log (or a reader) of level `wanted` includes `level`. */
export const includes = (wanted: Level, level: Level): boolean => RANK[level] <= RANK[wanted];
