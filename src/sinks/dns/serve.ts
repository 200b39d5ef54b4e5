/**
 * The DNS servers of all sandboxes, as the main thread sees them.
 *
 * In:  which sandboxes to serve, the table.  Out: what is really open, counters, lines of watched sandboxes.
 * Rule: answers are given by a thread of their own. The sockets belong to the process, so should that thread die, the next one takes
 *       them over: same ports, no rule to change, and clients ask again. Whoever opened a sandbox closes it: sockets hold its namespace.
 */
import { closeSync, writeSync } from "node:fs";
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads";
import { OperatorError } from "../../core/errors.ts";
import type { Emit } from "../../core/events.ts";
import type { NetnsPath } from "../../core/ids.ts";
import { difference } from "./difference.ts";
import { COUNTERS, newShared, type Counters, type OpenSockets, type Order, type Report, type Shared } from "./messages.ts";
import type { DnsTable } from "./vocabulary.ts";
import { Watchers, type Watcher } from "./watchers.ts";

export interface DnsPort { readonly port: number; readonly inode: bigint }

export interface DnsServing {
  /**
   * Opens UDP and TCP on 127.0.0.11, both on the port it resolves with, inside the namespace; they are served by then. A sandbox that
   * the table does not know gets no answers: set the table first, it holds by then. Idempotent. Rejects with `not-found`, `invalid` or `denied`.
   */
  open(sandbox: string, netns: NetnsPath): Promise<DnsPort>;
  /** Every socket of it is closed when this resolves. */
  close(sandbox: string): Promise<void>;
  observe(): ReadonlyMap<string, DnsPort>;
  /** Sends what changed; the server changes over at once. A table object must not be changed afterwards. */
  setTable(table: DnsTable): void;
  /** Whether answers of Docker's resolver are kept for a few seconds. */
  setCache(on: boolean): void;
  /** Forgets what Docker's resolver said to one sandbox, or to all; it is forgotten when this resolves. */
  flush(sandbox?: string): Promise<void>;
  counters(): Counters;
  /** As last set. */
  table(): DnsTable | undefined;
  /** Each query of an open sandbox from when this resolves, until the returned function is called. */
  watch(sandbox: string, watcher: Watcher): Promise<() => void>;
  /** Sandboxes that were not reached from inside since they were asked for. */
  unheard(): readonly string[];
  /** Closes everything. */
  stop(): Promise<void>;
}

export interface DnsServingParts {
  readonly emit: Emit;
  readonly cache: boolean;
  /** Some sandbox was not reached from inside: its redirection may be gone. */
  readonly lost?: () => void;
  /** Another file with the thread's code. */
  readonly entry?: URL;
}

interface Ask { readonly resolve: (sockets: OpenSockets | undefined) => void; readonly reject: (error: Error) => void; readonly order: Order }

/** Its heap is names and small buffers: ten thousand names are 4 MiB. */
const LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2 };
/** A thread that dies at once, every time, must not cost a core. */
const RESTART_MS = 200;
/** Orders whose end nobody waits for. */
const NOBODY = 0;

export function dnsServing(parts: DnsServingParts): DnsServing {
  return new Serving(parts);
}

class Serving implements DnsServing {
  readonly #parts: DnsServingParts;
  readonly #open = new Map<string, OpenSockets>();
  readonly #asks = new Map<number, Ask>();
  readonly #watchers = new Watchers();
  readonly #unheard = new Set<string>();
  readonly #wakeUp = Buffer.from(new BigUint64Array([1n]).buffer);
  #table: DnsTable | undefined;
  #cache: boolean;
  #shared: Shared = newShared();
  #worker: Worker | undefined;
  #port: MessagePort | undefined;
  #wake: number | undefined;
  #asked = 0;
  #stopped = false;
  readonly #leave = (): void => this.#end();

  constructor(parts: DnsServingParts) {
    this.#parts = parts;
    this.#cache = parts.cache;
    // A process that ends waits for its threads, and this one waits for sockets.
    process.on("exit", this.#leave);
    this.#start();
  }

  async open(sandbox: string, netns: NetnsPath): Promise<DnsPort> {
    const sockets = await this.#ask((ask) => ({ kind: "open", ask, sandbox, path: netns }));
    if (sockets === undefined) throw new OperatorError("unavailable", `Cannot open DNS of sandbox ${sandbox}: the server was stopped`);
    return portOf(sockets);
  }

  async close(sandbox: string): Promise<void> {
    await this.#ask((ask) => ({ kind: "close", ask, sandbox }));
  }

  observe(): ReadonlyMap<string, DnsPort> {
    return new Map([...this.#open].map(([sandbox, sockets]) => [sandbox, portOf(sockets)]));
  }

  unheard(): readonly string[] {
    const found = [...this.#unheard];
    this.#unheard.clear();
    return found;
  }

  setTable(table: DnsTable): void {
    const before = this.#table;
    this.#table = table;
    const orders = [...difference(before, table)];
    const [only, ...others] = orders;
    const nothing = only?.kind === "commit" && others.length === 0 && only.zonesGone.length === 0
      && before?.mode === table.mode && before.ranges.join() === table.ranges.join();
    if (!nothing) this.#send(...orders);
  }

  setCache(on: boolean): void {
    this.#cache = on;
    this.#send({ kind: "cache", on });
  }

  async flush(sandbox?: string): Promise<void> { await this.#ask((ask) => ({ kind: "flush", ask, sandbox })); }

  table(): DnsTable | undefined { return this.#table; }

  counters(): Counters {
    return Object.fromEntries(COUNTERS.map((name, at) => [name, this.#shared.counters[at] ?? 0])) as Counters;
  }

  async watch(sandbox: string, watcher: Watcher): Promise<() => void> {
    this.#watchers.add(sandbox, watcher);
    await this.#ask((ask) => ({ kind: "watch", ask, sandbox, on: true }));
    return () => { if (this.#watchers.remove(sandbox, watcher)) this.#send({ kind: "watch", ask: NOBODY, sandbox, on: false }); };
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    process.off("exit", this.#leave);
    const worker = this.#worker;
    const gone = new Promise<void>((resolve) => { worker?.once("exit", () => resolve()); });
    this.#end();
    if (worker !== undefined) await gone;
    for (const { resolve } of this.#asks.values()) resolve(undefined);
    this.#asks.clear();
  }

  /** The thread ends by itself in its next round. */
  #end(): void {
    Atomics.store(this.#shared.ending, 0, 1);
    this.#wakeThread();
  }

  #start(): void {
    this.#shared = newShared(this.#shared.counters.buffer);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#wake = undefined;
    port1.on("message", (report: Report) => this.#hear(report));
    port1.unref();
    const entry = this.#parts.entry ?? new URL("./worker.ts", import.meta.url);
    const worker = new Worker(entry, {
      workerData: { shared: this.#shared, cache: this.#cache, port: port2 }, transferList: [port2], resourceLimits: LIMITS, execArgv: [],
      // Node would close files that the thread opened when it ends; the next thread serves them.
      trackUnmanagedFds: false,
    });
    this.#worker = worker;
    let reason = "it ended by itself";
    worker.on("error", (error: unknown) => { reason = error instanceof Error ? error.message : String(error); });
    worker.once("exit", () => this.#lost(reason));
    for (const [sandbox, sockets] of this.#open) this.#send({ kind: "adopt", sandbox, sockets });
    if (this.#table !== undefined) this.#send(...difference(undefined, this.#table));
    for (const sandbox of this.#watchers.sandboxes()) this.#send({ kind: "watch", ask: NOBODY, sandbox, on: true });
    for (const { order } of this.#asks.values()) this.#send(order);
  }

  #lost(reason: string): void {
    this.#port?.close();
    this.#wake = undefined;
    this.#closeFilesOf(this.#shared);
    if (this.#stopped) return this.#open.clear();
    this.#parts.emit("dns.thread-lost", { reason, sandboxes: this.#open.size });
    setTimeout(() => { if (!this.#stopped) this.#start(); }, RESTART_MS).unref();
  }

  /** What the thread had open and can close no more; sockets that the next one takes over stay. */
  #closeFilesOf({ files }: Shared): void {
    const kept = new Set([...this.#open.values()].flatMap(({ udp, tcp, netns }) => [udp, tcp, netns]));
    files.forEach((bits, at) => {
      for (let bit = 0; bit < 8; bit += 1) if ((bits & (1 << bit)) !== 0 && !kept.has(at * 8 + bit)) closeSync(at * 8 + bit);
    });
  }

  #ask(order: (ask: number) => Order): Promise<OpenSockets | undefined> {
    if (this.#stopped) return Promise.resolve(undefined);
    this.#asked += 1;
    const ask = this.#asked;
    return new Promise((resolve, reject) => {
      this.#asks.set(ask, { resolve, reject, order: order(ask) });
      this.#send(order(ask));
    });
  }

  #send(...orders: readonly Order[]): void {
    if (this.#stopped) return;
    for (const order of orders) this.#port?.postMessage(order);
    this.#wakeThread();
  }

  #wakeThread(): void { if (this.#wake !== undefined) writeSync(this.#wake, this.#wakeUp); }

  #hear(report: Report): void {
    switch (report.kind) {
      case "ready":
        this.#wake = report.wake;
        return this.#wakeThread();
      case "query":
        return this.#watchers.tell(report.line);
      case "opened":
        this.#open.set(report.sandbox, report.sockets);
        return this.#take(report.ask)?.resolve(report.sockets);
      case "closed":
        this.#open.delete(report.sandbox);
        this.#watchers.end(report.sandbox);
        return this.#take(report.ask)?.resolve(undefined);
      case "unheard":
        this.#unheard.add(report.sandbox);
        return this.#parts.lost?.();
      case "done":
        return this.#take(report.ask)?.resolve(undefined);
      case "failed":
        return this.#take(report.ask)?.reject(new OperatorError(report.code, report.message));
    }
  }

  #take(ask: number): Ask | undefined {
    const found = this.#asks.get(ask);
    this.#asks.delete(ask);
    return found;
  }
}

const portOf = ({ port, inode }: OpenSockets): DnsPort => ({ port, inode });
