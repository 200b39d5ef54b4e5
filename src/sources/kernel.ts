/**
 * The kernel's own news, as "look again": links, addresses, routes, neighbours, forwarding entries, nft.
 *
 * In:  lines of `ip monitor`, `bridge monitor fdb`, `nft monitor`.  Out: the facility that changed; coalescing is the engine's.
 * Rule: a hint only, never a fact. A line that shows a link which is not ours is dropped; a line we cannot place counts.
 *       A child that dies is started again; on every start each of its facilities is hinted once, since what happened in
 *       between was not seen. Never errors, never completes. (IPVS and iptables-legacy have no such events: D23.)
 */
import { catchError, defer, EMPTY, from, map, merge, mergeMap, repeat, tap, timer, type Observable } from "rxjs";
import { GATEWAY_LINK, LINK_PREFIX, NFT_TABLE, VIP_TABLE } from "../core/names.ts";

export type Facility = "links" | "routes" | "neighbours" | "nft" | "vips";
/** What a link of ours is for: it carries the gateway addresses, a container hangs on it, or flannel tunnels through it. */
export type Purpose = "gateway" | "endpoint" | "tunnel";
/** `purpose` is absent where the line does not name a link of ours: then it may be about any. */
export interface KernelHint { readonly facility: Facility; readonly purpose?: Purpose }

/** Starts a child in the C locale and emits what it prints by line, warnings too; completes or errors when it ends; unsubscribing ends it. */
export type SpawnLines = (file: string, args: readonly string[]) => Observable<string>;

export interface KernelHintsOptions { readonly spawn: SpawnLines; readonly backoffMs?: readonly [first: number, max: number] }

interface Monitor {
  readonly file: string;
  readonly args: readonly string[];
  readonly facilities: readonly Facility[];
  read(line: string): readonly KernelHint[];
}

const MONITORS: readonly Monitor[] = [
  { file: "ip", args: ["-o", "monitor", "label", "link", "address", "route", "neigh"], facilities: ["links", "routes", "neighbours"], read: ipLine },
  { file: "bridge", args: ["monitor", "fdb"], facilities: ["neighbours"], read: (line) => hintOf("neighbours", line) },
  { file: "nft", args: ["monitor"], facilities: ["nft", "vips"], read: nftLine },
];

/** A child that lived this long was well: its end starts the backoff anew. */
const WELL_MS = 10_000;

export function kernelHints({ spawn, backoffMs = [200, 10_000] }: KernelHintsOptions): Observable<KernelHint> {
  return merge(...MONITORS.map((monitor) => watch(monitor, spawn, backoffMs)));
}

function watch({ file, args, facilities, read }: Monitor, spawn: SpawnLines, [first, max]: readonly [number, number]): Observable<KernelHint> {
  let failures = 0;
  let startedAt = 0;
  const life$ = defer(() => {
    startedAt = performance.now();
    const lines$ = spawn(file, args).pipe(mergeMap(read));
    return merge(from(facilities).pipe(map((facility): KernelHint => ({ facility }))), lines$);
  });
  return life$.pipe(
    catchError(() => EMPTY),
    tap({ complete: () => { failures = performance.now() - startedAt > WELL_MS ? 0 : failures + 1; } }),
    repeat({ delay: () => timer(Math.min(first * 2 ** Math.min(failures, 10), max)) }),
  );
}

/** Our links, the containers' ends on their way into a sandbox, and flannel's devices. */
const OURS = new RegExp(`^(${LINK_PREFIX}|fnq|flannel\\.)`);
/** `12: name`, `12: name@peer:` (link, address) or `dev name` (route, neighbour, forwarding entry). */
const NAMED = /(?:^|\s)(?:\d+: ([^\s:@]+)|dev ([^\s:@]+))/;

function hintOf(facility: Facility, line: string): readonly KernelHint[] {
  const match = NAMED.exec(line);
  const name = match?.[1] ?? match?.[2];
  if (name === undefined) return line.trim() === "" ? [] : [{ facility }];
  if (!OURS.test(name)) return [];
  const purpose = purposeOf(name);
  // Containers are resolved all the time; only flannel's rows are of our making.
  return facility === "neighbours" && purpose !== "tunnel" ? [] : [{ facility, purpose }];
}

function purposeOf(name: string): Purpose {
  if (name === GATEWAY_LINK) return "gateway";
  return name.startsWith("flannel.") ? "tunnel" : "endpoint";
}

const LABELS: Readonly<Record<string, Facility>> = { LINK: "links", ADDR: "links", ROUTE: "routes", NEIGH: "neighbours" };

/** With `label` each line begins with what it is about (iproute2 ip/ipmonitor.c): `[LINK]12: fnp…`. */
function ipLine(line: string): readonly KernelHint[] {
  const [, label = "", rest = ""] = /^\[([A-Z]+)\](.*)$/.exec(line) ?? [];
  const facility = LABELS[label];
  // IPv6 comes and goes with each link by itself and is none of ours.
  if (facility === undefined || rest.includes("::")) return [];
  // The service range is a local route by way of lo.
  return facility === "routes" && / dev lo /.test(rest) ? [{ facility, purpose: "gateway" }] : hintOf(facility, rest);
}

/** `add rule ip fnp …`, `delete table ip fnp`, iptables-nft's `create chain ip filter …` (nftables 1.0). */
const NFT_OURS = new RegExp(`^(add|create|insert|replace|delete|destroy|flush|reset) \\w+ ip (${NFT_TABLE}|${VIP_TABLE}|filter)( |$)`);

/**
 * nft monitor 1.0.6 forgets a set with the first rule that is deleted and looked into it, and of the set's elements it only
 * says this from then on, not whose they are.
 */
const NFT_FORGOT = /^W: Received event for an unknown set/;

/** Our two tables, and the filter table that holds our one iptables chain where iptables is nft's. */
function nftLine(line: string): readonly KernelHint[] {
  if (NFT_FORGOT.test(line)) return [{ facility: "nft" }, { facility: "vips" }];
  const table = NFT_OURS.exec(line)?.[2];
  return table === undefined ? [] : [{ facility: table === VIP_TABLE ? "vips" : "nft" }];
}
