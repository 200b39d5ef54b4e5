/**
 * What our networks leave on a node and in etcd, counted from outside: kernel tables, processes, files, keys.
 *
 * In:  a node, or the lab.  Out: one line per thing found, sorted by kind; nothing when no network of ours exists.
 * Rule: nothing here is asked of the plugin; an empty answer means that the commands ran and found nothing.
 */
import type { Lab } from "../../lab/lab.ts";
import { etcdKeys, must, until, type Node } from "./bed.ts";

/** A lab, or the nodes of it that run the plugin. */
type Place = Pick<Lab, "etcd" | "nodes">;

/** Each line begins with its kind. The state file counts too: a ledger of a network that is gone is a leak. */
const NODE_TRACES = [
  "set -e", "test -s /var/lib/flannel-np/state.json", "ip -V >/dev/null; nft --version >/dev/null; jq --version >/dev/null",
  "ip -br link | awk '/^(fnp|fnq|flannel)/ { sub(/@.*/, \"\", $1); print \"link\", $1 }'",
  "ip route show table all proto 102 | sed 's/ *$//; s/^/route /'",
  "ip rule | grep -iE 'fnp|fwmark' | sed 's/^/rule /' || true",
  "nft list tables | grep -w 'fnp[a-z-]*' | sed 's/^/nft /' || true",
  "for flavour in nft legacy; do iptables-$flavour-save 2>/dev/null | grep -i fnp | sed \"s/^/iptables-$flavour /\" || true; done",
  "ipset list -n 2>/dev/null | grep -i fnp | sed 's/^/ipset /' || true",
  "pgrep -a flanneld | sed 's/^[0-9]* /process /; s/ --healthz-port=[0-9]*//' || true",
  "ls /var/lib/flannel-np/subnets | sed 's/^/file /'",
  "jq -r '.state | (.ledger | keys[] | \"ledger \" + .), (.records | keys[] | select(test(\"/(pools|networks)/\")) | \"kept \" + .)' /var/lib/flannel-np/state.json",
].join("\n");

export async function nodeTraces(node: Node): Promise<readonly string[]> {
  const text = await must(node, ["sh", "-c", NODE_TRACES]);
  return text === "" ? [] : text.split("\n").sort();
}

/** Keys of ours that only exist because of a network, a service or a container; nodes and the schema stay. */
export async function etcdTraces(lab: Pick<Lab, "etcd">): Promise<readonly string[]> {
  const keys = [...(await etcdKeys(lab)).keys()];
  if (keys.length === 0) throw new Error("Cannot count etcd's keys: not even the schema's is there");
  return keys.filter((key) => !/^\/flannel\/(schema|(docker\/)?nodes\/[^/]+)$/.test(key));
}

/** Everything on all nodes and in etcd, each line with its place in front. */
export async function allTraces(lab: Place): Promise<readonly string[]> {
  const lists = await Promise.all([
    etcdTraces(lab).then((keys) => keys.map((key) => `etcd ${key}`)),
    ...lab.nodes.map(async (node) => (await nodeTraces(node)).map((line) => `${node.name} ${line}`)),
  ]);
  return lists.flat();
}

/** Waits until nothing of any network is left; fails with the list of what is. */
export async function untilNothingIsLeft(lab: Place, deadlineMs?: number): Promise<void> {
  let left: readonly string[] = [];
  await until("the last trace of our networks to go", async () => {
    left = await allTraces(lab);
    if (left.length > 0) throw new Error(`${left.length} left, as ${left.slice(0, 12).join(" | ")}`);
    return true;
  }, deadlineMs);
}

/** How many lines there are of a kind ("link flannel.", "process "). */
export const count = (lines: readonly string[], kind: string): number => lines.filter((line) => line.startsWith(kind)).length;

/** Names that occur more than once. */
export const doubled = (lines: readonly string[]): readonly string[] => lines.filter((line, index) => lines.indexOf(line) !== index);
