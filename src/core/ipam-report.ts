/**
 * How full each range is, and what in it nobody needs: what `flannel-np ipam` shows.
 *
 * In:  a snapshot, the ledgers.  Out: one line per network and node, findings with the reason.
 * Rule: pure. Leaked means: nothing that exists explains the address, and every source that could explain it has listed.
 */
import { GRANT_GRACE_MS, recycle, START_GRACE_MS, sweep, type Grant } from "./addresses.ts";
import { contains, sizeOf, type Cidr, type FlannelId } from "./ids.ts";
import type { LedgerState } from "./ledger.ts";
import type { Pool, Snapshot, SubnetLease } from "./model.ts";
import { values } from "./precedence.ts";
import type { IpamAnswer, IpamFinding, IpamRange } from "./state-answer.ts";

/** Network, gateway and broadcast address are never given to anybody. */
const UNUSABLE = 3;

interface Counted { readonly used: number; readonly resting: number; readonly leaked: readonly Grant[] }

export const vipsOf = (snapshot: Snapshot): ReadonlySet<string> =>
  new Set(values(snapshot.services).flatMap((service) => service.vips.map((vip) => vip.address)));
export const endpointAddresses = (snapshot: Snapshot): ReadonlySet<string> =>
  new Set(values(snapshot.endpoints).map((endpoint) => endpoint.address));
/** Only then does an address in no VIP mean that no service has it. */
export const vipsListed = ({ networksListed, servicesListed }: Snapshot): boolean => networksListed && servicesListed;

export function ipamReport(snapshot: Snapshot, ledgers: LedgerState): IpamAnswer {
  const pools = values(snapshot.pools).sort((a, b) => a.cidr.localeCompare(b.cidr));
  const ranges = pools.flatMap((pool) => rangesOf(snapshot, pool, ledgers));
  return { ranges: ranges.map(({ range }) => range), findings: [...ranges.flatMap(({ findings }) => findings), ...duplicates(snapshot)] };
}

interface Told { readonly range: IpamRange; readonly findings: readonly IpamFinding[] }

function rangesOf(snapshot: Snapshot, pool: Pool, ledgers: LedgerState): readonly Told[] {
  const name = pool.network === undefined ? "" : snapshot.networks.facts.get(pool.network)?.value.name ?? "";
  const about = { network: name, flannelId: pool.flannelId, cidr: pool.cidr };
  const mine = snapshot.node.underlay?.address;
  const leases = values(snapshot.subnets).filter(({ flannelId }) => flannelId === pool.flannelId).sort((a, b) => a.subnet.localeCompare(b.subnet));
  return [
    ...(snapshot.node.role === "manager" ? [counted({ ...about, node: "services", range: pool.serviceRange }, serviceSide(snapshot, ledgers[`G:${pool.flannelId}`] ?? []))] : []),
    ...leases.map((lease) => {
      const node = lease.publicIp === mine ? snapshot.node.hostname : ownerOf(snapshot, lease);
      return counted({ ...about, node, range: lease.subnet }, lease.publicIp === mine ? nodeSide(snapshot, pool.flannelId, lease.subnet, ledgers) : otherSide(snapshot, lease));
    }),
  ];
}

function counted(about: Omit<IpamRange, "capacity" | "used" | "resting" | "leaked">, { used, resting, leaked }: Counted): Told {
  const capacity = Math.max(0, sizeOf(about.range as Cidr) - UNUSABLE);
  const service = about.node === "services";
  const why = service ? `in no VIP of any service, granted more than ${GRANT_GRACE_MS / 60_000} min ago` : `no container has it, granted more than ${START_GRACE_MS / 1_000} s ago`;
  return {
    range: { ...about, capacity, used, resting, leaked: leaked.length },
    findings: leaked.map(({ address }) => ({ kind: "leaked", network: about.network, address, why, action: "rests for 30 s, then is free" })),
  };
}

const tally = (grants: readonly Grant[], used: ReadonlySet<string>, leaked: readonly Grant[]): Counted => {
  const lost = new Set<string>(leaked.map(({ address }) => address));
  const held = new Set<string>([...used, ...grants.filter(({ releasedAtMs, address }) => releasedAtMs === undefined && !lost.has(address)).map(({ address }) => address)]);
  return { used: held.size, resting: grants.filter(({ releasedAtMs, address }) => releasedAtMs !== undefined && !used.has(address)).length, leaked };
};

function serviceSide(snapshot: Snapshot, grants: readonly Grant[]): Counted {
  const vips = new Set([...vipsOf(snapshot)].filter((vip) => grants.some(({ address }) => address === vip)));
  const after = recycle(asMap(grants), vips, snapshot.nowMs);
  const fresh = vipsListed(snapshot) ? grants.filter((grant) => isNewlyReleased(grant, after)) : [];
  return tally(grants.filter(({ owner }) => owner !== "gateway"), vips, fresh);
}

function nodeSide(snapshot: Snapshot, id: FlannelId, subnet: Cidr, ledgers: LedgerState): Counted {
  const grants = ledgers[`L:${id}`] ?? [];
  const used = new Set(values(snapshot.endpoints).map(({ address }) => address).filter((address) => contains(subnet, address)));
  const after = sweep(asMap(grants), used, snapshot.endpoints.settled, snapshot.nowMs);
  return tally(grants, used, grants.filter((grant) => isNewlyReleased(grant, after)));
}

/** Of another node only its containers are known here. */
function otherSide(snapshot: Snapshot, { subnet }: SubnetLease): Counted {
  const used = values(snapshot.containers).flatMap(({ networks, state }) => (state === "exited" ? [] : Object.values(networks))).filter(({ address }) => contains(subnet, address));
  return { used: used.length, resting: 0, leaked: [] };
}

const isNewlyReleased = (grant: Grant, after: ReadonlyMap<string, Grant>): boolean =>
  grant.releasedAtMs === undefined && after.get(grant.address)?.releasedAtMs !== undefined;
const asMap = (grants: readonly Grant[]): ReadonlyMap<string, Grant> => new Map(grants.map((grant) => [grant.address, grant]));

const ownerOf = ({ nodes }: Snapshot, { publicIp }: SubnetLease): string =>
  values(nodes).find((node) => node.publicIp === publicIp)?.hostname ?? publicIp;

/** Two containers with one address: nothing of ours to free, but somebody must know. */
function duplicates({ containers }: Snapshot): readonly IpamFinding[] {
  const holders = new Map<string, string[]>();
  for (const { name, state, networks } of values(containers)) {
    if (state === "exited") continue;
    for (const [network, { address }] of Object.entries(networks)) {
      const key = `${network} ${address}`;
      holders.set(key, [...holders.get(key) ?? [], name]);
    }
  }
  return [...holders].filter(([, all]) => all.length > 1).map(([key, all]): IpamFinding => {
    const [network = "", address = ""] = key.split(" ");
    return { kind: "duplicate", network, address, why: `containers ${[...all].sort().join(" and ")} have it`, action: "restart one of them" };
  });
}
