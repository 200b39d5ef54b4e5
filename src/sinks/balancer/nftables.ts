/**
 * The balancer as maps of our nft table: new connections draw a server's number, open ones live on in conntrack.
 *
 * In:  `BalancerChange`s.  Out: `BalancerState`, read back from the kernel.
 * Rule: a change touches the elements it is about, in one transaction. A server that goes is first taken out of its slot, then
 * its flows are let go, then it is forgotten; whoever is killed in between finds it in the set of draining ones.
 */
import type { Ipv4 } from "../../core/ids.ts";
import type { Sink } from "../../core/reconciler.ts";
import type { Conntrack } from "../conntrack.ts";
import type { Row } from "../nft-table/parts.ts";
import type { VipTable } from "../vip-table.ts";
import { Drains } from "./drains.ts";
import { forget, type Flow } from "./flows.ts";
import { NO_SERVICES, parseServices, renderServices, type NftService, type NftTable } from "./nft-services.ts";
import { serverKey, serviceKey, type BalancerChange, type BalancerState, type Scheduler, type SeenEntry } from "./vocabulary.ts";

interface Draft { vip: Ipv4; scheduler: Scheduler; ready: Ipv4[]; draining: Ipv4[] }

export interface NftOptions {
  readonly table: VipTable;
  readonly conntrack: Conntrack;
  readonly now: () => number;
  /** How many services count by themselves; each costs a chain in every listing. */
  readonly ownChains?: number;
}

export function nftBalancer({ table, conntrack, now, ownChains = 1_000 }: NftOptions): Sink<BalancerState, BalancerChange> {
  const drains = new Drains(now);
  /** Draining servers whose datagrams this process has let go of. */
  const released = new Set<string>();
  let read: { readonly objects: readonly Row[]; readonly found: NftTable; readonly state: Map<string, SeenEntry> } | undefined;
  /** A listing that is kept is read once. */
  const look = async (signal: AbortSignal): Promise<{ readonly found: NftTable; readonly state: ReadonlyMap<string, SeenEntry> }> => {
    const objects = await table.list(signal);
    if (objects === undefined) return { found: NO_SERVICES, state: new Map() };
    if (read?.objects === objects) return read;
    const found = parseServices(objects);
    const fresh = { objects, found, state: stateOf(found) };
    read = fresh;
    return fresh;
  };
  return {
    observe: async (signal) => {
      const { found, state } = await look(signal);
      return withDraining(state, found, drains, released);
    },
    apply: async (changes, signal) => {
      if (changes.length === 0) return;
      await table.made(signal);
      const { found: before } = await look(signal);
      const { between, after, flows } = outcome(before.services, changes);
      const first = renderServices(before, between, ownChains);
      if (first.text !== "") await table.write(first.text, signal);
      await forget(conntrack, flows, signal);
      for (const { vip, address } of flows) released.add(serverKey(vip, address));
      const rest = renderServices(first.table, after, ownChains);
      if (rest.text !== "") await table.write(rest.text, signal);
    },
  };
}

/** All but what drains. */
function stateOf({ services }: NftTable): Map<string, SeenEntry> {
  const entries = new Map<string, SeenEntry>();
  for (const { vip, scheduler, ready, fault } of services.values()) {
    entries.set(serviceKey(vip), { kind: "service", vip, scheduler, affinitySeconds: 0, ...(fault === undefined ? {} : { fault }) });
    for (const address of ready) entries.set(serverKey(vip, address), { kind: "server", vip, address, weight: 1, drainingMs: 0 });
  }
  return entries;
}

function withDraining(state: ReadonlyMap<string, SeenEntry>, { services }: NftTable, drains: Drains, released: Set<string>): BalancerState {
  const draining = new Map([...services.values()].flatMap(({ vip, draining: addresses }) => addresses.map((address) => [serverKey(vip, address), { vip, address }] as const)));
  const since = drains.seen([...draining.keys()]);
  for (const key of released) if (!draining.has(key)) released.delete(key);
  if (draining.size === 0) return state;
  const entries = new Map(state);
  for (const [key, { vip, address }] of draining) {
    entries.set(key, { kind: "server", vip, address, weight: 0, drainingMs: since(key), ...(released.has(key) ? {} : { fault: "datagrams may still go there" }) });
  }
  return entries;
}

type Drafts = ReadonlyMap<Ipv4, Draft | undefined>;
/** What each touched service is to be: first with everything that goes still draining, then without it. */
function outcome(before: ReadonlyMap<Ipv4, NftService>, changes: readonly BalancerChange[]): { readonly between: Drafts; readonly after: Drafts; readonly flows: readonly Flow[] } {
  const between = new Map<Ipv4, Draft>();
  const gone = new Map<Ipv4, Set<Ipv4>>();
  const over = new Set<Ipv4>();
  const flows: Flow[] = [];
  const draft = (vip: Ipv4): Draft => {
    const was = before.get(vip);
    const found = between.get(vip) ?? { vip, scheduler: was?.scheduler ?? "rr", ready: [...was?.ready ?? []], draining: [...was?.draining ?? []] };
    between.set(vip, found);
    return found;
  };
  const out = (service: Draft, address: Ipv4, which: Flow["which"]): void => {
    service.ready = service.ready.filter((one) => one !== address);
    if (!service.draining.includes(address)) service.draining.push(address);
    flows.push({ vip: service.vip, address, which });
  };
  for (const { op, entry } of changes) {
    const service = draft(entry.vip);
    if (entry.kind === "service") {
      if (op === "delete") {
        over.add(entry.vip);
        for (const address of [...service.ready, ...service.draining]) out(service, address, "all");
      } else service.scheduler = entry.scheduler;
    } else if (op === "delete") {
      out(service, entry.address, "all");
      gone.set(entry.vip, (gone.get(entry.vip) ?? new Set()).add(entry.address));
    } else if (entry.weight === 0) out(service, entry.address, "datagrams");
    else {
      service.draining = service.draining.filter((one) => one !== entry.address);
      if (!service.ready.includes(entry.address)) service.ready.push(entry.address);
    }
  }
  for (const service of between.values()) service.ready.sort();
  const after = new Map([...between].map(([vip, service]): [Ipv4, Draft | undefined] =>
    [vip, over.has(vip) ? undefined : { ...service, draining: service.draining.filter((one) => gone.get(vip)?.has(one) !== true) }]));
  return { between, after, flows };
}

