/**
 * Is there a machine behind a node's underlay address?
 *
 * In:  an address.  Out: answered, silent, or unasked.
 * Rule: needs no open port. A connection accepted or refused was answered by that address's own kernel, whoever listens; only
 * silence, or a neighbour that nobody is, speaks against it. What fails on this side (no route, no right) says nothing of the other.
 * Port 7946 is swarm's own between all nodes, so no firewall of a working swarm swallows it.
 */
import { connect } from "node:net";
import type { Ipv4 } from "../core/ids.ts";

export type ProbeResult = "answered" | "silent" | "unasked";

const SWARM_PORT = 7946;
const PATIENCE_MS = 2_000;
const ANSWERS: ReadonlySet<string> = new Set(["ECONNREFUSED", "ECONNRESET"]);
/** EHOSTUNREACH: nobody answered ARP, or a router says that nobody is there. */
const SILENCE: ReadonlySet<string> = new Set(["EHOSTUNREACH", "ETIMEDOUT", "EHOSTDOWN"]);

export function probe(address: Ipv4, port = SWARM_PORT, patienceMs = PATIENCE_MS): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (result: ProbeResult): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(patienceMs, () => { end("silent"); });
    socket.once("connect", () => { end("answered"); });
    socket.on("error", ({ code = "" }: NodeJS.ErrnoException) => { end(ANSWERS.has(code) ? "answered" : SILENCE.has(code) ? "silent" : "unasked"); });
  });
}
