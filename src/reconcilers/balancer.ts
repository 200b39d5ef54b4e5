/**
 * Keeps one virtual service per VIP in step with the containers behind it, in the words of no engine.
 *
 * In:  snapshot: services, containers, tasks, carried networks.  Out: BalancerChange[] for sinks/balancer.ts.
 * Rule: servers that take traffic come before servers that stop, so a rolling update never leaves a service empty. A server
 * that drains is only kept, never made: it goes when it is idle or its time is over. What is not known to be gone stays, but
 * of its own containers this node knows all as soon as Docker has listed them, with or without etcd.
 */
import { contains, type Cidr, type Ipv4 } from "../core/ids.ts";
import type { Service, Snapshot } from "../core/model.ts";
import { diff, type Plan } from "../core/plan.ts";
import { values } from "../core/precedence.ts";
import type { Desired, Reconciler } from "../core/reconciler.ts";
import { carriedNetworks, carriedSettled, type CarriedNetwork } from "../core/select.ts";
import { balancerLabels, type BalancerEngine } from "../core/service-labels.ts";
import { backendsOf, servingOf, type Serving } from "../core/serving.ts";
import type { BalancerChange, BalancerEntry, BalancerState, SeenEntry, SeenServer, SeenService, Server, VirtualService } from "../sinks/balancer.ts";

export interface BalancerWish {
  readonly entries: ReadonlyMap<string, BalancerEntry>;
  /** By VIP, where a service's label says otherwise than the setting. */
  readonly drainMs: ReadonlyMap<string, number>;
  /** Subnets whose containers are all known. */
  readonly certain: readonly Cidr[];
}
/** `off`: nothing is balanced, and what an earlier start left goes, whatever the sources know. */
export interface BalancerOptions { readonly engine: BalancerEngine; readonly off?: boolean; readonly drainMs: number }
const NOTHING: Desired<BalancerWish> = { value: { entries: new Map(), drainMs: new Map(), certain: [] }, settled: true, blocked: [] };

export const balancerWith = (options: BalancerOptions): Reconciler<BalancerWish, BalancerState, BalancerChange> => ({
  name: "balancer",
  desire: (snapshot) => (options.off === true ? NOTHING : desire(snapshot, options)),
  plan: (desired, observed) => plan(desired, observed, options),
});

function desire(snapshot: Snapshot, { engine }: BalancerOptions): Desired<BalancerWish> {
  const carried = carriedNetworks(snapshot);
  const byId = new Map(carried.map((network) => [network.network, network]));
  const serving = servingOf(snapshot);
  const wish = { entries: new Map<string, BalancerEntry>(), drainMs: new Map<string, number>() };
  const blocked: string[] = [];
  for (const service of values(snapshot.services)) if (service.mode === "vip") wanted(service, byId, serving, engine, wish, blocked);
  const settled = snapshot.services.settled && snapshot.containers.settled && carriedSettled(snapshot, carried);
  const certain = snapshot.endpoints.settled ? carried.map(({ lease }) => lease.subnet).sort() : [];
  return { value: { ...wish, certain }, settled, blocked: blocked.sort() };
}

function wanted(
  service: Service, carried: ReadonlyMap<string, CarriedNetwork>, serving: Serving, engine: BalancerEngine,
  wish: { readonly entries: Map<string, BalancerEntry>; readonly drainMs: Map<string, number> }, blocked: string[],
): void {
  const here = service.vips.filter(({ network }) => carried.has(network));
  if (here.length === 0) return;
  const { scheduler, affinitySeconds, drainMs, problems } = balancerLabels(service.labels, engine);
  blocked.push(...problems.map((problem) => `service ${service.name}: ${problem}`));
  for (const { network, address: vip } of here) {
    const range = carried.get(network)?.pool.serviceRange;
    if (range === undefined || !contains(range, vip)) {
      blocked.push(`service ${service.name}: its VIP ${vip} lies outside of the service range ${range ?? ""}; remove the service and create it again`);
      continue;
    }
    wish.entries.set(vip, { kind: "service", vip, scheduler, affinitySeconds });
    if (drainMs !== undefined) wish.drainMs.set(vip, drainMs);
    for (const { address, state } of backendsOf(serving, service.id, network)) {
      wish.entries.set(`${vip}>${address}`, { kind: "server", vip, address, weight: state === "ready" ? 1 : 0 });
    }
  }
}

function plan({ value: { entries, drainMs, certain }, settled }: Desired<BalancerWish>, observed: BalancerState, options: BalancerOptions): Plan<BalancerChange> {
  const isOver = (want: Server, seen: SeenServer): boolean =>
    seen.weight === 0 && (seen.connections === 0 || seen.drainingMs >= (drainMs.get(want.vip) ?? options.drainMs));
  const { create, update, remove } = diff(entries, observed, (want, seen) => difference(want, seen, entries) === undefined && !(isDraining(want) && seen.kind === "server" && isOver(want, seen)));
  const going = new Set(remove.filter(([, { kind }]) => kind === "service").map(([, { vip }]) => vip));
  const changes = [
    ...create.filter(([, want]) => !isDraining(want)).map(([key, want]) => change("create", key, want, "missing")),
    ...update.map(([key, want, seen]) => (isDraining(want) && seen.kind === "server" && isOver(want, seen)
      ? change("delete", key, want, seen.connections === 0 ? "it has no connection left" : "its drain time is over")
      : change("update", key, want, difference(want, seen, entries) ?? ""))),
    // A service takes its servers along.
    ...remove.filter(([, seen]) => seen.kind === "service" || !going.has(seen.vip)).map(([key, seen]) => change("delete", key, bare(seen), "not desired")),
  ].sort((a, b) => rank(a) - rank(b) || (a.key < b.key ? -1 : 1));
  const isSure = ({ op, entry }: BalancerChange): boolean =>
    op !== "delete" || settled || entries.has(keyOf(entry)) || (entry.kind === "server" && certain.some((subnet) => contains(subnet, entry.address)));
  return { changes: changes.filter(isSure), held: changes.filter((each) => !isSure(each)) };
}

const change = (op: BalancerChange["op"], key: string, entry: BalancerEntry, why: string): BalancerChange => ({ op, key, entry, why });
const keyOf = (entry: BalancerEntry): string => (entry.kind === "service" ? entry.vip : `${entry.vip}>${entry.address}`);
const isDraining = (entry: BalancerEntry): entry is Server => entry.kind === "server" && entry.weight === 0;

function bare(seen: SeenEntry): BalancerEntry {
  if (seen.kind === "server") return { kind: "server", vip: seen.vip, address: seen.address, weight: seen.weight };
  return { kind: "service", vip: seen.vip, scheduler: seen.scheduler ?? "rr", affinitySeconds: seen.affinitySeconds };
}

/** Why an entry must be written again. */
function difference(want: BalancerEntry, seen: SeenEntry, entries: BalancerWish["entries"]): string | undefined {
  if (seen.fault !== undefined) return seen.fault;
  if (want.kind === "server") return seen.kind === "server" && seen.weight === want.weight ? undefined : `weight ${1 - want.weight} → ${want.weight}`;
  if (seen.kind !== "service") return "it is a server";
  return serviceDifference(want, seen, entries);
}

/** Without a server nothing tells the scheduler; with the first one it must be known. */
function serviceDifference(want: VirtualService, seen: SeenService, entries: BalancerWish["entries"]): string | undefined {
  if (seen.scheduler === undefined ? want.scheduler !== "rr" && hasReady(want.vip, entries) : seen.scheduler !== want.scheduler) {
    return `scheduler ${seen.scheduler ?? "unknown"} → ${want.scheduler}`;
  }
  return seen.affinitySeconds === want.affinitySeconds ? undefined : `affinity ${seen.affinitySeconds} s → ${want.affinitySeconds} s`;
}

function hasReady(vip: Ipv4, entries: BalancerWish["entries"]): boolean {
  for (const entry of entries.values()) if (entry.kind === "server" && entry.vip === vip && entry.weight === 1) return true;
  return false;
}

/** Services, then servers that take traffic, then servers that stop, then removals. */
function rank({ op, entry }: BalancerChange): number {
  if (op === "delete") return entry.kind === "server" ? 3 : 4;
  if (entry.kind === "service") return 0;
  return entry.weight > 0 ? 1 : 2;
}
