/**
 * DNS of one node in memory: namespaces as Docker makes them, who is served in them, the table.
 *
 * Rule: servers and table end with the operator's process, namespaces do not.
 */
import { OperatorError } from "../../src/core/errors.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import type { DnsChange, DnsState, ServedSandbox } from "../../src/sinks/dns.ts";

export class FakeDns implements Sink<DnsState, DnsChange> {
  readonly namespaces = new Map<string, bigint>();
  table: DnsState["table"];
  readonly served = new Map<string, ServedSandbox>();
  readonly #shared = new Set<string>();
  #inodes = 0n;

  observe(): Promise<DnsState> {
    return Promise.resolve({ table: this.table, namespaces: new Map(this.namespaces), served: new Map(this.served), shared: new Set(this.#shared) });
  }

  apply(changes: readonly DnsChange[]): Promise<void> {
    for (const change of changes) {
      if ("table" in change) this.table = change.table;
      else if ("shared" in change) this.#share(change.shared);
      else if (change.op === "delete") this.served.delete(change.sandbox);
      else this.#serve(change.sandbox);
    }
    return Promise.resolve();
  }

  appear(sandbox: string): void {
    this.#inodes += 1n;
    this.namespaces.set(sandbox, this.#inodes);
  }

  ended(): void {
    this.table = undefined;
    this.served.clear();
    this.#shared.clear();
  }

  #share({ key, name }: { readonly key: string; readonly name?: unknown }): void {
    if (name === undefined) this.#shared.delete(key);
    else this.#shared.add(key);
  }

  #serve(sandbox: string): void {
    if (this.table === undefined) throw new OperatorError("bug", `Cannot serve ${sandbox}: there is no table yet`);
    const inode = this.namespaces.get(sandbox);
    if (inode === undefined) this.served.delete(sandbox);
    else this.served.set(sandbox, { inode, port: 5_000, redirected: true });
  }
}
