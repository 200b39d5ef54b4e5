/**
 * Who serves a service on a network right now, and who is on the way out (design D10).
 *
 * In:  snapshot: containers, tasks.  Out: `Serving`, the backends of every service by network.
 * Rule: pure; one pass. A container counts by what it is itself; its task only can take it out sooner: what swarm wants to end
 *       drains before the signal is sent. A task nobody has listed yet says nothing.
 */
import { toNumber, type ContainerId, type Ipv4, type NetworkId, type NodeId, type ServiceId, type TaskId } from "./ids.ts";
import type { Container, Snapshot } from "./model.ts";

/** ready: gets new connections; draining: keeps those it has. What is neither is no backend. */
export type BackendState = "ready" | "draining";

export interface Backend {
  readonly container: ContainerId;
  readonly task?: TaskId;
  readonly node: NodeId;
  readonly address: Ipv4;
  readonly state: BackendState;
}

/** By service, then by network; backends ascending by address. */
export type Serving = ReadonlyMap<ServiceId, ReadonlyMap<NetworkId, readonly Backend[]>>;

/** `complete` is what a job's task is meant to reach while it runs (swarmkit api/types.proto). */
const MEANT_TO_END: ReadonlySet<string> = new Set(["shutdown", "remove"]);

/** One snapshot is asked by several reconcilers. */
const known = new WeakMap<Snapshot, Serving>();

export function servingOf(snapshot: Snapshot): Serving {
  const before = known.get(snapshot);
  if (before !== undefined) return before;
  const serving = count(snapshot);
  known.set(snapshot, serving);
  return serving;
}

export const backendsOf = (serving: Serving, service: ServiceId, network: NetworkId): readonly Backend[] =>
  serving.get(service)?.get(network) ?? [];

function count({ containers, tasks }: Snapshot): Serving {
  const serving = new Map<ServiceId, Map<NetworkId, Backend[]>>();
  for (const { value: container } of containers.facts.values()) {
    const { service, task, id, node } = container;
    if (service === undefined) continue;
    const state = stateOf(container, task === undefined ? undefined : tasks.facts.get(task)?.value.desiredState);
    if (state === undefined) continue;
    const networks = serving.get(service) ?? new Map<NetworkId, Backend[]>();
    serving.set(service, networks);
    for (const [network, { address }] of Object.entries(container.networks)) {
      const backend: Backend = { container: id, node, address, state, ...(task === undefined ? {} : { task }) };
      const there = networks.get(network as NetworkId);
      if (there === undefined) networks.set(network as NetworkId, [backend]);
      else there.push(backend);
    }
  }
  for (const networks of serving.values()) for (const backends of networks.values()) backends.sort(byAddress);
  return serving;
}

/** A health check that has not spoken yet has not let the container in. */
function stateOf({ state, health }: Container, desired: string | undefined): BackendState | undefined {
  if (state === "exited" || health === "starting") return undefined;
  const ending = state === "stopping" || health === "unhealthy" || (desired !== undefined && MEANT_TO_END.has(desired));
  return ending ? "draining" : "ready";
}

const byAddress = (a: Backend, b: Backend): number =>
  toNumber(a.address) - toNumber(b.address) || (a.container < b.container ? -1 : 1);
