/**
 * What changes for those who ask, in words: the event log shows it.
 *
 * In:  the table before and after.  Out: one sentence, the first names of it.
 * Rule: pure; bounded, however much changed.
 */
import { equal } from "../../core/equal.ts";
import type { DnsTable, DnsZone } from "../../sinks/dns/vocabulary.ts";

/** Names told one by one. */
const MOST = 8;

export function difference(before: DnsTable | undefined, after: DnsTable): string {
  if (before === undefined) return `${countOf(after)} names of ${after.zones.size} networks`;
  const said: string[] = [];
  let more = 0;
  for (const network of new Set([...before.zones.keys(), ...after.zones.keys()])) {
    for (const line of ofZone(before.zones.get(network), after.zones.get(network))) {
      if (said.length < MOST) said.push(line);
      else more += 1;
    }
  }
  if (said.length === 0) return "who sees which network";
  return said.join("; ") + (more === 0 ? "" : `; ${more} more`);
}

const countOf = ({ zones }: DnsTable): number => [...zones.values()].reduce((sum, { names }) => sum + names.size, 0);

function* ofZone(before: DnsZone | undefined, after: DnsZone | undefined): Generator<string> {
  const network = after?.name ?? before?.name ?? "";
  if (before !== undefined && after !== undefined && before.name !== after.name) yield `${before.name} is called ${after.name}`;
  for (const name of new Set([...before?.names.keys() ?? [], ...after?.names.keys() ?? []])) {
    const was = before?.names.get(name);
    const is = after?.names.get(name);
    if (equal(was?.addresses, is?.addresses)) continue;
    yield `${name}.${network}: ${spelled(was?.addresses)} → ${spelled(is?.addresses)}`;
  }
}

const spelled = (addresses: readonly string[] | undefined): string =>
  (addresses === undefined ? "unknown" : addresses.length === 0 ? "no address" : addresses.length > MOST ? `${addresses.length} addresses` : addresses.join(" "));
