/**
 * Who reaches whom, seen by packets: many targets in one exec, so that a whole matrix costs seconds.
 *
 * In:  a place to ask from and addresses.  Out: sorted words, "icmp ADDRESS" and "tcp ADDRESS" (HTTP on port 80), of what answered.
 * Rule: an unreachable target proves nothing unless a reachable one stands in the same answer: callers compare whole lists.
 */
import type { Output, RunOptions } from "../../lab/run.ts";
import { DEADLINE_MS, must, type Box, type Node } from "./bed.ts";

/** A node, a bare host or a container. */
export interface Place {
  readonly name: string;
  readonly exec: (argv: readonly string[], options?: RunOptions) => Promise<Output>;
}

export const inside = ({ node, name }: Pick<Box, "node" | "name">): Place =>
  ({ name, exec: (argv, options) => node.exec(["docker", "exec", name, ...argv], options) });

/** Three chances each, as packets of a busy machine get lost; every target is tried at once. */
const PROBE = [
  'for t in $TARGETS; do',
  '  (ping -q -c 3 -i 0.2 -W 2 $PING "$t" >/dev/null 2>&1 && echo "icmp $t") &',
  '  (curl -s -o /dev/null -m 3 $CURL "http://$t/" && echo "tcp $t") &',
  'done; wait',
].join("\n");

/** `link`: leave by this one, whatever the routes say. */
export async function reached(from: Place, targets: readonly string[], link?: string): Promise<string[]> {
  const ways = link === undefined ? "PING= CURL=" : `PING="-I ${link}" CURL="--interface ${link}"`;
  const { stdout } = await from.exec(["sh", "-c", `TARGETS="${targets.join(" ")}"; ${ways}\n${PROBE}`], { timeoutMs: DEADLINE_MS });
  return stdout.split("\n").filter((line) => line !== "").sort();
}

/** What `reached` answers when all of these answer, and nothing else. */
export const both = (...targets: readonly string[]): string[] =>
  targets.flatMap((target) => [`icmp ${target}`, `tcp ${target}`]).sort();

/** Lines of a script run in a container. */
export const script = async (box: Pick<Box, "node" | "name">, text: string): Promise<string[]> =>
  (await must(box.node, ["docker", "exec", box.name, "sh", "-c", text])).split("\n").filter((line) => line !== "");

/** The network's range and its gateway here, out of the route that a container got for it. */
export async function rangeOf(box: Pick<Box, "node" | "name">): Promise<{ readonly range: string; readonly gateway: string }> {
  const [route = ""] = await script(box, "ip route | grep 'via .* dev eth0' | grep -v default");
  const [, range, gateway] = /^(\S+) via (\S+) dev eth0/.exec(route) ?? [];
  if (range === undefined || gateway === undefined) throw new Error(`Cannot read the range of ${box.name}: its route is "${route}"`);
  return { range, gateway };
}

/** Echo requests that this container's kernel has received. */
export const echoesSeen = async (box: Box): Promise<number> =>
  Number((await script(box, `awk '/^Icmp:/ { if (c) print $c; else for (i = 1; i <= NF; i++) if ($i == "InEchos") c = i }' /proc/net/snmp`)).join(""));

/** Values of settings below /proc/sys, in the words of sysctl: for putting them back. */
export const settingsOf = async (node: Node, names: readonly string[]): Promise<string[]> =>
  (await must(node, ["sysctl", ...names])).split("\n").map((line) => line.replace(" = ", "="));
