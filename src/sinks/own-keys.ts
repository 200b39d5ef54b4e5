/**
 * What becomes of this node's keys when its process or its membership ends (design D15).
 *
 * In:  the node's id, what it would go on saying.  Out: keys on a maintenance lease, or gone.
 * Rule: the next process takes the keys over by writing them again, so they never vanish in between. A farewell takes the
 * containers first: whoever sees the record go holds on to nothing.
 */
import type { NodeId } from "../core/ids.ts";
import type { Container, NodeRecord } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { encodeContainer, encodeNode } from "../core/records.ts";
import { MAX_TXN_OPS, type EtcdClient, type TxnOp } from "../core/store.ts";

/** Longer than an upgrade takes. */
export const MAINTENANCE_SECONDS = 900;

export interface OwnKeysOptions { readonly client: Pick<EtcdClient, "grantLease" | "txn">; readonly keys: Keys }

/** Keys of containers that are not named stay on the node's short lease. Rejects when etcd does not answer. */
export async function rest({ client, keys }: OwnKeysOptions, record: NodeRecord, containers: readonly Container[]): Promise<void> {
  const lease = await client.grantLease(MAINTENANCE_SECONDS);
  const put = (key: string, value: string): TxnOp => ({ do: "put", key, value, lease });
  const ops = [
    put(keys.node(record.id), encodeNode({ ...record, maintenance: true }, record.id)),
    ...containers.map((container) => put(keys.nodeContainer(record.id, container.id), encodeContainer(container, record.id))),
  ];
  for (let n = 0; n < ops.length; n += MAX_TXN_OPS) await client.txn({ compare: [], success: ops.slice(n, n + MAX_TXN_OPS) });
}

/** The node is no longer of that name: it left its swarm, or joined another. */
export async function farewell({ client, keys }: OwnKeysOptions, id: NodeId): Promise<void> {
  await client.txn({ compare: [], success: [{ do: "deletePrefix", key: keys.nodeContainers(id) }] });
  await client.txn({ compare: [], success: [{ do: "delete", key: keys.node(id) }] });
}
