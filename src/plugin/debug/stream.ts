/**
 * Lines of the event log to one reader over HTTP.
 *
 * Rule: a line is taken from the log only when the reader has room for it, so a slow one costs no memory; the log tells it
 *       what it lost meanwhile, and that is never filtered away.
 */
import type { ServerResponse } from "node:http";
import type { Level } from "../../core/events.ts";
import type { Cursor, EventsQuery } from "./query.ts";

export interface LoggedLine { readonly level: Level; readonly text: string }
/** The part of the event log that readers use. */
export interface EventReader {
  replay(after?: Cursor): AsyncIterable<LoggedLine>;
  follow(after: Cursor | undefined, signal: AbortSignal): AsyncIterable<LoggedLine>;
}

const LOST = '"event":"events.lost"';

/** Resolves when all is sent, or the reader is gone, or the signal fires. */
export async function streamEvents(log: EventReader, query: EventsQuery, response: ServerResponse, signal: AbortSignal): Promise<void> {
  // A connection kept for the next call would hold back the end of the server.
  response.writeHead(200, { "Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "Connection": "close" });
  response.flushHeaders();
  for await (const { level, text } of query.follow ? log.follow(query.after, signal) : log.replay(query.after)) {
    if (signal.aborted) break;
    if (!query.levels.includes(level) && !text.includes(LOST)) continue;
    if (!response.write(`${text}\n`)) await drained(response, signal);
  }
  response.end();
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    response.on("drain", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
