/**
 * Hands out pools and addresses to Docker: from memory where nobody else may hand out, by etcd transaction where others may.
 *
 * In:  IPAM calls, the newest snapshot.  Out: pools, addresses; grants to be mirrored.
 * Rule: an address is granted before it is answered, and mirrored before the answer leaves (design D2, D4).
 * Manager side (`G`) and node side (`L`) never share an address: service range here, node subnet there.
 */
import { isTaken, lastWord, nextAddress, recycle, sweep } from "./addresses.ts";
import { asksAgain, type AddressBookPorts, type BindRequest, type PoolRequest } from "./address-ports.ts";
import { OperatorError } from "./errors.ts";
import { contains, prefixLength, sizeOf, type Cidr, type FlannelId, type Ipv4 } from "./ids.ts";
import { endpointAddresses, ipamReport, vipsListed, vipsOf } from "./ipam-report.ts";
import { Ledgers, type Ledger, type LedgerState } from "./ledger.ts";
import type { Pool, SubnetLease } from "./model.ts";
import { values } from "./precedence.ts";
import type { IpamAnswer } from "./state-answer.ts";
import { gatewayOf, ownLease, poolByCidr, poolByFlannelId } from "./select.ts";

export { asksAgain } from "./address-ports.ts";
export type { AddressBookPorts, BindRequest, Claims, OwnWrites, PoolRequest } from "./address-ports.ts";
export type { LedgerState } from "./ledger.ts";

/** Addresses at the start (network, gateway) and the end (broadcast) of a range that are never given to anybody. */
const EDGES = { first: 2, spare: 1 };
/** Shares of a range: told once above the first, forgotten below the second. */
const NEARLY_FULL = 0.8;
const EASED = 0.7;

export class AddressBook {
  readonly #ports: AddressBookPorts;
  readonly #ledgers: Ledgers;

  constructor(ports: AddressBookPorts, kept: LedgerState = {}) {
    this.#ports = ports;
    this.#ledgers = new Ledgers(kept);
  }

  /** Everything granted or resting, for the state file; ledgers of networks that are over go first. */
  state(): LedgerState {
    this.#forget();
    return this.#ledgers.state();
  }

  /** Manager side: a range for a new network, or the same again for a known one. */
  async managerPool(request: PoolRequest): Promise<Pool> {
    const known = this.#known(request);
    if (known !== undefined && (request.replay || asksAgain(request, known))) return known;
    const pool = await this.#ports.claims.claimPool(request);
    this.#ports.own.wrotePool(pool);
    await this.#ports.save();
    return pool;
  }

  async bind(request: BindRequest): Promise<Pool> {
    const known = poolByCidr(this.#ports.snapshot(), request.cidr);
    if (known?.network === request.network && known.vni !== undefined) return known;
    const pool = await this.#ports.claims.bindPool(request);
    this.#ports.own.wrotePool(pool);
    this.#ports.emit("pool.bound", { cidr: pool.cidr, flannelId: pool.flannelId, network: request.network, vni: pool.vni ?? 0 });
    await this.#ports.save();
    return pool;
  }

  /** Swarm has freed the network. */
  async free(pool: Pool): Promise<void> {
    this.#ports.own.wrotePool(await this.#ports.claims.releasePool(pool));
  }

  /** Swarm gives a range back that no network was bound to: its network was refused half-way, as over a bad `--opt`. */
  async abandon(id: FlannelId): Promise<void> {
    const pool = poolByFlannelId(this.#ports.snapshot(), id);
    if (pool !== undefined && pool.network === undefined) await this.free(pool);
  }

  /** Node side: the range of a network and this node's lease in it. */
  async nodePool(request: PoolRequest): Promise<Pool> {
    const pool = this.#known(request) ?? (request.cidr === undefined ? undefined : await this.#ports.claims.findPool(request.cidr));
    if (pool === undefined) {
      throw new OperatorError("not-found", `Cannot open network ${request.cidr ?? "without range"}: no pool of that range is known`, {
        cure: "Create the network with --ipam-driver of this plugin as well, on a manager whose plugin reaches etcd",
      });
    }
    await this.#lease(pool);
    return pool;
  }

  async #lease(pool: Pool): Promise<SubnetLease> {
    const snapshot = this.#ports.snapshot();
    const held = ownLease(snapshot, pool);
    if (held !== undefined) return held;
    const publicIp = snapshot.node.underlay?.address;
    if (publicIp === undefined) {
      throw new OperatorError("unavailable", `Cannot take part in network ${pool.cidr}: no underlay address is known`, {
        cure: "Name the link between the nodes with DEFAULT_FLANNEL_OPTIONS=-iface=…",
      });
    }
    const lease = await this.#ports.claims.claimLease(pool, publicIp);
    this.#ports.own.wroteLease(lease);
    this.#ports.own.wrotePool(pool);
    this.#ports.emit("lease.claimed", { flannelId: pool.flannelId, subnet: lease.subnet });
    return lease;
  }

  /** Manager side: VIP, placeholder or gateway, `a.b.c.d/len` of the network. A given address is granted again without a question. */
  async managerAddress(id: FlannelId, { address, gateway }: { readonly address?: Ipv4; readonly gateway: boolean }): Promise<`${Ipv4}/${number}`> {
    const pool = this.#pool(id);
    const ledger = this.#ledgers.of("G", id);
    const now = this.#ports.now();
    if (address !== undefined && !contains(pool.serviceRange, address)) {
      throw new OperatorError("invalid", `Cannot reserve ${address}: VIPs and gateways of this network come from ${pool.serviceRange}, containers from their node's subnet`, {
        cure: "Leave --ip and --gateway out, or choose an address of that range",
      });
    }
    const granted = address ?? (gateway ? gatewayOf(pool.serviceRange) : this.#nextManager(pool, ledger, now));
    ledger.grants.set(granted, { address: granted, owner: gateway ? "gateway" : "swarm", grantedAtMs: now });
    this.#ports.own.granted(this.#ledgers.shared());
    await this.#ports.save();
    return `${granted}/${prefixLength(pool.cidr)}`;
  }

  #nextManager(pool: Pool, ledger: Ledger, now: number): Ipv4 {
    const vips = vipsOf(this.#ports.snapshot());
    this.#refreshManager(pool, ledger, now);
    const taken = (address: Ipv4): boolean => vips.has(address) || isTaken(ledger.grants.get(address), now);
    return this.#next(pool.serviceRange, ledger, taken, "Raise SERVICE_RANGE_SIZE for new networks, or remove services of this one");
  }

  /** Node side: this node's gateway, or a container's address, with the prefix length of the node's subnet. */
  async nodeAddress(id: FlannelId, request: { readonly gateway: boolean; readonly owner: string }): Promise<`${Ipv4}/${number}`> {
    const pool = this.#pool(id);
    const { subnet } = await this.#lease(pool);
    if (request.gateway) return `${gatewayOf(subnet)}/${prefixLength(subnet)}`;
    const ledger = this.#ledgers.of("L", id);
    const now = this.#ports.now();
    const used = endpointAddresses(this.#ports.snapshot());
    this.#refreshNode(ledger, now);
    const taken = (address: Ipv4): boolean => used.has(address) || isTaken(ledger.grants.get(address), now);
    const address = this.#next(subnet, ledger, taken, "Choose a larger node subnet (smaller DEFAULT_HOST_SUBNET_SIZE) for new networks, or run fewer containers per node");
    ledger.grants.set(address, { address, owner: request.owner, grantedAtMs: now });
    await this.#ports.save();
    return `${address}/${prefixLength(subnet)}`;
  }

  #next(range: Cidr, ledger: Ledger, taken: (address: Ipv4) => boolean, cure: string): Ipv4 {
    const address = nextAddress(range, EDGES, ledger.last, taken);
    if (address === undefined) {
      const reason = `all ${[...ledger.grants.values()].length} addresses of ${range} are in use or resting`;
      this.#ports.emit("address.exhausted", { range, reason, cure });
      throw new OperatorError("exhausted", `Cannot give an address of ${range}: ${reason}`, { cure });
    }
    ledger.last = address;
    this.#warn(range, ledger, cure);
    return address;
  }

  #warn(range: Cidr, ledger: Ledger, cure: string): void {
    const capacity = sizeOf(range) - EDGES.first - EDGES.spare;
    const held = ledger.grants.size + 1;
    if (ledger.nearlyFull !== true && held >= capacity * NEARLY_FULL) this.#ports.emit("address.nearly-full", { range, held, capacity, cure });
    ledger.nearlyFull = held >= capacity * (ledger.nearlyFull === true ? EASED : NEARLY_FULL);
  }

  /** What an earlier leader granted or let rest comes first; then what nobody has any more begins to rest (design D2). */
  #refreshManager({ flannelId }: Pool, ledger: Ledger, now: number): void {
    const snapshot = this.#ports.snapshot();
    for (const [key, { value }] of snapshot.grants.facts) {
      const own = ledger.grants.get(value.address);
      if (key === `${flannelId}/${value.address}` && (own === undefined || lastWord(own) < lastWord(value))) ledger.grants.set(value.address, value);
    }
    if (vipsListed(snapshot)) ledger.grants = new Map(recycle(ledger.grants, vipsOf(snapshot), now));
  }

  #refreshNode(ledger: Ledger, now: number): void {
    const { endpoints } = this.#ports.snapshot();
    ledger.grants = new Map(sweep(ledger.grants, endpointAddresses(this.#ports.snapshot()), endpoints.settled, now));
  }

  report(): IpamAnswer {
    this.#forget();
    return ipamReport({ ...this.#ports.snapshot(), nowMs: this.#ports.now() }, this.#ledgers.state());
  }

  /** What is leaked begins to rest; answers what was found. */
  async fix(): Promise<IpamAnswer> {
    const found = this.report();
    const snapshot = this.#ports.snapshot();
    const now = this.#ports.now();
    for (const pool of values(snapshot.pools)) {
      const [shared, own] = [this.#ledgers.find("G", pool.flannelId), this.#ledgers.find("L", pool.flannelId)];
      if (shared !== undefined) this.#refreshManager(pool, shared, now);
      if (own !== undefined) this.#refreshNode(own, now);
    }
    this.#ports.own.granted(this.#ledgers.shared());
    await this.#ports.save();
    return found;
  }

  /** Under `L` the address rests from now on; under `G` swarm's word is a hint, the listing decides (design D2). */
  async release(side: "manager" | "node", id: FlannelId, address: Ipv4): Promise<void> {
    if (side === "manager") return;
    const ledger = this.#ledgers.find("L", id);
    const grant = ledger?.grants.get(address);
    if (ledger === undefined || grant === undefined || grant.releasedAtMs !== undefined) return;
    ledger.grants.set(address, { ...grant, releasedAtMs: this.#ports.now() });
    await this.#ports.save();
  }

  /** A pool that goes while Docker still has its network was lost, not given back: then nothing is dropped (design D15). */
  #forget(): void {
    const { pools, networks, endpoints } = this.#ports.snapshot();
    const known = new Set<string>(values(pools).flatMap((pool) => pool.network ?? []));
    const alive = [...values(networks).map((network) => network.id), ...values(endpoints).map((endpoint) => endpoint.network)];
    if (!pools.settled || !endpoints.settled || alive.some((network) => !known.has(network))) return;
    const keep = new Set<string>(values(pools).map((pool) => pool.flannelId));
    this.#ledgers.keepOnly(keep);
  }

  #known({ flannelId, cidr }: PoolRequest): Pool | undefined {
    const snapshot = this.#ports.snapshot();
    const pool = flannelId === undefined ? undefined : poolByFlannelId(snapshot, flannelId);
    return pool ?? (cidr === undefined ? undefined : poolByCidr(snapshot, cidr));
  }

  #pool(id: FlannelId): Pool {
    const pool = poolByFlannelId(this.#ports.snapshot(), id);
    if (pool !== undefined) return pool;
    throw new OperatorError("not-found", `Cannot give an address of network ${id}: its pool is not known here`, {
      cure: "Check that the plugin reaches etcd (flannel-np status); Docker asks again by itself",
    });
  }
}
