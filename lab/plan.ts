/**
 * Keeps true: every name and address of a lab is computed from its id and the host's name, so a repeat finds what an earlier run made.
 * In: what the user typed. Out: checked ids, names, addresses.
 * Rule: pure; no file, process or clock.
 */
import { createHash } from "node:crypto";
import { LabError } from "./errors.ts";

/** One file system per engine: a Debian suite whose docker.io has this version. */
export interface Engine {
  /** What the user types: "20.10", "26" or "28". */
  readonly name: string;
  readonly suite: string;
  /** Packages on top of `PACKAGES`. */
  readonly extra: readonly string[];
}

export const ENGINES: readonly Engine[] = [
  { name: "20.10", suite: "bookworm", extra: [] },
  { name: "26", suite: "trixie", extra: ["docker-cli"] },
  { name: "28", suite: "sid", extra: ["docker-cli"] },
];

export const PACKAGES: readonly string[] = [
  "docker.io", "containerd", "runc", "iproute2", "iptables", "ipset", "ipvsadm", "nftables", "conntrack", "tcpdump", "bind9-dnsutils",
  "iputils-ping", "curl", "procps", "busybox-static", "iperf3", "netcat-openbsd", "kmod", "python3-minimal", "socat", "etcd-client",
  "ca-certificates", "dropbear-bin", "ethtool", "strace", "jq",
];

export const LAN = { prefix: "10.99.0.", bits: 24, router: "10.99.0.254", etcd: "10.99.0.250", firstNode: 11, firstHost: 151, lastHost: 249 } as const;
export const OUTSIDE = { host: "198.51.100.10", router: "198.51.100.254", bits: 24 } as const;
/** Hosts every lab has; no node may take their names. */
export const FIXED_HOSTS = ["switch", "outside", "etcd"] as const;
export const ETCD_URL = `http://${LAN.etcd}:2379`;

/** @returns the engine called `name`; throws a LabError that lists the known ones. */
export function engineNamed(name: string): Engine {
  const engine = ENGINES.find((candidate) => candidate.name === name);
  if (engine) return engine;
  throw new LabError(`Cannot make a node with engine "${name}": the lab has ${ENGINES.map((e) => e.name).join(", ")}`,
    "give one of these, or a comma list with one engine per node, e.g. --engine 28,20.10");
}

/** "28,20.10" and 3 nodes → 28, 20.10, 20.10: the last one repeats. */
export function enginesPerNode(list: string, nodes: number): readonly Engine[] {
  const named = list.split(",").map((name) => engineNamed(name.trim()));
  if (named.length > nodes) {
    throw new LabError(`Cannot give ${named.length} engines to ${nodes} nodes`, `ask for --nodes ${named.length} or name fewer engines`);
  }
  const last = named[named.length - 1] as Engine;
  return Array.from({ length: nodes }, (_, index) => named[index] ?? last);
}

/** Nodes of a lab: a whole number, 1 to 40. */
export function nodeCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 40) return count;
  throw new LabError(`Cannot make "${text}" nodes: a lab has 1 to 40`, "give a whole number, e.g. --nodes 2");
}

/** A lab id has no dash, so that the names of lab "a" are never a beginning of those of another lab. */
export function labId(text: string): string {
  if (/^[a-z][a-z0-9]{0,11}$/.test(text)) return text;
  throw new LabError(`Cannot use the lab id "${text}": it must be 1 to 12 small letters and digits, a letter first`, "e.g. --lab demo2");
}

/** A host's name becomes a link "v-NAME", and a link's name has at most 15 bytes (IFNAMSIZ − 1). */
export function hostName(text: string): string {
  if (/^[a-z][a-z0-9-]{0,12}$/.test(text) && !FIXED_HOSTS.some((fixed) => fixed === text)) return text;
  throw new LabError(`Cannot call a host "${text}": 1 to 13 small letters, digits and dashes, a letter first, none of ${FIXED_HOSTS.join(", ")}`,
    "e.g. node3");
}

/** Name below /run/netns; host is a node's name or one of FIXED_HOSTS. */
export function namespaceName(lab: string, host: string): string {
  return `fnp-${lab}-${host}`;
}

/** The switch's end of a host's cable; lives in the switch's namespace, so two labs do not collide. */
export function portName(host: string): string {
  return `v-${host}`;
}

/** The first free LAN address for a node (from .11) or a bare host (from .151). */
export function freeAddress(kind: "node" | "host", taken: readonly string[]): string {
  const [first, last] = kind === "node" ? [LAN.firstNode, LAN.firstHost - 1] : [LAN.firstHost, LAN.lastHost];
  for (let host = first; host <= last; host += 1) {
    if (!taken.includes(`${LAN.prefix}${host}`)) return `${LAN.prefix}${host}`;
  }
  throw new LabError(`Cannot add a ${kind}: all addresses ${LAN.prefix}${first} to .${last} are taken`, "take the lab down and make a smaller one");
}

/** A fixed, locally administered MAC per address: a node keeps its MAC through a power cut, as hardware does. */
export function macOf(address: string): string {
  return ["02", "4c", ...address.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"))].join(":");
}

/** Key of a cached artefact: the first 12 hex digits of SHA-256 over all parts, unambiguous in their borders. */
export function recipeHash(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
}

/** dpkg-query lines "package version" → version of one package. */
export function packageVersion(list: string, name: string): string | undefined {
  return list.split("\n").map((line) => line.split(" ")).find(([candidate]) => candidate === name)?.[1];
}

/** Does docker.io's version (e.g. "28.5.2+dfsg4-5") belong to the engine (e.g. "28")? */
export function isEngine(version: string, engine: string): boolean {
  return version.startsWith(`${engine}.`);
}
