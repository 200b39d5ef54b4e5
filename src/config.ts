/**
 * Environment → Config. The only reader of the environment.
 *
 * In:  the variables of SETTINGS.  Out: a Config that is always usable, and a list of problems.
 * Rule: never exit over a setting (design D13): a bad value keeps its default, and what needs it is refused with the problem.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseFlannelOptions, type FlannelFlag } from "./core/flannel-options.ts";
import { parseDuration } from "./core/duration.ts";
import type { Level } from "./core/events.ts";
import { overlaps, parseCidr, prefixLength, type Cidr } from "./core/ids.ts";
import { DNS_TTL_MAX } from "./core/network-options.ts";
import { divisionProblem, HOST_SUBNET_MAX } from "./core/subnets.ts";
import { SETTINGS } from "./settings.ts";

export interface EtcdConfig {
  readonly endpoints: readonly string[];
  readonly user?: string;
  readonly password?: string;
  /** PEM texts. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Config {
  readonly etcd: EtcdConfig;
  readonly etcdPrefix: string;
  /** The user's flannel flags; only those that may be passed on. */
  readonly flannelFlags: readonly FlannelFlag[];
  /** Ranges networks come from; "any" = free parts of 10.0.0.0/8. */
  readonly available: readonly Cidr[] | "any";
  readonly networkLength: number;
  readonly hostLength: number;
  readonly vniStart: number;
  /** Addresses; 0 = default (core/subnets.ts). */
  readonly serviceAddresses: number;
  readonly hook: "true" | "false" | "auto";
  readonly dnsCompatible: boolean;
  readonly dnsTtlSeconds: number;
  readonly dnsTexts: boolean;
  readonly dnsCache: boolean;
  /** off: nobody answers for VIPs. */
  readonly balancer: "auto" | "nftables" | "ipvs" | "off";
  readonly drainMs: number;
  /** Whole values, both ends included. */
  readonly marks: { readonly first: number; readonly last: number };
  /** `127.0.0.1:port`, or empty for the unix socket alone. */
  readonly debugListen: string;
  readonly logLevel: Level;
  readonly eventLogBytes: number;
}

export interface Problem { readonly variable: string; readonly reason: string; readonly cure: string }
type Report = (variable: string, reason: string, example?: string) => void;
type Environment = Readonly<Record<string, string | undefined>>;

/** Where the host's directories are seen from inside the plugin; other host paths are not visible. */
const HOST_PATHS = [["/run/", "/host/run/"], ["/var/run/", "/host/run/"], ["/var/lib/", "/host/var/lib/"]] as const;
/** flannel's device name has room for seven digits (flannel.md §1). */
const VNI_MAX = 9_999_999;
/** Node subnets of a network as proposed to a user: 2 to the power of this. */
const USUAL_BITS = 5;
/** Nothing listens there: with a bad ETCD_ setting no etcd is asked, since a wrong one would say that all networks are gone. */
const NOWHERE: EtcdConfig = { endpoints: ["http://127.0.0.1:1"] };

export function parseConfig(env: Environment): { readonly config: Config; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const report: Report = (variable, reason, example) => {
    const good = example ?? SETTINGS.find(({ name }) => name === variable)?.example ?? "/run/flannel-np/secret";
    problems.push({ variable, reason, cure: `Set it like ${variable}=${good} (docker plugin disable, set, enable)` });
  };
  const { text, number, choice } = readers(env, report);
  const config: Config = {
    etcd: etcdConfig(text, env, report),
    etcdPrefix: etcdPrefix(text("ETCD_PREFIX"), report),
    flannelFlags: flannelFlags(text("DEFAULT_FLANNEL_OPTIONS"), report),
    available: availableSubnets(text("AVAILABLE_SUBNETS"), report),
    networkLength: number("NETWORK_SUBNET_SIZE", 8, 28),
    hostLength: number("DEFAULT_HOST_SUBNET_SIZE", 10, 30),
    vniStart: number("VNI_START", 1, VNI_MAX),
    serviceAddresses: number("SERVICE_RANGE_SIZE", 0, 2 ** 20),
    hook: choice("IS_HOOK_AVAILABLE", ["true", "false", "auto"]),
    dnsCompatible: choice("DNS_DOCKER_COMPATIBILITY_MODE", ["true", "false"]) === "true",
    dnsTtlSeconds: number("DNS_TTL", 0, DNS_TTL_MAX),
    dnsTexts: choice("DNS_TXT", ["true", "false"]) === "true",
    dnsCache: choice("DNS_CACHE", ["true", "false"]) === "true",
    balancer: choice("BALANCER", ["auto", "nftables", "ipvs", "off"]),
    drainMs: drainTime(text("DRAIN_TIME"), report),
    marks: markRange(text("MARK_RANGE"), report),
    debugListen: text("DEBUG_LISTEN"),
    logLevel: choice("LOG_LEVEL", ["error", "warn", "info", "debug"]),
    eventLogBytes: number("EVENT_LOG_MAX_MB", 1, 4096) * 2 ** 20,
  };
  checkTogether(config, report);
  const unusable = problems.some(({ variable }) => variable.startsWith("ETCD_"));
  return { config: unusable ? { ...config, etcd: NOWHERE } : config, problems };
}

interface Readers {
  text(name: string): string;
  number(name: string, least: number, most: number): number;
  choice<T extends string>(name: string, allowed: readonly T[]): T;
}

/** A value that is missing is the default; one that is bad is reported and becomes the default. */
function readers(env: Environment, report: Report): Readers {
  const fallback = (name: string): string => SETTINGS.find((setting) => setting.name === name)?.default ?? "";
  const text = (name: string): string => {
    const given = env[name]?.trim();
    return given === undefined || given === "" ? fallback(name) : given;
  };
  return {
    text,
    number: (name, least, most) => {
      const value = Number(text(name));
      if (/^\d+$/.test(text(name)) && value >= least && value <= most) return value;
      report(name, `"${text(name)}" is no whole number from ${least} to ${most}`);
      return Number(fallback(name));
    },
    choice: <T extends string>(name: string, allowed: readonly T[]): T => {
      const value = text(name).toLowerCase();
      const found = allowed.find((option) => option === value);
      if (found === undefined) report(name, `"${text(name)}" is none of ${allowed.join(", ")}`);
      return found ?? (allowed.find((option) => option === fallback(name)) as T);
    },
  };
}

function etcdConfig(text: (name: string) => string, env: Environment, report: Report): EtcdConfig {
  const endpoints = text("ETCD_ENDPOINTS").split(",").map((part) => part.trim()).filter((part) => part !== "")
    .map((part) => (/^https?:\/\//.test(part) ? part : `http://${part}`));
  checkEndpoints(endpoints, report);
  const secret = (name: string): string | undefined => secretOf(name, env, report);
  const parts = {
    user: secret("ETCD_USER"), password: secret("ETCD_PASSWORD"), ca: secret("ETCD_CA"), cert: secret("ETCD_CERT"), key: secret("ETCD_KEY"),
  };
  checkPem(parts, endpoints, report);
  if ((parts.cert === undefined) !== (parts.key === undefined)) report("ETCD_CERT", "a client certificate needs its key, and a key its certificate");
  if ((parts.user === undefined) !== (parts.password === undefined)) report("ETCD_USER", "a user needs a password, and a password a user");
  return { endpoints, ...Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) };
}

function checkEndpoints(endpoints: readonly string[], report: Report): void {
  if (endpoints.length === 0) report("ETCD_ENDPOINTS", "it names no server");
  // The text may hold a password, so it is not repeated.
  if (endpoints.some((endpoint) => endpoint.includes("@"))) return report("ETCD_ENDPOINTS", "an endpoint carries a user or password; ETCD_USER and ETCD_PASSWORD take them");
  for (const endpoint of endpoints) {
    const port = Number(/^https?:\/\/[^/:\s]+:(\d{1,5})$/.exec(endpoint)?.[1] ?? 0);
    if (port < 1 || port > 65_535) report("ETCD_ENDPOINTS", `"${endpoint}" is no host:port`);
  }
  const secure = endpoints.filter((endpoint) => endpoint.startsWith("https:")).length;
  if (secure > 0 && secure < endpoints.length) report("ETCD_ENDPOINTS", "http and https are mixed; every endpoint needs the same");
}

/** The text is a secret or looks like one: no message repeats it. */
function checkPem({ ca, cert, key }: Readonly<Record<"ca" | "cert" | "key", string | undefined>>, endpoints: readonly string[], report: Report): void {
  const parses = (text: string | undefined, parse: (pem: string) => unknown): boolean => {
    try { return text === undefined || parse(text) !== undefined; } catch { return false; }
  };
  const certificate = (pem: string): unknown => new X509Certificate(pem);
  if (!parses(ca, certificate)) report("ETCD_CA", "it is no certificate in PEM");
  if (!parses(cert, certificate)) report("ETCD_CERT", "it is no certificate in PEM");
  if (!parses(key, createPrivateKey)) report("ETCD_KEY", "it is no private key in PEM, or one that asks for a passphrase");
  if ((ca ?? cert ?? key) !== undefined && endpoints.some((endpoint) => !endpoint.startsWith("https:"))) {
    report("ETCD_ENDPOINTS", "a CA, certificate or key is set, but the endpoints are not https");
  }
}

/** The variable itself, or the content of the host file that `<name>_FILE` names. */
function secretOf(name: string, env: Environment, report: Report): string | undefined {
  const direct = env[name]?.trim();
  if (direct !== undefined && direct !== "") return direct.replaceAll("\\n", "\n");
  const path = env[`${name}_FILE`]?.trim();
  if (path === undefined || path === "") return undefined;
  const mapped = HOST_PATHS.find(([from]) => path.startsWith(from));
  if (mapped === undefined) {
    report(`${name}_FILE`, `"${path}" is not visible to the plugin; only files below /run and /var/lib of the host are`);
    return undefined;
  }
  try {
    return readFileSync(mapped[1] + path.slice(mapped[0].length), "utf8").trim();
  } catch (error) {
    report(`${name}_FILE`, `"${path}" cannot be read (${error instanceof Error ? error.message : String(error)})`);
    return undefined;
  }
}

function etcdPrefix(value: string, report: Report): string {
  if (/^\/?[A-Za-z0-9._/-]+$/.test(value) && value.replaceAll("/", "") !== "") return value;
  report("ETCD_PREFIX", `"${value}" is no path of letters, digits, ".", "_", "-"`);
  return "/flannel";
}

const DRAIN_MS = 600_000;

function drainTime(value: string, report: Report): number {
  const parsed = parseDuration(value);
  if (parsed === undefined) report("DRAIN_TIME", `"${value}" is no duration`);
  return parsed ?? DRAIN_MS;
}

const MARKS = { first: 0xf0_0000, last: 0xf0_ffff } as const;

function markRange(value: string, report: Report): Config["marks"] {
  const [, first, last] = /^(0x[0-9a-f]{1,8}|\d{1,10})-(0x[0-9a-f]{1,8}|\d{1,10})$/i.exec(value) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (range.first >= 1 && range.last <= 0xffff_ffff && range.last - range.first >= 1) return range;
  report("MARK_RANGE", `"${value}" is no range of at least two marks from 1 to 0xffffffff`);
  return MARKS;
}

function flannelFlags(value: string, report: Report): readonly FlannelFlag[] {
  const { flags, refused } = parseFlannelOptions(value);
  for (const { name, reason } of refused) report("DEFAULT_FLANNEL_OPTIONS", `${name}: ${reason}`);
  return flags;
}

function availableSubnets(value: string, report: Report): readonly Cidr[] | "any" {
  if (value === "") return "any";
  const ranges: Cidr[] = [];
  for (const part of value.split(",").map((item) => item.trim()).filter((item) => item !== "")) {
    const cidr = parseCidr(part);
    if (cidr === undefined) report("AVAILABLE_SUBNETS", `"${part}" is no IPv4 range`);
    else if (ranges.some((other) => overlaps(other, cidr))) report("AVAILABLE_SUBNETS", `"${part}" overlaps another range of the list`);
    else ranges.push(cidr);
  }
  return ranges;
}

function checkTogether(config: Config, report: Report): void {
  const problem = divisionProblem(config.networkLength, config.hostLength);
  if (problem !== undefined) report("DEFAULT_HOST_SUBNET_SIZE", `${problem}; NETWORK_SUBNET_SIZE is ${config.networkLength}`, String(Math.min(HOST_SUBNET_MAX, config.networkLength + USUAL_BITS)));
  if (config.available === "any") return;
  for (const range of config.available) {
    if (prefixLength(range) > config.networkLength) {
      report("AVAILABLE_SUBNETS", `"${range}" has no room for one network of /${config.networkLength} (NETWORK_SUBNET_SIZE)`);
    }
  }
}
