/**
 * This host's own addresses and routes: where VXLAN leaves, and which ranges are somebody else's.
 *
 * In:  `ip -json`, the user's flags, swarm's address.  Out: the underlay (last known good), foreign ranges.
 * Rule: what carries our mark (protocol 102, our links, flannel's) is not foreign: after a restart our own routes do not count.
 */
import { catchError, distinctUntilChanged, EMPTY, from, map, type Observable, switchMap, timer, combineLatest } from "rxjs";
import { isDeepStrictEqual } from "node:util";
import { asOperatorError, type OperatorError } from "../core/errors.ts";
import type { FlannelFlag } from "../core/flannel-options.ts";
import { parseCidr, prefixLength, type Cidr, type Ipv4 } from "../core/ids.ts";
import type { Underlay } from "../core/model.ts";
import { LINK_PREFIX } from "../core/names.ts";
import { chooseUnderlay, type LinkAddresses, type Route } from "./underlay.ts";

/** Runs `ip -json …` and answers its stdout. */
export type AskIp = (args: readonly string[]) => Promise<string>;

const LOOK_MS = 30_000;
const ROUTE_PROTOCOL = "102";

/** The underlay now and whenever it changes; an OperatorError where none can be chosen. Never errors itself. */
export function underlays$(ask: AskIp, flags: readonly FlannelFlag[], swarmAddress$: Observable<Ipv4 | undefined>): Observable<Underlay | OperatorError> {
  return combineLatest([timer(0, LOOK_MS), swarmAddress$.pipe(distinctUntilChanged())]).pipe(
    switchMap(([, address]) => from(look(ask)).pipe(
      map((host) => chooseUnderlay(flags, host, address)),
      catchError((error: unknown) => [asOperatorError(error)]),
    )),
    distinctUntilChanged((a, b) => isDeepStrictEqual(a, b)),
    catchError(() => EMPTY),
  );
}

async function look(ask: AskIp): Promise<{ readonly links: readonly LinkAddresses[]; readonly routes: readonly Route[] }> {
  const [links, routes] = await Promise.all([ask(["-json", "address", "show"]), ask(["-json", "route", "show"])]);
  return { links: JSON.parse(links) as LinkAddresses[], routes: JSON.parse(routes) as Route[] };
}

/** Ranges that this host routes to somebody else. */
export async function foreignRoutes(ask: AskIp): Promise<readonly Cidr[]> {
  const routes = JSON.parse(await ask(["-json", "route", "show", "table", "main"])) as (Route & { readonly protocol?: string })[];
  return routes.flatMap(({ dst, dev = "", protocol }) => {
    if (dst === "default" || protocol === ROUTE_PROTOCOL || dev.startsWith(LINK_PREFIX) || dev.startsWith("flannel.")) return [];
    const block = parseCidr(dst.includes("/") ? dst : `${dst}/32`);
    return block === undefined || prefixLength(block) === 0 ? [] : [block];
  });
}
