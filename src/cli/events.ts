/**
 * `events`: the event log, from a point on, and on as it grows.
 *
 * In:  GET /events, one JSON object a line.  Out: one line each for people, or the lines as they are.
 * Rule: nothing is reordered, dropped or waited for; a line that is no event is shown as it came.
 */
import type { EventLine } from "../core/events.ts";
import { askLines } from "./ask.ts";
import { CliError, type ExitStatus } from "./failure.ts";
import { socketOf } from "./target.ts";
import { ANSWER_MS, type Terminal, type VerbOptions } from "./verb.ts";

export interface EventsOptions extends VerbOptions { readonly after?: string; readonly follow?: boolean; readonly level?: string }

export async function events(options: EventsOptions, terminal: Terminal): Promise<ExitStatus> {
  const { after = "", follow = false, level = "" } = options;
  const socket = await socketOf(options, terminal.places);
  const lines = askLines({
    socket, method: "GET", path: "/events", query: { after, follow: follow ? "1" : "", level },
    ...(follow ? {} : { timeoutMs: ANSWER_MS }),
  });
  let last: string | undefined;
  for await (const line of lines) {
    const event = read(line);
    last = event === undefined ? last : String(event.seq);
    terminal.out(`${options.output === "json" || event === undefined ? line : renderEvent(event)}\n`);
  }
  if (!follow) return 0;
  throw new CliError("Cannot follow any longer: the operator ended the stream",
    `It may be restarting; go on with: flannel-np events --follow${last === undefined ? "" : ` (last seen: ${last}; a new boot counts from 1)`}`);
}

function read(line: string): EventLine | undefined {
  try {
    const value = JSON.parse(line) as Partial<EventLine>;
    return typeof value.event === "string" && typeof value.at === "string" ? value as EventLine : undefined;
  } catch {
    return undefined;
  }
}

/** `17 2026-01-02T03:04:05.678Z info  change.applied reconciler=links key="a b"`. */
export function renderEvent({ schema: _schema, boot: _boot, seq, at, level, event, ...fields }: EventLine): string {
  const said = Object.entries(fields).map(([name, value]) => `${name}=${plain(value)}`);
  return [String(seq), at, level.padEnd(5), event, ...said].join(" ");
}

const plain = (value: unknown): string => (typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value));
