/**
 * Lets go of connections that lead to a server which is out: the kernel would keep them alive on it, for UDP without end. And counts.
 *
 * In:  (VIP, server) pairs.  Out: one `conntrack` for all of them, one before it to see which there are when they are many; how many each pair has.
 * Rule: called after the server gets no new ones, else they come back.
 */
import type { Ipv4 } from "../../core/ids.ts";
import { expectSuccess, type Exec } from "../exec.ts";
import { serverKey } from "./vocabulary.ts";

/** datagrams: UDP alone; all: whatever there is. */
export interface Flow { readonly vip: Ipv4; readonly address: Ipv4; readonly which: "datagrams" | "all" }

const TIMEOUT_MS = 20_000;

/** Lines for `conntrack --load-file -` (conntrack-tools 1.4.7); a pair without entries is no error there. */
export const renderFlows = (flows: readonly Flow[]): string =>
  flows.map(({ vip, address, which }) => `-D ${which === "datagrams" ? "-p udp " : ""}--orig-dst ${vip} --reply-src ${address}\n`).join("");

/** Each line has the kernel list all its connections: from so many on it is cheaper to list them once here. */
const FEW = 4;
/** "udp 17 29 src=… dst=VIP sport=… dport=… [UNREPLIED] src=SERVER dst=…" */
const ENTRY = /^(?:ipv4 +\d+ +)?(\w+) .*? dst=(\S+) .*? src=(\S+) /;

/** Those of the pairs that the listing has; `all` and `datagrams` alike. */
export function present(listing: string, flows: readonly Flow[]): readonly Flow[] {
  const [any, udp] = [new Set<string>(), new Set<string>()];
  for (const line of listing.split("\n")) {
    const [, protocol, vip = "", server = ""] = ENTRY.exec(line) ?? [];
    any.add(`${vip}>${server}`);
    if (protocol === "udp") udp.add(`${vip}>${server}`);
  }
  return flows.filter(({ vip, address, which }) => (which === "all" ? any : udp).has(`${vip}>${address}`));
}

export async function forget(exec: Exec, flows: readonly Flow[], signal: AbortSignal): Promise<void> {
  const there = flows.length <= FEW ? flows
    : present(expectSuccess(await exec({ file: "conntrack", args: ["-L"], timeoutMs: TIMEOUT_MS }, signal), "list connections").stdout, flows);
  if (there.length === 0) return;
  const output = await exec({ file: "conntrack", args: ["--load-file", "-"], stdin: renderFlows(there), opensStdin: true, timeoutMs: TIMEOUT_MS }, signal);
  expectSuccess(output, "let go of connections to servers that are out");
}

/** Open connections by "VIP>server", of whatever was led on to another address. */
export async function countFlows(exec: Exec, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const output = await exec({ file: "conntrack", args: ["-L", "--dst-nat"], timeoutMs: TIMEOUT_MS }, signal);
  const counts = new Map<string, number>();
  for (const line of expectSuccess(output, "count connections to VIPs").stdout.split("\n")) {
    const [, , vip, server] = ENTRY.exec(line) ?? [];
    if (vip === undefined || server === undefined || / (TIME_WAIT|CLOSE) /.test(line)) continue;
    const key = serverKey(vip as Ipv4, server as Ipv4);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
