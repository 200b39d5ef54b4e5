/**
 * One flanneld per network: its process, the vxlan device it adopts, the peers' rows until it takes over.
 *
 * In:  changes per network (carry, drop) and per peer.  Out: per network what runs, the device, the subnet file, the rows.
 * Rule: a device is touched only while no flanneld of its network runs (it would make another one, without peers);
 *       everything stays in the kernel when a process ends, so a restart is the universal repair and loses no packet.
 */
import type { FlannelId } from "../core/ids.ts";
import type { Sink } from "../core/reconciler.ts";
import type { Exec } from "./exec.ts";
import { Carrier } from "./flanneld/carrier.ts";
import { Fleet, type FleetOptions } from "./flanneld/fleet.ts";
import { carriedHere, observeAll } from "./flanneld/observe.ts";
import { Rows } from "./flanneld/rows.ts";
import type { FlanneldChange, FlanneldTable } from "./flanneld/vocabulary.ts";

export type {
  CarryChange, DropChange, FlanneldChange, FlanneldSpec, FlanneldTable, ObservedFlanneld, Peer, PeerRemains, PeerRemoveChange,
  PeerWriteChange, RunningFlanneld, SubnetFile, VxlanDevice,
} from "./flanneld/vocabulary.ts";
export type { EtcdAccess } from "./flanneld/command.ts";

export interface FlanneldOptions extends FleetOptions {
  readonly exec: Exec;
  /** How long one `apply` waits for the flannelds it started to hold their leases, ms; with etcd down none will. */
  readonly readyMs?: number;
}

export interface FlanneldSink extends Sink<FlanneldTable, FlanneldChange> {
  /** Networks of which a process or a device is left here. */
  carried(signal: AbortSignal): Promise<ReadonlySet<FlannelId>>;
  /** Ends all processes and touches nothing else: the data plane stays. */
  close(): Promise<void>;
}

const READY_MS = 2_000;

export function flanneldSink(options: FlanneldOptions): FlanneldSink {
  const fleet = new Fleet(options);
  const rows = new Rows(options.exec, options.netns);
  const carrier = new Carrier(fleet, rows, options.directory, options.readyMs ?? READY_MS);
  return {
    carried: (signal) => carriedHere(fleet, rows, options.directory, signal),
    observe: (signal) => observeAll(fleet, rows, options.directory, signal),
    apply: (changes, signal) => carrier.apply(changes, signal),
    close: () => fleet.close(),
  };
}
