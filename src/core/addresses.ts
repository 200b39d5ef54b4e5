/**
 * Which address comes next, and when a used one may come again.
 *
 * In:  what is granted, what rests, the time.  Out: an address or undefined.
 * Rule: pure. Addresses go round the range, so the one just given back is the last to be given again (user-needs.md N4).
 */
import { baseOf, fromNumber, sizeOf, toNumber, type Cidr, type Ipv4 } from "./ids.ts";

/** An address given back rests this long: clients' DNS, ARP and conntrack must have forgotten it (design D4). */
export const REST_MS = 30_000;
/** Swarm's allocator may ask again for an address it was granted this long ago (design D2). */
export const GRANT_GRACE_MS = 300_000;
/** A container start may take this long between its address and Docker's listing of it. */
export const START_GRACE_MS = 120_000;

/** One address in use or resting. `owner` is a MAC, an endpoint id, "gateway" or "swarm". */
export interface Grant {
  readonly address: Ipv4;
  readonly owner: string;
  readonly grantedAtMs: number;
  readonly releasedAtMs?: number;
}
export type Grants = ReadonlyMap<string, Grant>;

/** True while the address must not be given to anybody else. */
export function isTaken(grant: Grant | undefined, nowMs: number): boolean {
  if (grant === undefined) return false;
  return grant.releasedAtMs === undefined || nowMs - grant.releasedAtMs < REST_MS;
}

/**
 * The next free address after `last`, going round the range.
 * `first`/`spare`: how many addresses at the start and the end of the range are never given (network, gateway; broadcast).
 */
export function nextAddress(
  range: Cidr, { first, spare }: { readonly first: number; readonly spare: number }, last: Ipv4 | undefined, taken: (address: Ipv4) => boolean,
): Ipv4 | undefined {
  const base = toNumber(baseOf(range));
  const count = sizeOf(range) - first - spare;
  if (count <= 0) return undefined;
  const offset = last === undefined ? -1 : toNumber(last) - base - first;
  const start = offset >= -1 && offset < count ? offset + 1 : 0;
  for (let step = 0; step < count; step += 1) {
    const candidate = fromNumber(base + first + ((start + step) % count));
    if (!taken(candidate)) return candidate;
  }
  return undefined;
}

/** Grants of a service range that may be recycled: in no VIP of a complete listing, old enough, then rested. */
export function recycle(grants: Grants, vips: ReadonlySet<string>, nowMs: number): ReadonlyMap<string, Grant> {
  const next = new Map<string, Grant>();
  for (const [key, told] of grants) {
    const grant = notLater(told, nowMs);
    if (vips.has(grant.address) || grant.owner === "gateway") {
      next.set(key, withoutRelease(grant));
    } else if (grant.releasedAtMs === undefined) {
      next.set(key, nowMs - grant.grantedAtMs > GRANT_GRACE_MS ? { ...grant, releasedAtMs: nowMs } : grant);
    } else if (nowMs - grant.releasedAtMs < REST_MS) {
      next.set(key, grant);
    }
  }
  return next;
}

/** Grants of a node's subnet: without a container they rest (Docker forgot to release them, as after its crash), rested ones go. */
export function sweep(grants: Grants, used: ReadonlySet<string>, listed: boolean, nowMs: number): ReadonlyMap<string, Grant> {
  const next = new Map<string, Grant>();
  for (const [key, told] of grants) {
    const grant = notLater(told, nowMs);
    if (used.has(grant.address)) next.set(key, grant);
    else if (grant.releasedAtMs !== undefined) {
      if (nowMs - grant.releasedAtMs < REST_MS) next.set(key, grant);
    } else next.set(key, listed && nowMs - grant.grantedAtMs > START_GRACE_MS ? { ...grant, releasedAtMs: nowMs } : grant);
  }
  return next;
}

/** A clock that was set back, or another manager's that is ahead: its time begins now, or it would never end. */
function notLater(grant: Grant, nowMs: number): Grant {
  if (grant.grantedAtMs <= nowMs && (grant.releasedAtMs ?? 0) <= nowMs) return grant;
  return {
    ...grant, grantedAtMs: Math.min(grant.grantedAtMs, nowMs),
    ...(grant.releasedAtMs === undefined ? {} : { releasedAtMs: Math.min(grant.releasedAtMs, nowMs) }),
  };
}

/** When somebody last spoke of a grant. */
export const lastWord = ({ grantedAtMs, releasedAtMs = 0 }: Grant): number => Math.max(grantedAtMs, releasedAtMs);

function withoutRelease(grant: Grant): Grant {
  return { address: grant.address, owner: grant.owner, grantedAtMs: grant.grantedAtMs };
}
