/**
 * The DNS servers of this node's sandboxes: their sockets, the redirection inside each sandbox, and the table they answer from.
 *
 * In:  `DnsChange`s.  Out: `DnsState`: namespaces that exist, sandboxes that are served, whether queries reach us there.
 * Rule: the table holds before a sandbox is opened, the sockets listen before queries are turned to them. Sockets are closed whenever a
 *       sandbox is left: they would keep its namespace alive. What of the redirection was seen right is looked at again when a datagram
 *       from inside does not reach us, and in turn, one sandbox each few seconds: a look costs a process.
 */
import { asOperatorError, type OperatorError } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import type { NetnsPath } from "../core/ids.ts";
import type { Change } from "../core/plan.ts";
import type { Sink } from "../core/reconciler.ts";
import type { DnsServing } from "./dns/serve.ts";
import { forgetFlows, giveBack, isTakenOver, takeOver } from "./dns/takeover.ts";
import type { DnsTable } from "./dns/vocabulary.ts";
import type { Exec } from "./exec.ts";
import { namespacesIn } from "./namespaces.ts";

export interface ServedSandbox { readonly inode: bigint; readonly port: number; readonly redirected: boolean }
export interface SharedName { readonly network: string; readonly name: string; readonly services: readonly string[] }

export interface DnsState {
  /** As last set by us; nobody else can. */
  readonly table: DnsTable | undefined;
  /** Sandbox → inode of its network namespace. */
  readonly namespaces: ReadonlyMap<string, bigint>;
  readonly served: ReadonlyMap<string, ServedSandbox>;
  /** Names that several services claim, as told so far. */
  readonly shared: ReadonlySet<string>;
}

export type DnsChange =
  | (Change & { readonly op: "create" | "update"; readonly table: DnsTable })
  | (Change & { readonly op: "create" | "update"; readonly shared: { readonly key: string; readonly name?: SharedName } })
  /** `flush`: its programs may have asked Docker's resolver before. */
  | (Change & { readonly op: "create" | "update"; readonly sandbox: string; readonly flush: boolean })
  | (Change & { readonly op: "delete"; readonly sandbox: string });

export interface DnsParts {
  readonly serving: Pick<DnsServing, "open" | "close" | "observe" | "setTable" | "unheard">;
  readonly exec: Exec;
  /** Docker's directory of network namespaces, as seen from here. */
  readonly directory: string;
  readonly emit: Emit;
  readonly now: () => number;
}

const AT_ONCE = 4;
const LOOK_MS = 3_000;

export const dnsSink = (parts: DnsParts): Sink<DnsState, DnsChange> => new Sandboxes(parts);

class Sandboxes implements Sink<DnsState, DnsChange> {
  readonly #parts: DnsParts;
  #table: DnsTable | undefined;
  readonly #shared = new Set<string>();
  /** Sandbox → inode and port it was redirected with. In order of the last look. */
  readonly #redirected = new Map<string, string>();
  #lookedMs = 0;

  constructor(parts: DnsParts) { this.#parts = parts; }

  async observe(signal: AbortSignal): Promise<DnsState> {
    const namespaces = namespacesIn(this.#parts.directory);
    const open = this.#parts.serving.observe();
    await this.#lookAgain(namespaces, open, signal);
    const served = new Map([...open].map(([sandbox, { port, inode }]) =>
      [sandbox, { port, inode, redirected: this.#redirected.get(sandbox) === `${inode} ${port}` }]));
    return { table: this.#table, namespaces, served, shared: new Set(this.#shared) };
  }

  async apply(changes: readonly DnsChange[], signal: AbortSignal): Promise<void> {
    const works: (() => Promise<void>)[] = [];
    for (const change of changes) {
      if ("table" in change) this.#setTable(change.table);
      else if ("shared" in change) this.#tell(change.shared);
      else if (change.op === "delete") works.push(() => this.#leave(change.sandbox, signal));
      else works.push(() => this.#serve(change.sandbox, change.flush, signal));
    }
    const failures: OperatorError[] = [];
    const queue = works[Symbol.iterator]();
    const worker = async (): Promise<void> => {
      for (const work of queue) await work().catch((error: unknown) => { failures.push(asOperatorError(error)); });
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (failures[0] !== undefined) throw failures[0];
  }

  #setTable(table: DnsTable): void {
    this.#parts.serving.setTable(table);
    this.#table = table;
  }

  #tell({ key, name }: { readonly key: string; readonly name?: SharedName }): void {
    if (name === undefined) this.#shared.delete(key);
    else {
      this.#shared.add(key);
      this.#parts.emit("dns.name-shared", { network: name.network, name: name.name, services: name.services });
    }
  }

  async #serve(sandbox: string, flush: boolean, signal: AbortSignal): Promise<void> {
    const { serving, exec } = this.#parts;
    const netns = this.#netns(sandbox);
    const namespace = namespacesIn(this.#parts.directory).get(sandbox);
    // Ended since it was looked at: nothing is wrong.
    if (namespace === undefined) return this.#leave(sandbox, signal);
    if (serving.observe().get(sandbox)?.inode !== namespace) await serving.close(sandbox);
    try {
      const { port, inode } = await serving.open(sandbox, netns);
      await takeOver(exec, netns, port, signal);
      if (flush) await forgetFlows(exec, netns, signal);
      this.#redirected.set(sandbox, `${inode} ${port}`);
    } catch (error) {
      if (namespacesIn(this.#parts.directory).has(sandbox)) throw error;
      await this.#leave(sandbox, signal);
    }
  }

  async #leave(sandbox: string, signal: AbortSignal): Promise<void> {
    this.#redirected.delete(sandbox);
    await this.#parts.serving.close(sandbox);
    if (!namespacesIn(this.#parts.directory).has(sandbox)) return;
    await giveBack(this.#parts.exec, this.#netns(sandbox), signal).catch((error: unknown) => {
      if (namespacesIn(this.#parts.directory).has(sandbox)) throw error;
    });
  }

  /** Those that were not reached from inside; else, now and then, the one that was not looked at for longest. */
  async #lookAgain(namespaces: ReadonlyMap<string, bigint>, open: ReadonlyMap<string, { readonly port: number }>, signal: AbortSignal): Promise<void> {
    for (const sandbox of this.#redirected.keys()) if (!open.has(sandbox)) this.#redirected.delete(sandbox);
    const doubtful = this.#parts.serving.unheard().filter((sandbox) => this.#redirected.has(sandbox) && namespaces.has(sandbox));
    const now = this.#parts.now();
    const due = doubtful.length === 0 && now - this.#lookedMs >= LOOK_MS ? [...this.#redirected.keys()].find((sandbox) => namespaces.has(sandbox)) : undefined;
    if (due !== undefined) this.#lookedMs = now;
    for (const sandbox of due === undefined ? doubtful : [due]) await this.#look(sandbox, open.get(sandbox)?.port, signal);
  }

  /** What is not right any more is made anew by the next plan. */
  async #look(sandbox: string, port: number | undefined, signal: AbortSignal): Promise<void> {
    const made = this.#redirected.get(sandbox) ?? "";
    this.#redirected.delete(sandbox);
    const right = port !== undefined && await isTakenOver(this.#parts.exec, this.#netns(sandbox), port, signal).catch((error: unknown) => {
      this.#redirected.set(sandbox, made);
      if (namespacesIn(this.#parts.directory).has(sandbox)) throw error;
      return true;
    });
    if (right) this.#redirected.set(sandbox, made);
  }

  #netns(sandbox: string): NetnsPath { return `${this.#parts.directory}/${sandbox}` as NetnsPath; }
}
