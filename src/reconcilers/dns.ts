/**
 * Keeps the names of our networks right, and a DNS server in every sandbox that is on one of them.
 *
 * In:  snapshot: networks, services, tasks, containers, and joined endpoints (Docker's listing and Join).
 * Out: DnsChange[] for sinks/dns.ts: the table first, then sandboxes to leave, then sandboxes to serve.
 * Rule: no sandbox is served before all that could name something has been listed (a name not known yet would be asked
 *       elsewhere, and denied), or patience is over: containers start while etcd is down. A sandbox is left when its namespace is
 *       gone, or by a complete listing.
 */
import { equal } from "../core/equal.ts";
import type { NetworkId } from "../core/ids.ts";
import type { Container, Network, Snapshot } from "../core/model.ts";
import type { Plan } from "../core/plan.ts";
import { values } from "../core/precedence.ts";
import type { Desired, Reconciler } from "../core/reconciler.ts";
import { servingOf } from "../core/serving.ts";
import type { DnsChange, DnsState, SharedName } from "../sinks/dns.ts";
import type { DnsMode, DnsSandbox, DnsTable, DnsZone } from "../sinks/dns/vocabulary.ts";
import { difference } from "./dns/difference.ts";
import { zoneOf, type Holder, type ZoneSettings } from "./dns/zone.ts";

export interface DnsSettings extends ZoneSettings {
  readonly mode: DnsMode;
  /** Milliseconds since 1970: from then on what is known has to do. */
  readonly patientUntilMs: number;
}

/** `running`: the container may have asked Docker's resolver already. */
export interface WantedSandbox { readonly running: boolean }
export interface WantedNames {
  readonly table: DnsTable;
  readonly sandboxes: ReadonlyMap<string, WantedSandbox>;
  readonly mayServe: boolean;
  readonly shared: ReadonlyMap<string, SharedName>;
}

export const dnsWith = (settings: DnsSettings): Reconciler<WantedNames, DnsState, DnsChange> => ({
  name: "dns",
  desire(snapshot) {
    const places = placesOf(snapshot);
    const { zones, shared } = zonesOf(snapshot, settings);
    const sandboxes = new Map([...places].map(([sandbox, place]) => [sandbox, viewOf(snapshot, sandbox, place)]));
    const table = { mode: settings.mode, zones, sandboxes, ranges: values(snapshot.networks).map(({ cidr }) => cidr).sort() };
    const { networks, services, tasks, containers } = snapshot;
    const listed = [networks, services, tasks, containers].every(({ settled }) => settled);
    const mayServe = listed || snapshot.nowMs >= settings.patientUntilMs;
    return {
      value: { table, sandboxes: new Map([...places].map(([sandbox, { container }]) => [sandbox, { running: container !== undefined }])), mayServe, shared },
      settled: snapshot.endpoints.settled, blocked: [],
    };
  },
  plan,
});

function plan({ value: { table, sandboxes, mayServe, shared }, settled }: Desired<WantedNames>, observed: DnsState): Plan<DnsChange> {
  const { namespaces, served } = observed;
  const changes: DnsChange[] = [];
  if (!equal(table, observed.table)) {
    changes.push({ op: observed.table === undefined ? "create" : "update", key: "table", why: difference(observed.table, table), table });
  }
  for (const [key, name] of [...shared].sort(byKey)) {
    if (!observed.shared.has(key)) changes.push({ op: "create", key: `shared ${key}`, why: `claimed by ${name.services.join(", ")}`, shared: { key, name } });
  }
  for (const key of [...observed.shared].sort()) {
    if (!shared.has(key)) changes.push({ op: "update", key: `shared ${key}`, why: "one service has it now", shared: { key } });
  }
  const leave: DnsChange[] = [];
  for (const sandbox of [...served.keys()].sort()) {
    if (!namespaces.has(sandbox)) changes.push({ op: "delete", key: sandbox, why: "its namespace is gone", sandbox });
    else if (!sandboxes.has(sandbox)) leave.push({ op: "delete", key: sandbox, why: "it is on no network of ours", sandbox });
  }
  for (const [sandbox, { running }] of [...sandboxes].sort(byKey)) {
    const namespace = namespaces.get(sandbox);
    const is = served.get(sandbox);
    // Engines before 28 make the namespace after Join; it is looked for again when it appears.
    if (namespace === undefined || !mayServe) continue;
    if (is === undefined) changes.push({ op: "create", key: sandbox, why: "nobody answers in it", sandbox, flush: running });
    else if (is.inode !== namespace) changes.push({ op: "update", key: sandbox, why: "its namespace is another", sandbox, flush: running });
    else if (!is.redirected) changes.push({ op: "update", key: sandbox, why: "its queries do not reach us", sandbox, flush: running });
  }
  return settled ? { changes: [...leave, ...changes], held: [] } : { changes, held: leave };
}

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : a > b ? 1 : 0);

interface Place { readonly networks: NetworkId[]; container?: Container }

/** Sandboxes of this node with an endpoint of ours; a container that Docker shows running brings more about it. */
function placesOf(snapshot: Snapshot): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  for (const { sandbox, stage, network } of values(snapshot.endpoints)) {
    if (sandbox === undefined || stage !== "joined") continue;
    const place = places.get(sandbox) ?? { networks: [] };
    if (!place.networks.includes(network)) place.networks.push(network);
    places.set(sandbox, place);
  }
  for (const container of values(snapshot.containers)) {
    const place = container.node === snapshot.node.id && container.state !== "exited" ? places.get(container.sandbox) : undefined;
    if (place !== undefined) place.container = container;
  }
  return places;
}

function viewOf(snapshot: Snapshot, sandbox: string, { networks, container }: Place): DnsSandbox {
  const known = networks.flatMap((id) => snapshot.networks.facts.get(id)?.value ?? []);
  const priority = ({ id }: Network): number => container?.networks[id]?.gatewayPriority ?? 0;
  const order = (a: Network, b: Network): number =>
    priority(b) - priority(a) || Number(a.internal) - Number(b.internal) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  const links = new Map<string, string>();
  for (const link of Object.values(container?.networks ?? {}).flatMap((each) => each.links ?? [])) {
    const [target, alias = target] = link.split(":");
    if (target !== undefined && alias !== undefined) links.set(alias.toLowerCase(), target.toLowerCase());
  }
  return { sandbox, zones: known.sort(order).map(({ id }) => id), links };
}

function zonesOf(snapshot: Snapshot, settings: ZoneSettings): { readonly zones: ReadonlyMap<NetworkId, DnsZone>; readonly shared: ReadonlyMap<string, SharedName> } {
  const holders = new Map<string, Holder[]>();
  for (const container of values(snapshot.containers).sort(byId)) {
    if (container.state === "exited") continue;
    for (const [network, attachment] of Object.entries(container.networks)) {
      const there = holders.get(network);
      if (there === undefined) holders.set(network, [{ container, attachment }]);
      else there.push({ container, attachment });
    }
  }
  const all = values(snapshot.services).sort(byId);
  const serving = servingOf(snapshot);
  const zones = new Map<NetworkId, DnsZone>();
  const shared = new Map<string, SharedName>();
  for (const network of values(snapshot.networks).sort(byId)) {
    const services = all.filter(({ networks }) => networks.some((each) => each.network === network.id));
    const made = zoneOf({ network, holders: holders.get(network.id) ?? [], services, serving, settings });
    zones.set(network.id, made.zone);
    for (const [name, claimants] of made.shared) shared.set(`${network.name}/${name}`, { network: network.name, name, services: claimants });
  }
  return { zones, shared };
}

const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
