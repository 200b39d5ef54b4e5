/**
 * The table as the answering thread holds it: parts are collected, a commit makes them true all at once.
 *
 * In:  orders.  Out: after a commit, the table; nothing before it.
 * Rule: an answer never mixes two tables, and a zone that is half read is not asked.
 */
import type { Ipv4, NetworkId } from "../../core/ids.ts";
import type { LookupTable } from "./lookup.ts";
import type { Order, ZonePart } from "./messages.ts";
import type { DnsName, DnsSandbox, DnsService, DnsZone } from "./vocabulary.ts";

interface Zone extends DnsZone {
  readonly names: Map<string, DnsName>;
  readonly pointers: Map<Ipv4, string>;
  readonly services: Map<string, readonly DnsService[]>;
}
type TableOrder = Extract<Order, { kind: "zone" | "sandboxes" | "commit" }>;

const NO_TEXTS: readonly string[] = [];

export class StagedTable {
  #zones = new Map<NetworkId, Zone>();
  #sandboxes = new Map<string, DnsSandbox>();
  /** New zones are filled aside; changes of known ones wait. */
  #fresh = new Map<NetworkId, Zone>();
  #waiting: (() => void)[] = [];

  /** The table after a commit, undefined after any other order. */
  take(order: TableOrder): { readonly table: LookupTable; readonly sandboxes: ReadonlyMap<string, DnsSandbox> } | undefined {
    if (order.kind === "zone") this.#zone(order.part);
    else if (order.kind === "sandboxes") this.#waiting.push(() => this.#listSandboxes(order));
    else return this.#commit(order);
    return undefined;
  }

  #zone(part: ZonePart): void {
    const { network, name, ttlSeconds } = part;
    if (part.fresh) this.#fresh.set(network, { network, name, ttlSeconds, names: new Map(), pointers: new Map(), services: new Map() });
    const filling = this.#fresh.get(network);
    if (filling !== undefined) enter(filling, part);
    else this.#waiting.push(() => {
      const known = this.#zones.get(network);
      if (known === undefined) return;
      this.#zones.set(network, { ...known, name, ttlSeconds });
      enter(known, part);
    });
  }

  #listSandboxes({ fresh, set, gone }: Extract<TableOrder, { kind: "sandboxes" }>): void {
    if (fresh) this.#sandboxes.clear();
    for (const sandbox of gone) this.#sandboxes.delete(sandbox);
    for (const sandbox of set) this.#sandboxes.set(sandbox.sandbox, sandbox);
  }

  #commit({ mode, ranges, zonesGone }: Extract<TableOrder, { kind: "commit" }>): { table: LookupTable; sandboxes: ReadonlyMap<string, DnsSandbox> } {
    for (const act of this.#waiting) act();
    this.#waiting = [];
    for (const network of zonesGone) this.#zones.delete(network);
    for (const [network, zone] of this.#fresh) this.#zones.set(network, zone);
    this.#fresh.clear();
    return { table: { mode, ranges, zones: this.#zones }, sandboxes: this.#sandboxes };
  }
}

function enter(zone: Zone, { names, pointers, services }: ZonePart): void {
  for (const [name, addresses, texts] of names) {
    if (addresses === null) zone.names.delete(name);
    else zone.names.set(name, { addresses, texts: texts === undefined || texts.length === 0 ? NO_TEXTS : texts });
  }
  for (const [address, target] of pointers) {
    if (target === null) zone.pointers.delete(address);
    else zone.pointers.set(address, target);
  }
  for (const [name, list] of services) {
    if (list === null) zone.services.delete(name);
    else zone.services.set(name, list);
  }
}
