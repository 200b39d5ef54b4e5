/**
 * Claims on what all nodes share: pools, VNIs, node subnets. One etcd transaction each.
 *
 * In:  requests of the address book.  Out: the claimed record, or an OperatorError with the cure.
 * Rule: choose from a fresh listing, write on the condition that nothing of the kind was written since; a lost race is repeated.
 */
import { setTimeout as pause } from "node:timers/promises";
import { asksAgain, type BindRequest, type Claims, type PoolRequest } from "../core/address-book.ts";
import type { Emit } from "../core/events.ts";
import { OperatorError } from "../core/errors.ts";
import { newFlannelId, overlaps, parseCidr, type Cidr, type FlannelId, type Ipv4, type Vni } from "../core/ids.ts";
import type { Pool, SubnetLease } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { parseNetworkOptions, parsePoolOptions } from "../core/network-options.ts";
import { encodePool, encodeSubnetLease, stableJson } from "../core/records.ts";
import type { Compare, EtcdClient, Listing } from "../core/store.ts";
import { divide, fitsPool, flannelConfig, freeNodeSubnet, freePool, hostLengthFor, nodeSubnets } from "../core/subnets.ts";

export interface ClaimOptions {
  readonly client: EtcdClient;
  readonly keys: Keys;
  /** Ranges to choose from; "any" = 10.0.0.0/8. */
  readonly available: readonly Cidr[] | "any";
  readonly networkLength: number;
  readonly hostLength: number;
  readonly serviceAddresses: number;
  readonly vniStart: number;
  /** Ranges that nodes route elsewhere, or that Docker's other networks have; a network over them would cut those off. */
  readonly routes: () => Promise<readonly Cidr[]>;
  readonly decodePool: (key: string, value: string) => Pool | undefined;
  readonly decodeLease: (key: string, value: string) => SubnetLease | undefined;
  readonly owner: () => string;
  readonly now: () => number;
  readonly emit: Emit;
}

/** A lost race is repeated after a random pause of at most this: whoever lost it together must not meet again. */
const PAUSE_MS = 40;
/** Each round one claimer of a kind wins; managers and nodes that meet are far fewer. */
const TRIES = 60;
/** A network that is being made is bound this long after its range was claimed, at the latest. */
const BINDING_MS = 60_000;
const VNI_END = 10_000_000;

export class EtcdClaims implements Claims {
  readonly #o: ClaimOptions;
  /** Leases being claimed: two calls for one network must not end with two subnets. */
  readonly #leasing = new Map<FlannelId, Promise<SubnetLease>>();

  constructor(options: ClaimOptions) {
    this.#o = options;
  }

  async findPool(cidr: Cidr): Promise<Pool | undefined> {
    const item = await this.#o.client.get(this.#o.keys.pool(cidr));
    return item === undefined ? undefined : this.#o.decodePool(item.key, item.value);
  }

  claimPool(request: PoolRequest): Promise<Pool> {
    return this.#repeat(`a range for the network`, async () => {
      const { client, keys, emit } = this.#o;
      const listing = await client.range(keys.pools);
      const pools = this.#pools(listing);
      const known = this.#ofSameName(request, pools);
      if (known !== undefined) return known;
      const pool = await this.#newPool(request, pools, unreadable(keys.pools, listing, this.#o.decodePool));
      const inTheWay = pools.filter((other) => isAbandoned(other) && other.cidr !== pool.cidr && overlaps(other.cidr, pool.cidr));
      const { succeeded } = await client.txn({
        compare: [sinceThen(keys.pools, listing), { key: keys.config(pool.flannelId), target: "create", op: "=", value: 0 }],
        success: [
          ...inTheWay.map(({ cidr }) => ({ do: "delete", key: keys.pool(cidr) }) as const),
          { do: "put", key: keys.pool(pool.cidr), value: encodePool(pool, this.#o.owner()) },
        ],
      });
      if (!succeeded) return undefined;
      emit("pool.claimed", { cidr: pool.cidr, flannelId: pool.flannelId });
      return pool;
    });
  }

  /** The pool of the same flannel-id or, when swarm repeats itself, of the same range. */
  #ofSameName(request: PoolRequest, pools: readonly Pool[]): Pool | undefined {
    const { flannelId, cidr, replay } = request;
    const named = flannelId === undefined ? undefined : pools.find((pool) => pool.flannelId === flannelId);
    if (named !== undefined) {
      if (replay || (named.network === undefined && (cidr === undefined || cidr === named.cidr))) return named;
      throw new OperatorError("conflict", `Cannot use flannel-id ${named.flannelId}: the network of ${named.cidr} has it`, {
        cure: "Give every network a flannel-id of its own, or leave it out",
      });
    }
    return pools.find((pool) => asksAgain(request, pool));
  }

  async #newPool({ flannelId, cidr, options, replay }: PoolRequest, pools: readonly Pool[], others: readonly Cidr[]): Promise<Pool> {
    const wanted = parsePoolOptions(options);
    const young = this.#o.now() - BINDING_MS;
    const taken = pools.filter((pool) => !isAbandoned(pool) || pool.claimedAtMs > young).map((pool) => pool.cidr);
    const chosen = cidr ?? (await this.#free([...taken, ...others]));
    if (!replay) refuseOverlap(chosen, pools.filter((pool) => !isAbandoned(pool)), others);
    const hostLength = wanted.hostLength ?? (cidr === undefined ? this.#o.hostLength : hostLengthFor(cidr, this.#o.hostLength));
    const division = divide(chosen, hostLength, wanted.serviceAddresses ?? this.#o.serviceAddresses);
    return { flannelId: flannelId ?? newFlannelId(), cidr: chosen, ...division, claimedAtMs: this.#o.now() };
  }

  async #free(taken: readonly Cidr[]): Promise<Cidr> {
    const { available, networkLength } = this.#o;
    const ranges = available === "any" ? [parseCidr("10.0.0.0/8") as Cidr] : available;
    const routes = await this.#o.routes();
    const free = freePool(ranges, networkLength, [...taken, ...routes]);
    if (free !== undefined) return free;
    throw new OperatorError("exhausted", `Cannot find a free /${networkLength}: ${taken.length} networks and ${routes.length} other ranges of this node fill ${ranges.join(", ")}`, {
      cure: "Add ranges to AVAILABLE_SUBNETS, or remove networks",
    });
  }

  bindPool({ network, cidr, options }: BindRequest): Promise<Pool> {
    const wanted = parseNetworkOptions(options);
    return this.#repeat(`a VNI for network ${network}`, async () => {
      const { client, keys } = this.#o;
      const [listing, item] = await Promise.all([client.range(keys.vnis), client.get(keys.pool(cidr))]);
      const pool = item === undefined ? undefined : this.#o.decodePool(item.key, item.value);
      if (item === undefined || pool === undefined) {
        throw new OperatorError("not-found", `Cannot bind network ${network}: no pool of ${cidr} was requested from this driver`, {
          cure: "Create the network with --ipam-driver of this plugin as well",
        });
      }
      if (pool.network === network && pool.vni !== undefined) return pool;
      if (pool.network !== undefined) throw new OperatorError("conflict", `Cannot bind network ${network}: ${cidr} belongs to network ${pool.network}`, { cure: "Choose another --subnet, or leave it out" });
      const vni = freeVni(wanted.vni, this.#o.vniStart, new Set(listing.items.map(({ key }) => Number(key.slice(keys.vnis.length)))));
      const bound: Pool = { ...pool, network, vni, backend: wanted.backend.Type === "vxlan" ? { ...wanted.backend, VNI: vni } : wanted.backend };
      const { succeeded } = await client.txn({
        compare: [sinceThen(keys.vnis, listing), { key: item.key, target: "mod", op: "=", value: item.modRevision }],
        success: [
          { do: "put", key: keys.vni(vni), value: stableJson({ flannelId: pool.flannelId, network, owner: this.#o.owner() }) },
          { do: "put", key: keys.config(pool.flannelId), value: JSON.stringify(flannelConfig(bound)) },
          { do: "put", key: item.key, value: encodePool(bound, this.#o.owner()) },
        ],
      });
      return succeeded ? bound : undefined;
    });
  }

  releasePool(pool: Pool): Promise<Pool> {
    return this.#repeat(`the release of ${pool.cidr}`, async () => {
      const { client, keys } = this.#o;
      const item = await client.get(keys.pool(pool.cidr));
      const current = item === undefined ? undefined : this.#o.decodePool(item.key, item.value);
      if (item === undefined || current === undefined || current.network !== pool.network || current.releasedAtMs !== undefined) return current ?? pool;
      const released: Pool = { ...current, releasedAtMs: this.#o.now() };
      const { succeeded } = await client.txn({
        compare: [{ key: item.key, target: "mod", op: "=", value: item.modRevision }],
        success: [{ do: "put", key: item.key, value: encodePool(released, this.#o.owner()) }],
      });
      return succeeded ? released : undefined;
    });
  }

  claimLease(pool: Pool, publicIp: Ipv4): Promise<SubnetLease> {
    const begun = this.#leasing.get(pool.flannelId) ?? this.#claimLease(pool, publicIp).finally(() => this.#leasing.delete(pool.flannelId));
    this.#leasing.set(pool.flannelId, begun);
    return begun;
  }

  #claimLease(pool: Pool, publicIp: Ipv4): Promise<SubnetLease> {
    return this.#repeat(`a subnet of ${pool.cidr}`, async (n) => {
      const { client, keys } = this.#o;
      const [listing, item] = await Promise.all([client.range(keys.subnets(pool.flannelId)), client.get(keys.pool(pool.cidr))]);
      if (item === undefined) throw new OperatorError("not-found", `Cannot take part in network ${pool.cidr}: its pool was given back`);
      const leases = listing.items.map(({ key, value }) => this.#o.decodeLease(key, value)).filter((lease) => lease !== undefined);
      const mine = leases.find((lease) => lease.publicIp === publicIp && fitsPool(pool, lease.subnet));
      if (mine !== undefined) return mine;
      const held = new Set([...leases.map((lease) => lease.subnet), ...unreadable(keys.subnets(pool.flannelId), listing, this.#o.decodeLease)]);
      // Only the subnet itself must be free: a hundred nodes that start one service at once would else wait for each other.
      const subnet = freeNodeSubnet(pool, held, n === 0 ? 0 : Math.floor(Math.random() * nodeSubnets(pool)));
      if (subnet === undefined) {
        throw new OperatorError("exhausted", `Cannot take part in network ${pool.cidr}: all its ${nodeSubnets(pool)} node subnets of /${pool.hostSubnetLength} are held`, {
          cure: "Make the network anew with a larger --subnet, or smaller node subnets (--ipam-opt host-subnet-size=…)",
        });
      }
      const lease: SubnetLease = { flannelId: pool.flannelId, subnet, publicIp };
      const key = keys.subnet(pool.flannelId, subnet);
      const { succeeded } = await client.txn({
        compare: [{ key, target: "create", op: "=", value: 0 }, { key: item.key, target: "mod", op: "=", value: item.modRevision }],
        success: [{ do: "put", key, value: encodeSubnetLease(lease) }],
      });
      return succeeded ? lease : undefined;
    });
  }

  #pools({ items }: Listing): readonly Pool[] {
    return items.map(({ key, value }) => this.#o.decodePool(key, value)).filter((pool) => pool !== undefined);
  }

  /** Runs an attempt until it does not lose the race. */
  async #repeat<T>(what: string, attempt: (n: number) => Promise<T | undefined>): Promise<T> {
    for (let n = 0; n < TRIES; n += 1) {
      const result = await attempt(n);
      if (result !== undefined) return result;
      await pause(Math.random() * PAUSE_MS);
    }
    throw new OperatorError("conflict", `Cannot claim ${what}: others wrote at the same time, ${TRIES} times`, { cure: "Docker tries again by itself" });
  }
}

/**
 * Its network was refused half-way (a bad --opt or --gateway) and may be asked for again at once: swarm's one allocator binds
 * a range before it asks for the next (protocol §4).
 */
const isAbandoned = ({ network, releasedAtMs }: Pool): boolean => network === undefined && releasedAtMs === undefined;

function refuseOverlap(chosen: Cidr, pools: readonly Pool[], others: readonly Cidr[]): void {
  const cure = "Choose another --subnet, or leave it out";
  const clash = pools.find((pool) => overlaps(pool.cidr, chosen));
  if (clash !== undefined) {
    throw new OperatorError("conflict", `Cannot use ${chosen}: it overlaps ${clash.cidr}${clash.releasedAtMs === undefined ? "" : ", which nodes are still giving back"}`, { cure });
  }
  const other = others.find((one) => overlaps(one, chosen));
  if (other !== undefined) throw new OperatorError("conflict", `Cannot use ${chosen}: it overlaps ${other}, whose record in etcd cannot be read`, { cure });
}

/** What records that we cannot read hold, by their keys: a later version may have written them. */
const unreadable = (prefix: string, { items }: Listing, decode: (key: string, value: string) => unknown): Cidr[] =>
  items.filter(({ key, value }) => decode(key, value) === undefined)
    .map(({ key }) => parseCidr(key.slice(prefix.length).split("&", 1).join("").replace("-", "/"))).filter((cidr) => cidr !== undefined);

/** Nothing below the prefix was written after the listing. */
const sinceThen = (prefix: string, { revision }: Listing): Compare => ({ key: prefix, prefix: true, target: "mod", op: "<", value: revision + 1n });

function freeVni(wanted: Vni | undefined, start: number, taken: ReadonlySet<number>): Vni {
  if (wanted !== undefined) {
    if (!taken.has(wanted)) return wanted;
    throw new OperatorError("conflict", `Cannot use VNI ${wanted}: another network has it`, { cure: "Choose another --opt vni=…, or leave it out" });
  }
  for (let vni = start; vni < VNI_END; vni += 1) if (!taken.has(vni)) return vni as Vni;
  throw new OperatorError("exhausted", `Cannot find a free VNI from ${start} on`, { cure: "Lower VNI_START, or remove networks" });
}

