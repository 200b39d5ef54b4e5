/**
 * The words of the flanneld facility: what may be wanted, what is seen, what can be done.
 *
 * Rule: one entry per network, its key is the flannel-id; nothing here says how.
 */
import type { Cidr, FlannelId, Ipv4, Mac, Vni } from "../../core/ids.ts";
import type { Change } from "../../core/plan.ts";

/** One network on this node as its flanneld is to carry it. */
export interface FlanneldSpec {
  readonly flannelId: FlannelId;
  readonly vni: Vni;
  /** This node's part of the network; its first address is the device's /32. */
  readonly subnet: Cidr;
  readonly network: Cidr;
  /** Identity of the lease and source address of the tunnel. */
  readonly publicIp: Ipv4;
  /** Name of the underlay interface. */
  readonly link: string;
  /** MTU of the underlay (or flannel's `Backend.MTU`); a vxlan device gets 50 bytes less. */
  readonly mtuBytes: number;
  /** flannel's `Backend.Type`, lower case. A device is made before the start only for "vxlan". */
  readonly backendType: string;
  /** UDP port of the tunnel; the kernel's 8472 when absent. */
  readonly port?: number;
  /** flannel's `Backend.GBP` and `Backend.Learning`, false when absent. */
  readonly gbp?: boolean;
  readonly learning?: boolean;
  /** The stable MAC of the vxlan device. */
  readonly mac: Mac;
  /** The user's flags that reach flanneld unchanged; ours come after them and win. */
  readonly extraFlags: readonly string[];
  /** flannel's `EnableNFTables`; flanneld reads its configuration only at its start, so a change of it means a restart. */
  readonly nftables?: boolean;
}

/** The vxlan device `flannel.<VNI>` as the kernel shows it. */
export interface VxlanDevice {
  readonly ifindex: number;
  readonly mac: Mac;
  readonly mtuBytes: number;
  readonly vni: Vni;
  readonly up: boolean;
  /** IPv4 with prefix length, as the kernel spells it: `10.1.2.0/32`. */
  readonly addresses: readonly string[];
  readonly local?: Ipv4;
  readonly port: number;
  /** Name of the underlay interface; absent when that one is gone. */
  readonly link?: string;
  readonly gbp: boolean;
  readonly learning: boolean;
}

export interface SubnetFile { readonly network: Cidr; readonly subnet: Cidr; readonly mtuBytes: number }

/** Another node's rows: route, neighbour and fdb entry on the device; without a MAC one direct route on the underlay. */
export interface Peer { readonly subnet: Cidr; readonly publicIp: Ipv4; readonly mac?: Mac }

/** Rows on the device that make up no whole peer: what flanneld left behind, or what somebody took away from. */
export interface PeerRemains { readonly subnet?: Cidr; readonly gateway?: Ipv4; readonly mac?: Mac; readonly publicIp?: Ipv4 }

export interface RunningFlanneld {
  readonly pid: number;
  readonly startedAtMs: number;
  /** What it was started with; other than wanted → update. */
  readonly spec: FlanneldSpec;
  /** It has written its subnet file in this life: it reached etcd and holds its lease. */
  readonly ready: boolean;
  /** A line after which it no longer does its work although it lives; present → update. */
  readonly complaint?: string;
}

/** An entry exists as soon as a process, a device or a subnet file of ours does. */
export interface ObservedFlanneld {
  readonly running?: RunningFlanneld;
  readonly device?: VxlanDevice;
  /** Survives restarts of flanneld and of the machine: current only when `running.ready`. */
  readonly subnetFile?: SubnetFile;
  readonly peers: readonly Peer[];
  readonly remains: readonly PeerRemains[];
}

export type FlanneldTable = ReadonlyMap<FlannelId, ObservedFlanneld>;

/** create, update: stop what runs, make the device as wanted (keep it if it can be kept), start. Key: flannel-id. */
export interface CarryChange extends Change { readonly op: "create" | "update"; readonly kind: "network"; readonly spec: FlanneldSpec }
/** Stop and wait for the end, then take away device, routes and subnet file. Key: flannel-id. */
export interface DropChange extends Change { readonly op: "delete"; readonly kind: "network"; readonly flannelId: FlannelId }
/** Writes all rows of a peer, replacing. `link` is needed where the peer has no MAC. Key: `<flannel-id>/<subnet>`. */
export interface PeerWriteChange extends Change {
  readonly op: "create" | "update"; readonly kind: "peer"; readonly flannelId: FlannelId; readonly vni: Vni;
  readonly peer: Peer; readonly link: string;
}
/** Removes rows; absent ones are no error. Key: `<flannel-id>/<subnet or any other name of the rows>`. */
export interface PeerRemoveChange extends Change {
  readonly op: "delete"; readonly kind: "peer"; readonly flannelId: FlannelId; readonly vni: Vni; readonly rows: Peer | PeerRemains;
}
export type FlanneldChange = CarryChange | DropChange | PeerWriteChange | PeerRemoveChange;
