/**
 * The entries that leases are made of, seen beside what this node still has of each network.
 *
 * In:  EtcdChange[].  Out: entries of pools, VNIs and networks; the flannel-ids of which a process or device is left here.
 * Rule: both are looked at in one observation, so that a lease is never given back on an old picture of the kernel.
 */
import type { FlannelId } from "../core/ids.ts";
import type { Sink } from "../core/reconciler.ts";
import type { EtcdChange, EtcdTable } from "./etcd.ts";
import type { FlanneldSink } from "./flanneld.ts";

export interface ObservedLeases {
  readonly entries: EtcdTable;
  /** Networks of which this node still has a process or a device. */
  readonly carried: ReadonlySet<FlannelId>;
}

export function leasesSink(entries: Sink<EtcdTable, EtcdChange>, flannel: Pick<FlanneldSink, "carried">): Sink<ObservedLeases, EtcdChange> {
  return {
    async observe(signal) {
      const [table, carried] = await Promise.all([entries.observe(signal), flannel.carried(signal)]);
      return { entries: table, carried };
    },
    apply: (changes, signal) => entries.apply(changes, signal),
  };
}
