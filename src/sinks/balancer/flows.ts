/**
 * Connections that lead to a server which is out: the kernel would keep them alive on it, for UDP without end. And how many there are.
 *
 * In:  (VIP, server) pairs, the kernel's table.  Out: those connections ended; how many each pair has.
 * Rule: called after the server gets no new ones, else they come back.
 */
import type { Ipv4 } from "../../core/ids.ts";
import { CLOSE, TIME_WAIT, UDP, type Conntrack, type Seen } from "../conntrack.ts";
import { serverKey } from "./vocabulary.ts";

/** datagrams: UDP alone; all: whatever there is. */
export interface Flow { readonly vip: Ipv4; readonly address: Ipv4; readonly which: "datagrams" | "all" }

export async function forget(conntrack: Conntrack, flows: readonly Flow[], signal: AbortSignal): Promise<void> {
  if (flows.length === 0) return;
  const which = new Map(flows.map(({ vip, address, which: what }) => [serverKey(vip, address), what]));
  const isOut = ({ protocol, origDst, replySrc }: Seen): boolean => {
    const what = which.get(serverKey(origDst, replySrc));
    return what === "all" || (what === "datagrams" && protocol === UDP);
  };
  const there = await conntrack.find(isOut, signal);
  if (there.length > 0) await conntrack.end(there, signal);
}

/** Open connections by "VIP>server", of whatever was led on to another address. */
export async function countFlows(conntrack: Conntrack, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const isOpen = ({ origDst, replySrc, state }: Seen): boolean => origDst !== replySrc && state !== TIME_WAIT && state !== CLOSE;
  const counts = new Map<string, number>();
  for (const { origDst, replySrc } of await conntrack.find(isOpen, signal)) {
    const key = serverKey(origDst, replySrc);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
