/**
 * What this node's kernel does with each VIP, beside what it should do: `GET /vips`.
 *
 * In:  snapshot, the balancer as desired and as observed, tracked flows.  Out: one row per VIP, by network and service.
 * Rule: pure; a VIP or server that only one side knows is a row all the same.
 */
import type { Ipv4 } from "../core/ids.ts";
import type { Container, Service, Snapshot } from "../core/model.ts";
import type { Plan } from "../core/plan.ts";
import { values } from "../core/precedence.ts";
import type { VipBackend, VipRow } from "../core/state-answer.ts";
import type { BalancerChange, BalancerEntry, BalancerState, SeenServer, Server } from "../sinks/balancer.ts";

export interface VipReportParts {
  readonly snapshot: Snapshot;
  readonly desired: ReadonlyMap<string, BalancerEntry>;
  readonly observed: BalancerState;
  readonly plan: Plan<BalancerChange>;
  /** By "VIP>address". */
  readonly flows: ReadonlyMap<string, number>;
}

export function vipReport({ snapshot, desired, observed, plan, flows }: VipReportParts): readonly VipRow[] {
  const owners = ownersOf(snapshot);
  const seats = seatsOf(snapshot);
  const backends = new Map<Ipv4, VipBackend[]>();
  for (const key of new Set([...desired.keys(), ...observed.keys()])) {
    const entry = desired.get(key) ?? observed.get(key);
    const seen = observed.get(key);
    if (entry?.kind !== "server") continue;
    const backend = backendOf(entry, seen?.kind === "server" ? seen : undefined, flows.get(key) ?? 0, seats);
    backends.set(entry.vip, [...backends.get(entry.vip) ?? [], backend]);
  }
  const vips = new Set([...desired.values(), ...observed.values()].map(({ vip }) => vip));
  return [...vips].map((vip): VipRow => {
    const entry = desired.get(vip) ?? observed.get(vip);
    return {
      service: "", network: "", ...owners.get(vip), vip, scheduler: (entry?.kind === "service" ? entry.scheduler : undefined) ?? "rr",
      backends: (backends.get(vip) ?? []).sort((a, b) => a.address.localeCompare(b.address, "en", { numeric: true })), differences: differencesOf(vip, plan),
    };
  }).sort((a, b) => a.network.localeCompare(b.network) || a.service.localeCompare(b.service) || a.vip.localeCompare(b.vip));
}

type Owner = Pick<VipRow, "service" | "network">;

function ownersOf(snapshot: Snapshot): ReadonlyMap<Ipv4, Owner> {
  const of = ({ name, vips }: Service): readonly (readonly [Ipv4, Owner])[] =>
    vips.map(({ network, address }) => [address, { service: name, network: snapshot.networks.facts.get(network)?.value.name ?? network }]);
  return new Map(values(snapshot.services).flatMap(of));
}

type Seat = Pick<VipBackend, "container" | "node">;

function seatsOf(snapshot: Snapshot): ReadonlyMap<Ipv4, Seat> {
  const hostname = (node: Container["node"]): string => (node === snapshot.node.id ? snapshot.node.hostname : snapshot.nodes.facts.get(node)?.value.hostname ?? node);
  return new Map(values(snapshot.containers).flatMap(({ id, node, networks }) =>
    Object.values(networks).map(({ address }): [Ipv4, Seat] => [address, { container: id.slice(0, 12), node: hostname(node) }])));
}

function backendOf({ address }: Server, seen: SeenServer | undefined, connections: number, seats: ReadonlyMap<Ipv4, Seat>): VipBackend {
  const state = seen === undefined ? "missing" : seen.weight > 0 ? "ready" : "draining";
  return { address, state, weight: seen?.weight ?? 0, connections, drainingMs: seen?.drainingMs ?? 0, container: "", node: "", ...seats.get(address) };
}

function differencesOf(vip: Ipv4, { changes, held }: Plan<BalancerChange>): readonly string[] {
  const of = (list: readonly BalancerChange[], when: string): string[] =>
    list.filter(({ entry }) => entry.vip === vip).map(({ op, key, why }) => `${op} ${key} (${why}${when})`);
  return [...of(changes, ""), ...of(held, "; waits until all is known")];
}
