/**
 * Traffic that flows while something dies, and what must be true when it is over.
 *
 * In:  a container to send from, an address, what happens meanwhile.  Out: packets sent and received, counted by ping itself.
 */
import { debug, must, pings, removeBox, runBox, until, type Box, type Node } from "./bed.ts";

/** The sender gives up waiting for an answer after this long. */
const ANSWER_S = 5;

export interface Flow { readonly sent: number; readonly received: number }

/** A ping every 20 ms over all of `during`, at least 100 of them. */
export async function flow(from: Box, address: string, during: () => Promise<unknown>): Promise<Flow> {
  const mark = `/tmp/flow-${address}`;
  const script = `ping -q -c 5 -i 0.02 ${address} >/dev/null; touch ${mark}.begun; while :; do ping -q -c 100 -i 0.02 -W ${ANSWER_S} ${address}; test -e ${mark}.enough && break; done`;
  const inside = (timeoutMs: number, ...argv: readonly string[]): ReturnType<Node["exec"]> => from.node.exec(["docker", "exec", from.name, ...argv], { timeoutMs });
  await inside(10_000, "rm", "-f", `${mark}.begun`, `${mark}.enough`);
  const running = inside(300_000, "sh", "-c", script);
  await until("pings to flow", async () => (await inside(10_000, "test", "-e", `${mark}.begun`)).exitCode === 0);
  try { await during(); } finally { await inside(10_000, "touch", `${mark}.enough`); }
  const rounds = [...(await running).stdout.matchAll(/(\d+) packets transmitted, (\d+) received/g)];
  return { sent: rounds.reduce((sum, [, sent]) => sum + Number(sent), 0), received: rounds.reduce((sum, [, , received]) => sum + Number(received), 0) };
}

/** ifindex, name and MAC of every link of ours: an equal list means that none was made anew. */
export const links = async (node: Node): Promise<string> =>
  must(node, ["sh", "-c", "ip -o link | grep -E '^[0-9]+: (fnp|flannel)' | sed -E 's/^([0-9]+: [^:@]+).*link\\/ether ([0-9a-f:]+).*/\\1 \\2/' | sort"]);

/** Every source has listed, every plan is empty. */
export async function untilConverged(node: Node, deadlineMs?: number): Promise<void> {
  await until(`nothing left to do on ${node.name}`, async () => {
    const ready = await debug(node, "GET", "/readyz");
    if (ready.status !== 200) throw new Error(JSON.stringify(ready.body));
    const { plans } = (await debug(node, "GET", "/plan")).body as { readonly plans: readonly { readonly changes: readonly unknown[] }[] };
    if (plans.some(({ changes }) => changes.length > 0)) throw new Error(JSON.stringify(plans));
    return true;
  }, deadlineMs);
}

/** Addresses that a node's ledger holds for containers: in use, not resting. */
export async function ledger(node: Node): Promise<readonly string[]> {
  const text = await must(node, ["jq", "-r", '.state.ledger | to_entries[] | select(.key | startswith("L:")) | .value[] | select(.releasedAtMs == null) | .address', "/var/lib/flannel-np/state.json"]);
  return text === "" ? [] : text.split("\n").sort();
}

/**
 * Docker's listing against the kernel, from outside: one link and one host route per running container on a network, no other,
 * one flanneld; no address twice. Answers what differs.
 */
export async function modelFaults(nodes: readonly Node[], network: string): Promise<readonly string[]> {
  const faults: string[] = [];
  const everywhere: string[] = [];
  for (const node of nodes) {
    const shown = await must(node, ["sh", "-c",
      `ids=$(docker ps -q --no-trunc --filter network=${network}); test -z "$ids" || docker inspect -f '{{with index .NetworkSettings.Networks "${network}"}}{{.IPAddress}}{{end}}' $ids`]);
    const addresses = shown.split("\n").filter((line) => line !== "").sort();
    const routes = (await must(node, ["sh", "-c", "ip route show proto 102 | awk '$2 == \"dev\" && $3 ~ /^fnp/ {print $1}'"])).split("\n").filter((line) => line !== "").sort();
    const veths = (await must(node, ["sh", "-c", "ls /sys/class/net | grep -cE '^fnp.{12}$' || true"])).trim();
    const flannelds = (await must(node, ["sh", "-c", "pgrep -c -x flanneld || true"])).trim();
    if (addresses.join() !== routes.join()) faults.push(`${node.name}: Docker shows ${addresses.join()}, the kernel routes ${routes.join()}`);
    if (Number(veths) !== addresses.length) faults.push(`${node.name}: ${veths} links for ${addresses.length} containers`);
    if (addresses.length > 0 && flannelds !== "1") faults.push(`${node.name}: ${flannelds} flannelds`);
    everywhere.push(...addresses);
  }
  return [...faults, ...everywhere.filter((address, at) => everywhere.indexOf(address) !== at).map((address) => `${address} twice`)];
}

export async function untilModelHolds(nodes: readonly Node[], network: string, deadlineMs?: number): Promise<void> {
  await until("Docker and the kernel to agree", async () => {
    const faults = await modelFaults(nodes, network);
    if (faults.length > 0) throw new Error(faults.join(" | "));
    return true;
  }, deadlineMs);
}

/** A container started now: its address, what the ledger held before it came, whether it reaches `peer`; gone again afterwards. */
export async function newcomer(nodes: readonly Node[], network: string, node: Node, peer: Box): Promise<{ readonly address: string; readonly held: readonly string[]; readonly reaches: boolean }> {
  const held = await ledger(node);
  const box = await runBox(node, network, `newcomer-${node.name}`);
  const reaches = await pings(box, peer.address);
  await untilModelHolds(nodes, network);
  await removeBox(box);
  await untilModelHolds(nodes, network);
  return { address: box.address, held, reaches };
}
