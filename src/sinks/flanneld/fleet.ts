/**
 * All flannelds of this node: which run, when one may be started again, what a former life left running.
 *
 * In:  start and stop, per network.  Out: children, and a call of `changed` whenever somebody should look again.
 * Rule: never two on one network; one that ends again and again waits longer each time; its end is never taken for success.
 */
import { OperatorError } from "../../core/errors.ts";
import type { Emit } from "../../core/events.ts";
import type { FlannelId, NetnsPath } from "../../core/ids.ts";
import type { StartProcess } from "../exec.ts";
import { Child } from "./child.ts";
import { environmentOf, flagsOf, type EtcdAccess } from "./command.ts";
import { PACE, Patience, type Pace } from "./patience.ts";
import { endStray, findStrays } from "./strays.ts";
import type { FlanneldSpec } from "./vocabulary.ts";

export interface FleetOptions {
  /** Path of the flanneld program. */
  readonly file: string;
  /** Directory of the subnet files; on persistent storage, they decide after a day without power. No trailing slash. */
  readonly directory: string;
  readonly etcd: EtcdAccess;
  /** What a network's flanneld gets as `--etcd-prefix`. */
  readonly etcdPrefix: (flannelId: FlannelId) => string;
  readonly startProcess: StartProcess;
  readonly emit: Emit;
  /** Somebody should look again: an unasked end, a complaint, or a wait that is over. */
  readonly changed: (flannelId: FlannelId) => void;
  /** Clock, ms; default Date.now. */
  readonly now?: () => number;
  readonly netns?: NetnsPath;
  readonly pace?: Pace;
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #now: () => number;
  readonly #children = new Map<FlannelId, Child>();
  readonly #patience = new Map<FlannelId, Patience>();
  readonly #alarms = new Map<FlannelId, NodeJS.Timeout>();
  #strays: Promise<Map<FlannelId, number[]>> | undefined;
  #closed = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  child(flannelId: FlannelId): Child | undefined {
    return this.#children.get(flannelId);
  }

  get children(): ReadonlyMap<FlannelId, Child> {
    return this.#children;
  }

  subnetFile(flannelId: FlannelId): string {
    return `${this.#options.directory}/${flannelId}.env`;
  }

  /** Networks for which a former life of the operator left a process running. */
  async strays(): Promise<ReadonlyMap<FlannelId, readonly number[]>> {
    return this.#left();
  }

  /** The process table is read once: later processes in our directory are our children. A failed reading is tried again. */
  #left(): Promise<Map<FlannelId, number[]>> {
    this.#strays ??= findStrays(this.#options.directory, this.#options.netns ?? "/proc/self/ns/net").catch((cause: unknown) => {
      this.#strays = undefined;
      throw new OperatorError("unavailable", "Cannot list processes: /proc cannot be read", { cause });
    });
    return this.#strays;
  }

  /** Rejects with `unavailable` while the last ends were too quick; a changed spec is a new try. */
  mayStart(spec: FlanneldSpec): void {
    if (this.#closed) throw new OperatorError("unavailable", `Cannot start flanneld of network ${spec.flannelId}: the operator is stopping`);
    const child = this.#children.get(spec.flannelId);
    const patience = this.#patienceFor(spec.flannelId);
    if (child !== undefined && JSON.stringify(child.spec) !== JSON.stringify(spec)) patience.forget();
    const waitMs = patience.waitMs(this.#now());
    if (waitMs === 0) return;
    throw new OperatorError("unavailable", `Cannot start flanneld of network ${spec.flannelId}: ${child?.obituary ?? "it does not stay well"}; ` +
      `${patience.failures} tries in a row, the next in ${Math.ceil(waitMs / 1_000)} s`,
      { cure: "Look at the events flanneld.log of this network (level debug) and at etcd" });
  }

  start(spec: FlanneldSpec): Child {
    const { file, etcd, etcdPrefix, emit, netns, startProcess } = this.#options;
    const child = new Child(spec, {
      emit, now: this.#now, secrets: etcd.password ? [etcd.password] : [],
      onTrouble: (troubled) => this.#onTrouble(troubled),
    });
    this.#children.set(spec.flannelId, child);
    child.start(startProcess, {
      file, args: flagsOf(spec, { etcd, etcdPrefix: etcdPrefix(spec.flannelId), subnetFile: this.subnetFile(spec.flannelId) }),
      env: environmentOf(etcd), ...(netns === undefined ? {} : { netns }),
    });
    return child;
  }

  /** Resolves when nothing of ours runs for this network any more. */
  async stop(flannelId: FlannelId): Promise<void> {
    await this.#children.get(flannelId)?.stop();
    const strays = await this.#left();
    await Promise.all((strays.get(flannelId) ?? []).map((pid) => endStray(pid, flannelId, this.#options.directory)));
    strays.delete(flannelId);
  }

  /** After `stop`, when the network is gone for good. */
  forget(flannelId: FlannelId): void {
    clearTimeout(this.#alarms.get(flannelId));
    for (const map of [this.#children, this.#patience, this.#alarms]) map.delete(flannelId);
  }

  /** Ends all processes at the operator's own end; the kernel keeps forwarding without them. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const alarm of this.#alarms.values()) clearTimeout(alarm);
    this.#alarms.clear();
    await Promise.all([...this.#children.values()].map((child) => child.stop()));
  }

  #patienceFor(flannelId: FlannelId): Patience {
    const known = this.#patience.get(flannelId);
    if (known !== undefined) return known;
    const patience = new Patience(this.#options.pace ?? PACE);
    this.#patience.set(flannelId, patience);
    return patience;
  }

  #onTrouble(child: Child): void {
    const { flannelId } = child.spec;
    if (this.#children.get(flannelId) !== child) return;
    const patience = this.#patienceFor(flannelId);
    patience.ended(this.#now() - child.startedAtMs, this.#now());
    const look = (): void => this.#options.changed(flannelId);
    look();
    clearTimeout(this.#alarms.get(flannelId));
    const waitMs = patience.waitMs(this.#now());
    if (waitMs > 0) this.#alarms.set(flannelId, setTimeout(look, waitMs).unref());
  }
}
