/**
 * Names as one container sees them: asked, listed, forgotten, watched, counted.
 *
 * In:  GET /dns/query?as=&name=[&type=], /dns/table?as=, /dns/log?as=, /dns/stats; POST /dns/flush[?as=].
 * Out: JSON; lines of it for the log, which begins with its reader and ends with him or the container.
 * Rule: a log line is never waited for: what a slow reader has no room for is left out, and he is told how much.
 */
import type { ServerResponse } from "node:http";
import { OperatorError } from "../../core/errors.ts";
import type { FlushAnswer, NameAnswer, NameLine, NameStats, NameTable } from "../../core/names-answer.ts";
import type { Family } from "../metrics.ts";

export interface LogReader {
  line(line: NameLine): void;
  ended(): void;
}

/** `as`: name, id or its beginning, of a container of this node; rejects with `not-found` and those that are known. */
export interface NamesDebug {
  query(as: string, name: string, type: string, signal: AbortSignal): Promise<NameAnswer>;
  table(as: string): NameTable;
  flush(as: string | undefined): Promise<FlushAnswer>;
  /** Until the returned function is called. */
  log(as: string, reader: LogReader): Promise<() => void>;
  stats(): NameStats;
}

function given(query: URLSearchParams, parameter: string, example: string): string {
  const value = query.get(parameter) ?? "";
  if (value === "") throw new OperatorError("invalid", `Cannot read the query: ${parameter} is missing`, { cure: `Give ${parameter}=${example}` });
  return value;
}

const asked = (query: URLSearchParams): string => given(query, "as", "<name or id of a container on this node>");

export const lookUp = (names: NamesDebug, query: URLSearchParams, signal: AbortSignal): Promise<NameAnswer> =>
  names.query(asked(query), given(query, "name", "<what to ask for>"), query.get("type") ?? "", signal);

export const nameTable = (names: NamesDebug, query: URLSearchParams): NameTable => names.table(asked(query));

export const flush = (names: NamesDebug, query: URLSearchParams): Promise<FlushAnswer> => names.flush(query.has("as") ? asked(query) : undefined);

/** Resolves when the reader is gone, or the container. */
export async function log(names: NamesDebug, query: URLSearchParams, response: ServerResponse, signal: AbortSignal): Promise<void> {
  let left = 0;
  let over = (): void => undefined;
  const end = new Promise<void>((resolve) => { over = resolve; });
  const stop = await names.log(asked(query), {
    line: (line) => {
      if (response.writableNeedDrain) left += 1;
      else {
        response.write(`${JSON.stringify({ ...line, lost: line.lost + left })}\n`);
        left = 0;
      }
    },
    ended: () => { over(); },
  });
  signal.addEventListener("abort", over, { once: true });
  if (signal.aborted) over();
  response.writeHead(200, { "Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "Connection": "close" });
  response.flushHeaders();
  await end;
  stop();
  response.end();
}

/** Metric, its label, and which counter stands for which value of it. */
const COUNTED: readonly (readonly [name: string, help: string, label: string, values: Readonly<Record<string, string>>])[] = [
  ["dns_queries_total", "Questions of containers.", "transport", { udp: "udp", tcp: "tcp" }],
  ["dns_answers_total", "Answers given here.", "outcome", { answered: "answered", nodata: "nodata", nxdomain: "nxdomain", formerr: "formerr", notimp: "notimp", badvers: "badvers" }],
  ["dns_truncated_total", "Answers cut short, to be asked for by TCP.", "transport", { udp: "truncated" }],
  ["dns_unanswered_total", "Messages without an answer.", "reason", { "no-query": "drop", "no-table": "untabled", "not-sent": "sendFailed", "failure": "failed" }],
  ["dns_elsewhere_total", "Questions for Docker's resolver, by what came of them.", "outcome",
    { asked: "forward", answered: "forwardAnswered", cached: "cached", stale: "stale", failed: "forwardFailed", late: "forwardLate", denied: "former", limited: "limited" }],
  ["dns_connections_total", "TCP connections of containers.", "outcome", { accepted: "connections", refused: "connectionsRefused", cut: "connectionsCut" }],
];

export function nameFamilies({ sandboxes, networks, names, counters }: NameStats): readonly Family[] {
  const gauge = (name: string, help: string, value: number): Family => ({ name, help, type: "gauge", samples: [{ labels: {}, value }] });
  return [
    ...COUNTED.map(([name, help, label, values]): Family => ({
      name, help, type: "counter", samples: Object.entries(values).map(([value, counter]) => ({ labels: { [label]: value }, value: counters[counter] ?? 0 })),
    })),
    gauge("dns_sandboxes", "Containers that are served.", sandboxes),
    gauge("dns_networks", "Networks whose names are known.", networks),
    gauge("dns_names", "Names of all networks.", names),
  ];
}
