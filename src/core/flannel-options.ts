/**
 * The user's flannel options: which reach flanneld, which are ours to set, which flanneld does not know.
 *
 * In:  one line of text, as in DEFAULT_FLANNEL_OPTIONS.  Out: flags in flanneld's spelling, or why one is refused.
 * Rule: pure. One dash or two, `=` or a space, quotes kept together. flanneld 0.28.9 exits with code 0 over an unknown flag
 *       or a bad value, so both are refused here by name (flannel.md §3.1, §3.2).
 */
import { parseIpv4 } from "./ids.ts";

/** `name` without dashes. */
export interface FlannelFlag { readonly name: string; readonly value: string }
export interface RefusedFlag { readonly name: string; readonly reason: string }
export interface FlannelOptions { readonly flags: readonly FlannelFlag[]; readonly refused: readonly RefusedFlag[] }

type Kind = "text" | "number" | "ipv4" | "ipv6" | "regex" | "minutes";

/** What may be set by the user (flannel 0.28.9, main.go); none of it is a boolean, so each takes a value. */
const PASSED: Readonly<Record<string, Kind>> = {
  "iface": "text", "iface-regex": "regex", "iface-can-reach": "ipv4", "public-ip": "ipv4", "public-ipv6": "ipv6",
  "subnet-lease-renew-margin": "minutes", "iptables-resync": "number",
  "v": "number", "vmodule": "text", "log_backtrace_at": "text",
};

const CONNECTION = "the connection to etcd is set once for the whole plugin, by the ETCD_* settings";
const KUBERNETES = "it belongs to flannel's Kubernetes mode, which is not used here";

/** What the operator sets itself, and why the user's value could not work. */
const OWNED: Readonly<Record<string, string>> = {
  "subnet-file": "each network has its own subnet file, the operator names it",
  "iptables-forward-rules": "several flannelds would fight over these rules, the operator's own rules allow forwarding",
  "ip-masq": "containers reach the outside through docker_gwbridge", "ip-masq-fully-random-disable": "masquerading is not flanneld's here",
  "healthz-ip": "the operator asks each flanneld for its health on an address of its own", "healthz-port": "each flanneld has its own port, the operator chooses it",
  "ip-blackhole-route": "the operator keeps the unreachable rest of the node's subnet itself",
  "net-config-path": KUBERNETES, "set-node-network-unavailable": KUBERNETES,
  "version": "flanneld would print its version and exit", "help": "flanneld would print its help and exit", "h": "flanneld would print its help and exit",
};

function ownedBecause(name: string): string | undefined {
  if (name.startsWith("etcd-")) return CONNECTION;
  if (name.startsWith("kube")) return KUBERNETES;
  return Object.hasOwn(OWNED, name) ? OWNED[name] : undefined;
}

/** Every word of the text ends up in `flags` or in `refused`. */
export function parseFlannelOptions(text: string): FlannelOptions {
  const flags: FlannelFlag[] = [];
  const refused: RefusedFlag[] = [];
  const queue = words(text);
  while (queue.length > 0) {
    const word = queue.shift() ?? "";
    const match = /^--?([^-=][^=]*)(?:=([^]*))?$/.exec(word);
    if (match === null) refused.push({ name: word, reason: "it is no flag and follows none that takes a value" });
    else take(match[1] ?? "", match[2], queue, flags, refused);
  }
  return { flags, refused };
}

function take(name: string, given: string | undefined, queue: string[], flags: FlannelFlag[], refused: RefusedFlag[]): void {
  const kind = Object.hasOwn(PASSED, name) ? PASSED[name] : undefined;
  const owned = ownedBecause(name);
  if (kind === undefined) {
    refused.push({ name, reason: owned ?? "flanneld has no such flag" });
    // The value of a refused flag is part of the refusal, not a stray word. Go's boolean flags take none after a space.
    if (given === undefined && owned !== undefined && !isOwnedBoolean(name) && queue[0]?.startsWith("-") === false) queue.shift();
    return;
  }
  const value = given ?? queue.shift();
  const wrong = value === undefined ? "its value is missing" : fault(kind, value);
  if (wrong === undefined) flags.push({ name, value: value ?? "" });
  else refused.push({ name, reason: wrong });
}

const isOwnedBoolean = (name: string): boolean => [
  "iptables-forward-rules", "ip-masq", "ip-masq-fully-random-disable", "ip-blackhole-route", "kube-subnet-mgr", "set-node-network-unavailable",
  "version", "help", "h",
].includes(name);

/** Why flanneld would not take the value; undefined when it would. */
function fault(kind: Kind, value: string): string | undefined {
  const quoted = JSON.stringify(value);
  if (value === "") return "its value is empty";
  switch (kind) {
    case "text": return undefined;
    case "number": return /^\d{1,9}$/.test(value) ? undefined : `${quoted} is not a whole number`;
    case "minutes": return /^\d{1,4}$/.test(value) && Number(value) >= 1 && Number(value) <= 1439 ? undefined : `${quoted} is not a number of minutes from 1 to 1439`;
    case "ipv4": return parseIpv4(value) === undefined ? `${quoted} is not an IPv4 address` : undefined;
    case "ipv6": return /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(value) ? undefined : `${quoted} is not an IPv6 address`;
    case "regex": return compiles(value) ? undefined : `${quoted} is not a regular expression`;
  }
}

/** Go's RE2 and JavaScript agree on what interface patterns use. */
export function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch { return false; }
}

/** Shell-like: spaces separate, single and double quotes keep together and vanish. */
function words(text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/(?:[^\s"']+|"[^"]*"?|'[^']*'?)+/g)) found.push(match[0].replace(/"([^"]*)"?|'([^']*)'?/g, "$1$2"));
  return found;
}

/** As flanneld's command line takes them. */
export const flannelArguments = (flags: readonly FlannelFlag[]): string[] => flags.map(({ name, value }) => `--${name}=${value}`);

export const valuesOf = (flags: readonly FlannelFlag[], name: string): string[] =>
  flags.filter((flag) => flag.name === name).map(({ value }) => value);
