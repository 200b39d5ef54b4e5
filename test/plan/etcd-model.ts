/** etcd as the planners' tests see it: conditions are checked, revisions count on. */
import type { EtcdChange, EtcdEntry, EtcdTable } from "../../src/sinks/etcd.ts";
import type { Compare } from "../../src/core/store.ts";

export const entry = (value: string, modRevision = 1n, leased = false): EtcdEntry => ({ value, modRevision, leased });

function holds({ key, prefix, target, op, value }: Compare, table: EtcdTable): boolean {
  if (op !== "=" || target === "version") throw new Error(`the model knows no ${target} ${op}`);
  const keys = prefix === true ? [...table.keys()].filter((other) => other.startsWith(key)) : [key];
  return keys.every((one) => {
    const revision = table.get(one)?.modRevision ?? 0n;
    return target === "create" ? (value === 0) === !table.has(one) : revision === BigInt(value);
  });
}

/** Throws on a change whose conditions do not hold, on a write without any, and on two changes of one key. */
export function applyToEtcd(table: EtcdTable, changes: readonly EtcdChange[]): EtcdTable {
  const next = new Map(table);
  let revision = [...table.values()].reduce((most, { modRevision }) => (modRevision > most ? modRevision : most), 1n);
  for (const { key, compare, ops } of changes) {
    if (compare.length === 0) throw new Error(`${key} is written without a condition`);
    const failed = compare.find((condition) => !holds(condition, table));
    if (failed !== undefined) throw new Error(`${key}: ${failed.key} is not as read`);
    for (const op of ops) {
      revision += 1n;
      if (op.do === "put") next.set(op.key, entry(op.value, revision));
      else if (op.do === "putLeased") next.set(op.key, entry(op.value, revision, true));
      else if (op.do === "delete") next.delete(op.key);
      else if (op.do === "deletePrefix") for (const other of [...next.keys()]) if (other.startsWith(op.key)) next.delete(other);
    }
  }
  return next;
}
