/**
 * What surrounds the balancer and the balancer itself, in memory, with the refusals that the kernel has.
 *
 * Rule: a network's VIPs need the frame, a server needs its service; a service takes its servers along.
 */
import { OperatorError } from "../../src/core/errors.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import type { BalancerChange, BalancerState, SeenEntry } from "../../src/sinks/balancer.ts";
import type { VipChange, VipEntry, VipState } from "../../src/sinks/vip-table.ts";

export class FakeBalancing {
  readonly vips: Sink<VipState, VipChange>;
  readonly services: Sink<BalancerState, BalancerChange>;
  readonly entries = new Map<string, VipEntry>();
  readonly table = new Map<string, SeenEntry>();

  constructor() {
    this.vips = {
      observe: () => Promise.resolve({ entries: new Map(this.entries), faults: [] }),
      apply: async (changes) => { for (const change of changes) this.#vip(change); },
    };
    this.services = {
      observe: () => Promise.resolve(new Map(this.table)),
      apply: async (changes) => { for (const change of changes) this.#service(change); },
    };
  }

  gone(): void { this.entries.clear(); this.table.clear(); }

  #vip({ op, key, entry }: VipChange): void {
    if (op === "delete") this.entries.delete(key);
    else if (entry.kind !== "frame" && !this.entries.has("frame")) throw new OperatorError("not-found", `Cannot write ${key}: there is no frame`);
    else this.entries.set(key, entry);
  }

  #service({ op, key, entry }: BalancerChange): void {
    if (op === "delete") {
      for (const other of [...this.table.keys()]) if (other === key || other.startsWith(`${key}>`)) this.table.delete(other);
      return;
    }
    if (entry.kind === "server" && !this.table.has(entry.vip)) throw new OperatorError("not-found", `Cannot write ${key}: there is no such service`);
    this.table.set(key, entry.kind === "service" ? entry : { ...entry, connections: 0, drainingMs: 0 });
  }
}
