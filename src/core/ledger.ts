/**
 * What this process has handed out and what rests, per side and network.
 *
 * In:  grants as the state file kept them.  Out: the same, and the service ranges' part for the mirror in etcd (design D2).
 * Rule: holds, decides nothing; when an address may come again is in addresses.ts.
 */
import type { Grant } from "./addresses.ts";
import type { FlannelId, Ipv4 } from "./ids.ts";

/** G: the manager's side (service range), L: this node's subnet. */
export type Side = "G" | "L";
export interface Ledger {
  grants: Map<string, Grant>;
  last?: Ipv4;
  /** True from four fifths full until well below. */
  nearlyFull?: boolean;
}
/** As the state file keeps it: side and flannel-id → grants. */
export type LedgerState = Readonly<Record<string, readonly Grant[]>>;

export class Ledgers {
  readonly #ledgers = new Map<string, Ledger>();

  constructor(kept: LedgerState) {
    for (const [key, grants] of Object.entries(kept)) this.#ledgers.set(key, { grants: new Map(grants.map((grant) => [grant.address, grant])) });
  }

  of(side: Side, id: FlannelId): Ledger {
    const key = `${side}:${id}`;
    const ledger = this.#ledgers.get(key) ?? { grants: new Map<string, Grant>() };
    this.#ledgers.set(key, ledger);
    return ledger;
  }

  find(side: Side, id: FlannelId): Ledger | undefined { return this.#ledgers.get(`${side}:${id}`); }

  state(): LedgerState {
    return Object.fromEntries([...this.#ledgers].map(([key, { grants }]) => [key, [...grants.values()]]));
  }

  keepOnly(ids: ReadonlySet<string>): void {
    for (const key of this.#ledgers.keys()) if (!ids.has(key.slice(2))) this.#ledgers.delete(key);
  }

  /** All service ranges, by `<flannel-id>/<address>`. */
  shared(): ReadonlyMap<string, Grant> {
    return new Map([...this.#ledgers].filter(([key]) => key.startsWith("G:"))
      .flatMap(([key, { grants }]) => [...grants.values()].map((grant) => [`${key.slice(2)}/${grant.address}`, grant] as const)));
  }
}
