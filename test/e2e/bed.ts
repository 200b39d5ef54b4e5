/**
 * The lab that all end-to-end suites share, and words for what they do again and again.
 *
 * In:  FNP_E2E_LAB (lab id, default "e2e"), made by setup.ts before the first suite; FNP_E2E_KIND=vm: its nodes are virtual machines,
 *      with FNP_E2E_KERNEL ("6.1" or "6.12"; without it node1 has the one and node2 the other). FNP_E2E_BALANCER: the plugin's BALANCER there.
 * Rule: assertions come from outside (packets, Docker's API, kernel tables, etcd); waits poll with a generous deadline.
 * Every suite removes what it made; 99-leftovers.test.ts compares the nodes with what they were before the first.
 */
import type { Lab } from "../../lab/lab.ts";
import { findLab } from "../../lab/lab.ts";

export const LAB_ID = process.env["FNP_E2E_LAB"] ?? "e2e";
export const DRIVER = "flannel-np:latest";
/** Where the nodes stand: namespaces of this kernel, or virtual machines with their own. */
export const KIND: "netns" | "vm" = process.env["FNP_E2E_KIND"] === "vm" ? "vm" : "netns";
/** What the nodes are told to balance with: IPVS where the kernel is sure to have it; undefined: what the plugin takes by itself. */
export const BALANCER = process.env["FNP_E2E_BALANCER"] ?? (KIND === "vm" ? "ipvs" : undefined);
/** Goals times twenty (design §5); the machine is shared and noisy, an emulated one slower by far. */
export const DEADLINE_MS = KIND === "vm" ? 240_000 : 60_000;
const POLL_MS = 100;

export async function openedLab(): Promise<Lab> {
  const lab = await findLab(LAB_ID);
  if (lab === undefined) throw new Error(`Cannot find lab ${LAB_ID}: setup.ts makes it`);
  return lab;
}
export type Node = Lab["nodes"][number];

/** Polls until the condition answers something other than undefined or false; fails with what was last seen. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>, deadlineMs = DEADLINE_MS): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    let seen: T | undefined | false;
    let problem = "";
    try { seen = await look(); } catch (error) { problem = `: ${error instanceof Error ? error.message : String(error)}`; }
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > end) throw new Error(`Cannot wait longer for ${what} (${deadlineMs} ms)${problem}`);
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
}

/** Runs and answers stdout; throws with stderr when the exit code is not 0. */
export async function must(node: Pick<Node, "exec" | "name">, argv: readonly string[], timeoutMs = DEADLINE_MS): Promise<string> {
  const { exitCode, stdout, stderr } = await node.exec(argv, { timeoutMs });
  if (exitCode !== 0) throw new Error(`${node.name}: ${argv.join(" ")} ended with ${exitCode}: ${stderr.trim() || stdout.trim()}`);
  return stdout.trim();
}

/** `docker network create` on the manager; answers the network's id. */
export const makeNetwork = (manager: Node, name: string, ...options: readonly string[]): Promise<string> =>
  must(manager, ["docker", "network", "create", "-d", DRIVER, "--ipam-driver", DRIVER, "--attachable", ...options, name]);

/** Removes a network as soon as Docker lets go of it. */
export async function removeNetwork(manager: Node, name: string): Promise<void> {
  await until(`network ${name} to go`, async () => {
    const { exitCode, stderr } = await manager.exec(["docker", "network", "rm", name]);
    return exitCode === 0 || /not found|No such network/.test(stderr);
  });
}

export interface Box { readonly node: Node; readonly name: string; readonly address: string }

/** A container of lab/box (serves HTTP 80, TCP lines 9001, UDP 9000) on a network; answers its real address there. */
export async function runBox(node: Node, network: string, name: string, ...options: readonly string[]): Promise<Box> {
  // A worker learns of a new network, and the scheduler of a new plugin, with a delay that is Docker's.
  await until(`container ${name} on ${node.name}`, async () => {
    const { exitCode, stderr } = await node.exec(["docker", "run", "-d", "--name", name, "--network", network, ...options, "lab/box"], { timeoutMs: DEADLINE_MS });
    if (exitCode === 0) return true;
    await node.exec(["docker", "rm", "-f", name]);
    if (/not found|context deadline exceeded|not yet|is not available/i.test(stderr)) return false;
    throw new Error(stderr.trim());
  }, 2 * DEADLINE_MS);
  return { node, name, address: await addressOf(node, name, network) };
}

export const addressOf = (node: Node, container: string, network: string): Promise<string> =>
  must(node, ["docker", "inspect", "-f", `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, container]);

export const removeBox = async ({ node, name }: Pick<Box, "node" | "name">): Promise<void> => { await node.exec(["docker", "rm", "-f", "-t", "0", name]).catch(() => undefined); await node.exec(["docker", "rm", "-f", name]); };

/** True when `count` pings from inside a container are all answered. */
export async function pings(from: Box, address: string, count = 2, ...options: readonly string[]): Promise<boolean> {
  const { exitCode, stdout } = await from.node.exec(["docker", "exec", from.name, "ping", "-q", "-c", String(count), "-i", "0.2", "-W", "2", ...options, address], { timeoutMs: DEADLINE_MS });
  return exitCode === 0 && / 0% packet loss/.test(stdout);
}

/** All keys below our prefix in the lab's etcd, values included. */
export async function etcdKeys(lab: Pick<Lab, "etcd">): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await lab.etcd.ctl(["get", "--prefix", "/flannel/", "-w", "json"]);
  const { kvs = [] } = JSON.parse(stdout) as { kvs?: readonly { key: string; value?: string }[] };
  return new Map(kvs.map(({ key, value = "" }) => [Buffer.from(key, "base64").toString(), Buffer.from(value, "base64").toString()]));
}

/** Asks the debug endpoint of a node; answers status and parsed body. */
export async function debug(node: Node, method: "GET" | "POST", path: string): Promise<{ readonly status: number; readonly body: unknown }> {
  const { stdout } = await node.exec(["curl", "-s", "-X", method, "-w", "\n%{http_code}", "--unix-socket", "/run/flannel-np/debug.sock", `http://debug${path}`], { timeoutMs: DEADLINE_MS });
  const cut = stdout.trimEnd().lastIndexOf("\n");
  return { status: Number(stdout.slice(cut).trim()), body: JSON.parse(stdout.slice(0, cut)) as unknown };
}

/**
 * Links, addresses, routes, rules, both iptables flavours, nft, ipset and the kernel's network settings, as text; what carries
 * our prefix is left out. Volatile by nature, hence left out or evened: counters, fe80:: addresses and ff00:: routes (a link
 * gets them at its first carrier), the random names of Docker's own veths and what is kept per such link. Engine 20.10 places
 * its jump to DOCKER-USER anew at each network (check, delete, insert, without a lock), so that two networks at once leave two of
 * them: seen on a node without our plugin, eight overlay networks joined at once. Of the jumps in one table the first counts.
 * The legacy flavour makes its tables when somebody only looks, and keeps them: empty ones do not count.
 */
export async function kernelDump(node: Node): Promise<string> {
  const script = [
    "ip -br link | awk '{print $1}' | sed 's/@.*//' | sort", "ip -o addr | awk '{print $2,$4}' | grep -v fe80: | sort",
    "ip route show table all | grep -vE 'fe80:|ff00:' | sed 's/ *$//' | sort", "ip rule; ip -6 rule",
    ...["", "6"].map((family) => `ip${family}tables-nft-save 2>/dev/null | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'`),
    ...["", "6"].map((family) => `ip${family}tables-legacy-save 2>/dev/null | grep -E '^(-A|:[^ ]+ (-|DROP))' | sed 's/\\[[0-9:]*\\]//'`),
    "nft -s list tables", "nft list tables | grep -v fnp | while read -r _ family table; do nft -s list table $family $table; done", "ipset save 2>/dev/null || true",
    "sysctl -a 2>/dev/null | grep ^net. | grep -vE 'nf_conntrack_count|[.](conf|neigh)[.](veth|fnp|flannel)' | sort",
  ].join("; echo ---; ");
  const text = await must(node, ["sh", "-c", script]);
  const lines = text.split("\n").filter((line) => !/fnp|FNP|flannel\.|proto 102/.test(line)).map((line) => line.replace(/\bveth[0-9a-f]{7}\b/g, "veth*"));
  return withoutDoubledJumps(lines).join("\n");
}

const USER_JUMP = /^(-A FORWARD -j|\t\tcounter jump) DOCKER-USER$/;

function withoutDoubledJumps(lines: readonly string[]): string[] {
  let seen = false;
  return lines.filter((line) => {
    if (/^(\*|table )/.test(line)) seen = false;
    const again = seen && USER_JUMP.test(line);
    seen ||= USER_JUMP.test(line);
    return !again;
  });
}
