/**
 * What the address book is asked, and what it needs of others: claims in etcd, the newest snapshot, a place to note its grants.
 *
 * Rule: types, and the one question both sides must answer alike.
 */
import type { Grant } from "./addresses.ts";
import type { Emit } from "./events.ts";
import type { Cidr, FlannelId, Ipv4, NetworkId } from "./ids.ts";
import type { Pool, Snapshot, SubnetLease } from "./model.ts";

export interface PoolRequest {
  readonly flannelId?: FlannelId;
  readonly cidr?: Cidr;
  readonly options: Readonly<Record<string, string>>;
  /** True when swarm says that it asks for what it was given before (a new leader): the answer must be the same again. */
  readonly replay: boolean;
}
/**
 * True when the request names a pool that is there. Swarm marks what it repeats only where the network has options (protocol §3.3);
 * a second network of this very range is told from a repetition when it is bound.
 */
export const asksAgain = ({ flannelId, cidr, replay }: PoolRequest, pool: Pool): boolean =>
  pool.cidr === cidr && (replay || (flannelId === undefined && pool.network !== undefined && pool.releasedAtMs === undefined));

export interface BindRequest { readonly network: NetworkId; readonly cidr: Cidr; readonly options: Readonly<Record<string, string>> }

/** Shared claims, each one etcd transaction. Rejects with `unavailable`, `conflict`, `exhausted`, `invalid`. */
export interface Claims {
  claimPool(request: PoolRequest): Promise<Pool>;
  findPool(cidr: Cidr): Promise<Pool | undefined>;
  bindPool(request: BindRequest): Promise<Pool>;
  claimLease(pool: Pool, publicIp: Ipv4): Promise<SubnetLease>;
  /** Notes that Docker gave the network up; nodes then give their leases back. */
  releasePool(pool: Pool): Promise<Pool>;
}

/** Own writes that the snapshot must show before etcd echoes them. */
export interface OwnWrites {
  wrotePool(pool: Pool): void;
  wroteLease(lease: SubnetLease): void;
  /** All service range grants, to be mirrored; nobody waits for it. */
  granted(grants: ReadonlyMap<string, Grant>): void;
}

export interface AddressBookPorts {
  readonly claims: Claims;
  readonly own: OwnWrites;
  readonly snapshot: () => Snapshot;
  /** Resolves when the grants are in the state file (or it is known that they cannot be). */
  readonly save: () => Promise<void>;
  readonly now: () => number;
  readonly emit: Emit;
}
