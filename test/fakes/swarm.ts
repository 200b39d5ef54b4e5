/**
 * A swarm in memory: what managers agree on, and per node what its engine has and tells.
 *
 * Rule: engines answer as dockerd does: a worker shows only networks it has containers on and no services; events are hints.
 */
import { Observable, type Subscriber } from "rxjs";
import { OperatorError } from "../../src/core/errors.ts";
import type { ContainerId, NetworkId, NodeId, ServiceId, TaskId } from "../../src/core/ids.ts";
import type { Member, Service } from "../../src/core/model.ts";
import type { DockerApi, DockerSignal } from "../../src/sources/docker-api.ts";
import type { DockerContainer, DockerNetwork, DockerTask, Found } from "../../src/sources/docker-decode.ts";
import type { Line } from "./etcd.ts";

export class Swarm {
  readonly networks = new Map<NetworkId, DockerNetwork>();
  readonly services = new Map<ServiceId, Service>();
  readonly tasks = new Map<TaskId, DockerTask>();
  readonly members = new Map<NodeId, Member>();
  readonly engines: FakeDocker[] = [];
  leader: NodeId | undefined;
  #index = 10;

  /** Swarm's `Version.Index`: grows with every write. */
  next(): number {
    this.#index += 1;
    return this.#index;
  }

  /** An event of swarm's own: managers hear it. */
  tell(type: string, action: string, id: string, attributes: Readonly<Record<string, string>> = {}): void {
    for (const engine of this.engines) if (engine.role === "manager") engine.tell(type, action, id, attributes, "swarm");
  }
}

const found = <T>(items: Iterable<T>): Found<T> => ({ items: [...items], garbage: [] });

export class FakeDocker {
  readonly boxes = new Map<ContainerId, DockerContainer>();
  /** Networks of swarm's that were made on this node. */
  readonly local = new Set<NetworkId>();
  role: "manager" | "worker" | "none";
  node: NodeId | undefined;
  readonly #swarm: Swarm;
  readonly #streams = new Set<{ readonly line: Line; readonly out: Subscriber<DockerSignal> }>();

  constructor(swarm: Swarm, node: NodeId, role: "manager" | "worker") {
    this.#swarm = swarm;
    [this.node, this.role] = [node, role];
    swarm.engines.push(this);
  }

  api(line: Line): DockerApi {
    const ask = async <T>(path: string, answer: () => T): Promise<T> => {
      await Promise.resolve();
      if (!line.isAlive()) return new Promise<T>(() => undefined);
      if (line.isCut()) throw new OperatorError("unavailable", `Cannot ask Docker for ${path}: connection refused`);
      if (line.fails()) throw new OperatorError("unavailable", `Cannot ask Docker for ${path}: a fault was injected`);
      return answer();
    };
    const managers = <T>(path: string, answer: () => T): Promise<T> => ask(path, () => {
      if (this.role !== "manager") throw new OperatorError("unsupported", `Cannot ask Docker for ${path}: this node is not a swarm manager`);
      return answer();
    });
    const { networks, members, services, tasks } = this.#swarm;
    return {
      info: () => ask("/info", () => ({ role: this.role, ...(this.node === undefined ? {} : { node: this.node }) })),
      nodes: () => managers("/nodes", () => found([...members.values()].map((record) => ({ record, leader: record.id === this.#swarm.leader })))),
      networks: () => ask("/networks", () => found([...networks.values()].filter(({ record }) => this.role === "manager" || this.local.has(record.id)))),
      services: () => managers("/services", () => found(services.values())),
      tasks: () => managers("/tasks", () => found(tasks.values())),
      containers: () => ask("/containers/json", () => found([...this.boxes.values()].map((box) => (
        { id: box.id, networks: box.attachments.map(({ network }) => network), fingerprint: JSON.stringify(box) })))),
      container: (id) => ask(`/containers/${id}/json`, () => this.boxes.get(id)),
      events: () => this.#events(line),
    };
  }

  tell(type: string, action: string, id: string, attributes: Readonly<Record<string, string>> = {}, scope = "local"): void {
    for (const { line, out } of [...this.#streams]) {
      queueMicrotask(() => {
        if (!line.isAlive() || line.isCut()) return;
        if (line.fails()) out.error(new OperatorError("unavailable", "Cannot follow Docker's events: a fault was injected"));
        else out.next({ kind: "event", event: { scope, type, action, id, attributes } });
      });
    }
  }

  /** Streams over lines that are cut by now end. */
  breakStreams(): void {
    for (const { line, out } of [...this.#streams]) if (line.isCut()) out.error(new OperatorError("unavailable", "Cannot follow Docker's events: the stream ended"));
  }

  #events(line: Line): Observable<DockerSignal> {
    return new Observable((out) => {
      const stream = { line, out };
      queueMicrotask(() => {
        if (out.closed || !line.isAlive()) return;
        if (line.isCut()) return out.error(new OperatorError("unavailable", "Cannot follow Docker's events: connection refused"));
        this.#streams.add(stream);
        out.next({ kind: "connected" });
      });
      return () => { this.#streams.delete(stream); };
    });
  }
}
