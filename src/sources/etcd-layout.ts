/**
 * Whose data lies in etcd: a layout newer than ours, or one nobody can read, is neither understood nor written (design §6).
 *
 * In:  the record at `schema`.  Out: the reason not to touch anything, and a client whose transactions hold to it.
 * Rule: nothing is written before the layout was seen once, not even in the moments before the watch has listed.
 */
import { OperatorError } from "../core/errors.ts";
import type { Keys } from "../core/names.ts";
import { SCHEMA_VERSION } from "../core/records.ts";
import type { StoredItem } from "../core/store.ts";
import type { WatchingClient } from "./etcd-client.ts";
import { readRecord } from "./etcd-records.ts";

/** "unreadable": the record is there and says nothing we understand. */
export type Layout = number | "absent" | "unreadable";
export interface ForeignLayout { readonly reason: string; readonly cure: string }

/** Undefined for a layout that this operator may use. */
export function foreignLayout(layout: Layout): ForeignLayout | undefined {
  if (layout === "absent" || (layout !== "unreadable" && layout <= SCHEMA_VERSION)) return undefined;
  return { reason: `its layout is version ${layout}, this operator knows version ${SCHEMA_VERSION}`, cure: "Upgrade flannel-np on this node" };
}

function layoutOf(item: StoredItem | undefined): Layout {
  if (item === undefined) return "absent";
  const read = readRecord({ kind: "schema", key: "version" }, item.value);
  return "kind" in read && read.kind === "schema" ? read.value : "unreadable";
}

export interface GuardedClient {
  readonly client: WatchingClient;
  /** What the watch sees from now on; undefined: ours, or none yet. */
  readonly settle: (found: ForeignLayout | undefined) => void;
}

/** Transactions reject with `invalid` while the layout is not ours; leases and reads pass. */
export function guardLayout(client: WatchingClient, { schema }: Pick<Keys, "schema">): GuardedClient {
  let known: { readonly foreign: ForeignLayout | undefined } | undefined;
  const check = async (): Promise<void> => {
    known ??= { foreign: foreignLayout(layoutOf(await client.get(schema))) };
    if (known.foreign === undefined) return;
    throw new OperatorError("invalid", `Cannot write to etcd: ${known.foreign.reason}`, { cure: known.foreign.cure });
  };
  return {
    client: {
      range: (prefix) => client.range(prefix), get: (key) => client.get(key), watch: (prefix, from) => client.watch(prefix, from),
      grantLease: (ttlSeconds) => client.grantLease(ttlSeconds), keepAliveOnce: (id) => client.keepAliveOnce(id),
      revokeLease: (id) => client.revokeLease(id), close: () => { client.close(); },
      txn: async (txn) => { await check(); return client.txn(txn); },
    },
    settle: (foreign) => { known = { foreign }; },
  };
}
