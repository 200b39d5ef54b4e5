/**
 * Docker's events as "look there again", gathered until somebody looks.
 *
 * In:  events (docker-plugin-protocol.md §7.3).  Out: which listings and which containers to read.
 * Rule: reading too much is slow, reading too little is wrong: what is not understood means everything.
 */
import { Subject, type Observable } from "rxjs";
import type { ContainerId } from "../core/ids.ts";
import type { DockerEvent } from "./docker-api.ts";
import type { DockerBook } from "./docker-book.ts";
import { TaskTempo } from "./task-tempo.ts";

/** What the engine tells of itself. */
export interface LocalHint {
  /** The list of all containers. */
  readonly listing?: boolean;
  /** Single containers, to be inspected whatever the list says. */
  readonly containers?: readonly ContainerId[];
}
/** What swarm tells: needs a leader among the managers. */
export interface SwarmHint { readonly node?: boolean; readonly networks?: boolean; readonly services?: boolean; readonly tasks?: boolean }

export const ALL_OF_SWARM: SwarmHint = { node: true, networks: true, services: true, tasks: true };

const CONTAINER_ACTIONS = /^(create|start|restart|die|stop|kill|destroy|rename|oom|pause|unpause|health_status.*)$/;
/** Swarm makes and removes these as a node joins and leaves: the only sign of it on a worker. */
const SWARM_NETWORKS = new Set(["ingress", "docker_gwbridge"]);

export interface Kill { readonly id: string; readonly signal: string }

export class Hints {
  readonly tempo = new TaskTempo();
  #listing = false;
  #containers = new Set<ContainerId>();
  #swarm: SwarmHint = {};
  readonly #kills = new Subject<Kill>();
  /** Signals sent to containers, at once. */
  readonly kills$: Observable<Kill> = this.#kills;
  readonly #again = new Subject<void>();
  /** Somebody wants another look, without an event. */
  readonly again$: Observable<void> = this.#again;

  addAll(): void {
    this.addListing();
    this.addSwarm(ALL_OF_SWARM);
  }

  addListing(): void { this.#listing = true; }

  addSwarm(hint: SwarmHint): void { this.#swarm = { ...this.#swarm, ...hint }; }

  again(hint: SwarmHint): void {
    this.addSwarm(hint);
    this.#again.next();
  }

  addEvent(event: DockerEvent, book: DockerBook): void {
    if (event.scope === "swarm" && book.info?.role !== "manager") this.addSwarm({ node: true });
    switch (event.type) {
      case "container": return this.#container(event);
      case "network": return this.#network(event, book);
      case "service":
        this.tempo.service(event, Date.now());
        return this.addSwarm({ services: true, tasks: true });
      case "node": return this.addSwarm({ node: true, tasks: true });
      default: return this.addAll();
    }
  }

  get wantsLocal(): boolean { return this.#listing || this.#containers.size > 0; }

  get wantsSwarm(): boolean { return Object.values(this.#swarm).some(Boolean); }

  takeLocal(): LocalHint {
    const taken = { listing: this.#listing, containers: [...this.#containers] };
    this.#listing = false;
    this.#containers = new Set();
    return taken;
  }

  takeSwarm(): SwarmHint {
    const taken = this.#swarm;
    this.#swarm = {};
    return taken;
  }

  #container({ id, action, attributes }: DockerEvent): void {
    if (!CONTAINER_ACTIONS.test(action)) return;
    if (action === "kill") this.#kills.next({ id, signal: attributes["signal"] ?? "" });
    this.#containers.add(id as ContainerId);
    const task = attributes["com.docker.swarm.task.id"] !== undefined && /^(start|die|destroy|health_status)/.test(action);
    if (task) this.addSwarm({ tasks: true });
  }

  #network({ action, scope, id, attributes }: DockerEvent, book: DockerBook): void {
    const { name = "", type, container } = attributes;
    if (SWARM_NETWORKS.has(name)) {
      if (action === "create" || action === "destroy" || action === "remove") this.addSwarm({ node: true, networks: true });
      return;
    }
    // Local events name the driver; swarm's tell the name only.
    if (scope !== "swarm" && type !== undefined && !book.match.matches(type)) return;
    if (container !== undefined && container !== "") this.#containers.add(container as ContainerId);
    if (scope === "swarm" || book.networks?.has(id) !== true || action === "create" || action === "destroy") this.addSwarm({ networks: true });
  }
}
