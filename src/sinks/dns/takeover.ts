/**
 * Turns a sandbox's queries to us, and back (design D6): one nft table of ours inside it.
 *
 * In:  the namespace, our port.  Out: the table as nft prints it, which is how it is compared.
 * Rule: stateless, ahead of connection tracking and of Docker's own rules, whenever and by whatever program those are made. 127.0.0.33
 *       reaches Docker's resolver. While nobody listens, a query stays unanswered: resolvers retry, none is refused.
 */
import type { NetnsPath } from "../../core/ids.ts";
import { expectSuccess, type Exec } from "../exec.ts";

/** Family ip, inside a sandbox; never in the host's namespace. */
export const SANDBOX_TABLE = "fnp-dns";
const TIMEOUT_MS = 5_000;

/** One line per rule, spelled as nft 1.0.6 to 1.1.7 list it. */
const chainsOf = (port: number): readonly (readonly [name: string, priority: string, rules: readonly string[]])[] => [
  ["silence", "raw - 10", [
    "ip saddr 127.0.0.11 icmp type destination-unreachable drop",
    `ip saddr 127.0.0.11 tcp sport ${port} tcp flags & rst == rst drop`,
  ]],
  ["rewrite", "raw", ["udp", "tcp"].flatMap((protocol) => [
    `ip daddr 127.0.0.11 ip saddr != 127.0.0.33 ${protocol} dport 53 notrack ${protocol} dport set ${port}`,
    `ip saddr 127.0.0.11 ${protocol} sport ${port} notrack ${protocol} sport set 53`,
  ])],
];

export const sandboxTable = (port: number): string => `table ip ${SANDBOX_TABLE} {\n${chainsOf(port).map(([name, priority, rules]) =>
  `chain ${name} {\ntype filter hook output priority ${priority}; policy accept;\n${rules.join("\n")}\n}`).join("\n")}\n}\n`;

/** In place of whatever table of ours is there, in one step. */
export async function takeOver(exec: Exec, netns: NetnsPath, port: number, signal: AbortSignal): Promise<void> {
  const stdin = `table ip ${SANDBOX_TABLE}\ndelete table ip ${SANDBOX_TABLE}\n${sandboxTable(port)}`;
  expectSuccess(await exec({ file: "nft", args: ["-f", "-"], stdin, netns, timeoutMs: TIMEOUT_MS }, signal), "turn a sandbox's DNS queries to us");
}

/** Programs that had asked already would stay with Docker's resolver: their flow remembers its old way. */
export async function forgetFlows(exec: Exec, netns: NetnsPath, signal: AbortSignal): Promise<void> {
  // Its exit code only says whether there were any.
  await exec({ file: "conntrack", args: ["-D", "--orig-dst", "127.0.0.11"], netns, timeoutMs: TIMEOUT_MS }, signal);
}

/** True while the table is there and as it was made. */
export async function isTakenOver(exec: Exec, netns: NetnsPath, port: number, signal: AbortSignal): Promise<boolean> {
  const { exitCode, stdout } = await exec({ file: "nft", args: ["-s", "list", "table", "ip", SANDBOX_TABLE], netns, timeoutMs: TIMEOUT_MS }, signal);
  return exitCode === 0 && evened(stdout) === evened(sandboxTable(port));
}

const evened = (text: string): string => text.replaceAll(/\s+/g, " ").trim();

/** Docker's resolver answers again, with the next packet. */
export async function giveBack(exec: Exec, netns: NetnsPath, signal: AbortSignal): Promise<void> {
  const stdin = `table ip ${SANDBOX_TABLE}\ndelete table ip ${SANDBOX_TABLE}\n`;
  expectSuccess(await exec({ file: "nft", args: ["-f", "-"], stdin, netns, timeoutMs: TIMEOUT_MS }, signal), "give a sandbox's DNS queries back");
}
