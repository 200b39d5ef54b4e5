/**
 * What Docker told us last, and the views that follow from it.
 *
 * In:  decoded listings.  Out: `views()`, in which every map, view and record that did not change is the same object as before.
 * Rule: no I/O, no clock. Only networks of our driver, and only what hangs on them. What a role cannot see is empty, not
 *       stale: on a worker etcd speaks for services and tasks.
 */
import { constants } from "node:os";
import { isDeepStrictEqual } from "node:util";
import type { Container, Endpoint, Member, Network, NodeFacts, Service, Task, Underlay, Views } from "../core/model.ts";
import type { Cidr, ContainerId, NetworkId, NodeId } from "../core/ids.ts";
import { unknownView, type Coverage, type View } from "../core/precedence.ts";
import type { ContainerSummary, DockerContainer, SwarmStanding, DockerNetwork, DockerTask } from "./docker-decode.ts";

/** True for the network driver names that mean this plugin. */
export interface DriverMatch { readonly exact: boolean; matches(driver: string): boolean }

/** Until our own alias is known, the project's name in any repository and with any tag is taken for it. */
export function driverMatch(names: readonly string[] | undefined): DriverMatch {
  if (names === undefined) return { exact: false, matches: (driver) => /(^|\/)flannel-np(:[^/]*)?$/.test(driver) };
  const known = new Set(names.flatMap((name) => [name, name.replace(/:latest$/, "")]));
  return { exact: true, matches: (driver) => known.has(driver) };
}

export type Inspection = DockerContainer | "gone" | "unreadable";

export interface DockerBookOptions { readonly hostname: string; readonly driverNames: () => readonly string[] | undefined }

export class DockerBook {
  readonly #options: DockerBookOptions;
  info: SwarmStanding | undefined;
  leader = false;
  underlay: Underlay | undefined;
  /** The engine's part: containers were listed whole and the event stream stands. */
  live = false;
  /** Swarm's part: role and networks were read whole; fails alone while the managers have no leader. */
  swarmLive = false;
  networks: ReadonlyMap<string, DockerNetwork> | undefined;
  services: ReadonlyMap<string, Service> = new Map();
  tasks: ReadonlyMap<string, DockerTask> = new Map();
  members: ReadonlyMap<string, Member> = new Map();
  containers: ReadonlyMap<string, DockerContainer> = new Map();
  readonly fingerprints = new Map<ContainerId, string>();
  /** Container id → the start that was told to stop. */
  readonly #stopping = new Map<string, string>();
  readonly #unreadable = new Set<string>();
  /** Kinds of which a body could not be read: no such listing is complete. */
  readonly doubtful = new Set<keyof Views>();
  #looked = "";
  #last: Views = NOTHING;

  constructor(options: DockerBookOptions) { this.#options = options; }

  get match(): DriverMatch { return driverMatch(this.#options.driverNames()); }

  /** A signal was sent: only the configured stop signal and SIGKILL mean the end. */
  signalled(id: string, signal: string): void {
    const container = this.containers.get(id);
    if (container === undefined) return;
    const number = signalNumber(signal);
    if (number === 9 || number === signalNumber(container.stopSignal ?? "SIGTERM")) this.#stopping.set(id, container.startedAt);
  }

  /** Ids to inspect: those on a network of ours, or unknown, that are new or look different. Forgets what is not listed. */
  listed(summaries: readonly ContainerSummary[]): ContainerId[] {
    const { matches } = this.match;
    const ours = (id: NetworkId): boolean => {
      const network = this.networks?.get(id);
      return network === undefined || matches(network.driver);
    };
    const there = new Set<string>(summaries.map(({ id }) => id));
    this.containers = new Map([...this.containers].filter(([id]) => there.has(id)));
    for (const id of this.fingerprints.keys()) if (!there.has(id)) this.fingerprints.delete(id);
    for (const id of this.#stopping.keys()) if (!there.has(id)) this.#stopping.delete(id);
    for (const id of this.#unreadable) if (!there.has(id)) this.#unreadable.delete(id);
    return summaries
      .filter(({ id, networks, fingerprint }) => (networks.some(ours) || this.containers.has(id)) && this.fingerprints.get(id) !== fingerprint)
      .map(({ id, fingerprint }) => {
        this.fingerprints.set(id, fingerprint);
        return id;
      });
  }

  inspected(found: ReadonlyMap<ContainerId, Inspection>): void {
    const containers = new Map(this.containers);
    for (const [id, inspection] of found) {
      this.#unreadable.delete(id);
      if (inspection === "unreadable") this.#unreadable.add(id);
      else if (inspection === "gone") containers.delete(id);
      else containers.set(id, inspection);
    }
    this.containers = containers;
  }

  /** Networks that a running container is on and no listing has shown: the listing is older than the container. */
  #strangers(): string {
    const ids = [...this.containers.values()].flatMap(({ running, attachments }) => (running ? attachments : []).map(({ network }) => network));
    return [...new Set(ids)].filter((id) => this.networks?.has(id) !== true).sort().join(" ");
  }

  /** True once for each set of strangers: listing again is worth it once. */
  hasNewStrangers(): boolean {
    const strangers = this.#strangers();
    const fresh = strangers !== "" && strangers !== this.#looked;
    this.#looked = strangers;
    return fresh;
  }

  /** Of networks of other drivers. */
  strangersRanges(): readonly Cidr[] {
    const { matches } = this.match;
    return [...this.networks?.values() ?? []].filter(({ driver }) => !matches(driver)).map(({ record }) => record.cidr);
  }

  views(): Views {
    const { matches } = this.match;
    const manager = this.info?.role === "manager";
    const networks = new Map([...this.networks ?? []].filter(([, { driver }]) => matches(driver)).map(([id, { record }]) => [id, record]));
    const on = (id: string): boolean => networks.has(id);
    const services = new Map(manager ? [...this.services].filter(([, { networks: nets }]) => nets.some(({ network }) => on(network))) : []);
    const tasks = new Map(manager ? [...this.tasks].filter(([, task]) => task.networks.some(on) || services.has(task.record.service ?? "")) : []);
    const containers = this.#containersOn(on);
    const last = this.#last;
    const next: Views = {
      networks: same<Network>(last.networks, this.#coverage("networks"), networks),
      services: same<Service>(last.services, this.#coverage("services"), services),
      tasks: same<Task>(last.tasks, this.#coverage("tasks"), new Map([...tasks].map(([id, { record }]) => [id, record]))),
      containers: same<Container>(last.containers, this.#coverage("containers"), containers),
      endpoints: same<Endpoint>(last.endpoints, this.#coverage("containers"), endpointsOf(containers.values())),
      members: same<Member>(last.members, this.#coverage("members"), manager ? this.members : new Map()),
      pools: last.pools, subnets: last.subnets, grants: last.grants, nodes: last.nodes,
      node: same<NodeFacts>(last.node, this.live && this.swarmLive ? "complete" : "unknown", this.#node()),
    };
    const kinds = Object.keys(next) as (keyof Views)[];
    if (kinds.some((kind) => next[kind] !== last[kind])) this.#last = next;
    return this.#last;
  }

  #coverage(kind: "networks" | "services" | "tasks" | "members" | "containers"): Coverage {
    const sure = this.match.exact && !this.doubtful.has(kind);
    if (!this.live || this.networks === undefined) return "unknown";
    if (kind === "containers") return sure && this.#unreadable.size === 0 && this.#strangers() === "" ? "complete" : "partial";
    if (!this.swarmLive) return "unknown";
    if (this.info?.role === "manager") return sure ? "complete" : "partial";
    return kind === "networks" ? "partial" : "unknown";
  }

  #containersOn(on: (id: string) => boolean): Map<string, Container> {
    const node = this.info?.node ?? ("" as NodeId);
    return new Map([...this.containers].flatMap(([id, container]) => {
      const attached = container.attachments.filter(({ network }) => on(network));
      if (attached.length === 0) return [];
      const { name, hostname, health, service, task, sandbox, startedAt } = container;
      const stopping = this.#stopping.get(id) === startedAt;
      return [[id, {
        id: container.id, node, name, hostname, health, sandbox, state: container.running ? (stopping ? "stopping" : "running") : "exited",
        networks: Object.fromEntries(attached.map(({ network, ...attachment }) => [network, attachment])),
        ...(service === undefined ? {} : { service }), ...(task === undefined ? {} : { task }),
      }]];
    }));
  }

  /** Empty until Docker has answered once: an answer without an id would outrank what the state file remembers. */
  #node(): Map<string, NodeFacts> {
    if (this.info === undefined) return new Map();
    const { node: id, role, address } = this.info;
    return new Map([["self", {
      hostname: this.#options.hostname, role, leader: this.leader, dockerSeen: true,
      ...(id === undefined ? {} : { id }), ...(address === undefined ? {} : { address }),
      ...(this.underlay === undefined ? {} : { underlay: this.underlay }),
    }]]);
  }
}

const NOTHING: Views = {
  networks: unknownView(), services: unknownView(), tasks: unknownView(), containers: unknownView(),
  endpoints: unknownView(), pools: unknownView(), subnets: unknownView(), members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
};

function endpointsOf(containers: Iterable<Container>): Map<string, Endpoint> {
  const endpoints = new Map<string, Endpoint>();
  for (const { state, networks, sandbox } of containers) {
    if (state === "exited") continue;
    for (const [network, { endpoint: id, address }] of Object.entries(networks)) {
      endpoints.set(id, { id, network: network as NetworkId, address, stage: "joined", ...(sandbox === "" ? {} : { sandbox }) });
    }
  }
  return endpoints;
}

function same<T>(last: View<T>, coverage: Coverage, items: ReadonlyMap<string, T>): View<T> {
  const kept = reuse(last.items, items);
  return kept === last.items && coverage === last.coverage ? last : { coverage, items: kept };
}

/** The old map when nothing differs, else the new one with every equal item replaced by the old object. */
export function reuse<T>(old: ReadonlyMap<string, T>, now: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  let equal = old.size === now.size;
  const merged = new Map<string, T>();
  for (const [key, value] of now) {
    const before = old.get(key);
    const unchanged = before !== undefined && (before === value || isDeepStrictEqual(before, value));
    merged.set(key, unchanged ? before : value);
    equal &&= unchanged;
  }
  return equal ? old : merged;
}

/** "15", "SIGTERM", "TERM", "SIGRTMIN+3" → the number; glibc's SIGRTMIN is 34 (signal(7)). */
function signalNumber(signal: string): number | undefined {
  if (/^\d+$/.test(signal)) return Number(signal);
  const name = signal.toUpperCase().replace(/^(SIG)?/, "SIG");
  const realTime = /^SIGRTMIN(?:\+(\d+))?$/.exec(name);
  if (realTime !== null) return 34 + Number(realTime[1] ?? 0);
  return (constants.signals as Readonly<Record<string, number>>)[name];
}
