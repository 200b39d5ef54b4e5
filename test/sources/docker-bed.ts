/**
 * A fake engine and the source on it, in fake time; a test changes the engine's lists and tells its events.
 */
import { jest } from "@jest/globals";
import { BehaviorSubject, Subject, throwError, type Observable, type Subscription } from "rxjs";
import { OperatorError } from "../../src/core/errors.ts";
import type { EventName } from "../../src/core/events.ts";
import type { Cidr, ContainerId, EndpointId, Ipv4, NetworkId, NodeId, ServiceId, TaskId } from "../../src/core/ids.ts";
import type { Network, Service, Underlay, Views } from "../../src/core/model.ts";
import type { DockerApi, DockerEvent, DockerSignal } from "../../src/sources/docker-api.ts";
import type { DockerContainer, DockerNetwork, DockerTask } from "../../src/sources/docker-decode.ts";
import { dockerSource } from "../../src/sources/docker.ts";

export const network = (id: string, driver = "flannel-np:latest"): DockerNetwork => ({ driver, record: {
  id: id as NetworkId, name: id, cidr: "10.1.0.0/16" as Cidr, internal: false, options: {}, index: 0,
} satisfies Network });
export const service = (id: string, on: string): Service => ({
  id: id as ServiceId, name: id, mode: "vip", networks: [{ network: on as NetworkId, aliases: [] }], vips: [], labels: {}, index: 1,
});
export const task = (id: string, on: string): DockerTask => ({
  networks: [on as NetworkId], record: { id: id as TaskId, slot: 1, state: "running", desiredState: "running", index: 1 },
});
export const container = (id: string, on: string, part: Partial<DockerContainer> = {}): DockerContainer => ({
  id: id as ContainerId, name: id, hostname: id, running: true, startedAt: "t0", health: "none", sandbox: "s",
  attachments: [{ network: on as NetworkId, endpoint: `e-${id}` as EndpointId, address: "10.1.8.2" as Ipv4, aliases: [] }], ...part,
});

export class Engine implements DockerApi {
  role: "manager" | "worker" = "manager";
  node = "node1";
  leader = true;
  nets = [network("ours"), network("bridge", "bridge")];
  svcs = [service("web", "ours"), service("other", "bridge")];
  jobs = [task("t1", "ours"), task("t2", "bridge")];
  boxes = new Map([["c1", container("c1", "ours")], ["c2", container("c2", "bridge")]]);
  stream = new Subject<DockerSignal>();
  readonly asked: string[] = [];
  /** Calls that fail, by name. */
  readonly broken = new Map<string, OperatorError>();
  /** Calls that never answer. */
  readonly hanging = new Set<string>();

  async #ask<T>(name: string, answer: () => T): Promise<T> {
    this.asked.push(name);
    const error = this.broken.get(name) ?? this.broken.get("*");
    if (error !== undefined) throw error;
    if (this.hanging.has(name)) await new Promise((_, reject) => setTimeout(() => reject(new OperatorError("timeout", `Cannot ${name}: no answer`)), 5_000));
    return answer();
  }
  #manager<T>(name: string, answer: () => T): Promise<T> {
    if (this.role === "worker") this.broken.set(name, new OperatorError("unsupported", "not a swarm manager"));
    else if (this.broken.get(name)?.code === "unsupported") this.broken.delete(name);
    return this.#ask(name, answer);
  }
  info = () => this.#ask("info", () => ({ node: this.node as NodeId, role: this.role, address: "10.0.0.4" as Ipv4 }));
  down: readonly string[] = [];
  nodes = () => this.#manager("nodes", () => ({ garbage: [], items: [this.node, ...this.down].map((id) => (
    { leader: this.leader && id === this.node, record: { id: id as NodeId, hostname: id, state: this.down.includes(id) ? "down" : "ready", index: 1 } }
  )) }));
  networks = () => this.#ask("networks", () => ({ items: this.nets, garbage: [] }));
  services = () => this.#manager("services", () => ({ items: this.svcs, garbage: [] }));
  tasks = () => this.#manager("tasks", () => ({ items: this.jobs, garbage: [] }));
  containers = () => this.#ask("containers", () => ({
    items: [...this.boxes.values()].map((box) => ({ id: box.id, networks: box.attachments.map((one) => one.network), fingerprint: JSON.stringify(box) })), garbage: [],
  }));
  container = (id: ContainerId) => this.#ask(`container ${id}`, () => this.boxes.get(id));
  events = (): Observable<DockerSignal> => {
    const error = this.broken.get("events") ?? this.broken.get("*");
    if (error !== undefined) return throwError(() => error);
    this.stream = new Subject();
    queueMicrotask(() => this.stream.next({ kind: "connected" }));
    return this.stream;
  };
  tell(type: string, action: string, id: string, attributes: Record<string, string> = {}, scope = "local"): void {
    const event: DockerEvent = { scope, type, action, id, attributes };
    this.stream.next({ kind: "event", event });
  }
}

const KINDS = ["networks", "services", "tasks", "containers", "endpoints", "node"] as const;
/** What `coverage()` says when every kind has the same. */
export const all = (word: string): string => KINDS.map((kind) => `${kind}:${word}`).join(" ");
export const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);

export class Bed {
  readonly engine = new Engine();
  readonly seen: Views[] = [];
  readonly said: [EventName, unknown][] = [];
  strangers: (() => readonly Cidr[]) | undefined;
  readonly underlay$ = new BehaviorSubject<Underlay | undefined>(undefined);
  names: readonly string[] | undefined = ["flannel-np:latest"];
  #subscription: Subscription | undefined;

  constructor() { jest.useFakeTimers(); }

  get source() {
    return dockerSource({
      api: this.engine, driverNames: () => this.names, hostname: "h1", underlay$: this.underlay$, emit: (event, fields) => { this.said.push([event, fields]); },
      strangers: (ranges) => { this.strangers = ranges; },
    });
  }
  start(): void { this.#subscription = this.source.views$.subscribe((views) => this.seen.push(views)); }
  get now(): Views { return this.seen.at(-1) as Views; }
  coverage(): string { return KINDS.map((kind) => `${kind}:${this.now[kind].coverage}`).join(" "); }
  end(): void {
    this.#subscription?.unsubscribe();
    jest.useRealTimers();
  }
}
