/**
 * Our nft table in memory: networks, and what somebody did to it by hand.
 *
 * Rule: nft refuses a table whose chain has an unusable name or whose links overlap; so does this one.
 */
import { OperatorError } from "../../src/core/errors.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import type { IsolatedNetwork, NftTableChange, ObservedNftTable } from "../../src/sinks/nft-table.ts";

export class FakeNft {
  readonly table: Sink<ObservedNftTable, NftTableChange>;
  #networks: readonly IsolatedNetwork[] = [];
  #faults: readonly string[] = [];

  constructor() {
    this.table = {
      observe: () => Promise.resolve({ networks: this.#networks, faults: this.#faults }),
      apply: (changes) => {
        const last = changes.at(-1);
        if (last === undefined) return Promise.resolve();
        if (new Set(last.table.networks.map(({ vethPrefix }) => vethPrefix)).size < last.table.networks.length) {
          return Promise.reject(new OperatorError("unavailable", "Cannot write the nft table fnp: conflicting intervals specified"));
        }
        [this.#networks, this.#faults] = [last.table.networks, []];
        return Promise.resolve();
      },
    };
  }

  /** What `nft delete table` or `nft flush ruleset` does. */
  gone(): void { [this.#networks, this.#faults] = [[], []]; }
  /** A change inside the table, in the words in which it is observed. */
  disturbed(fault: string): void { this.#faults = [...this.#faults, fault]; }
}
