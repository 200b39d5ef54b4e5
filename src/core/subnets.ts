/**
 * How a network's range is divided: service range first, then one subnet per node.
 *
 * In:  CIDRs and prefix lengths.  Out: pools, service ranges, node subnets, flannel's config – or the arithmetic that says why not.
 * Rule: pure. The service range lies below flannel's SubnetMin, so no node ever owns it (design D2).
 */
import { OperatorError } from "./errors.ts";
import { baseOf, cidrOf, fromNumber, nth, overlaps, prefixLength, sizeOf, subBlock, toNumber, within, type Cidr } from "./ids.ts";
import type { Pool } from "./model.ts";

/** A service range has at least this many addresses where the network has room (design D2). */
export const SERVICE_RANGE_MIN = 1024;
/** A service range never takes more than this share of a network. */
const SERVICE_RANGE_SHARE = 4;
/** flannel's own limits: SubnetLen ≤ 30, at least four subnets per network (flannel.md §2.1). */
export const HOST_SUBNET_MAX = 30;

export interface Division { readonly hostSubnetLength: number; readonly serviceRange: Cidr }

/** Why a network cannot be cut into node subnets of this length, with the arithmetic; undefined when it can. */
export function divisionProblem(networkLength: number, hostLength: number): string | undefined {
  if (hostLength > HOST_SUBNET_MAX) return `a node subnet of /${hostLength} has ${2 ** (32 - hostLength)} addresses; flannel needs /${HOST_SUBNET_MAX} or larger`;
  if (hostLength < networkLength + 2) {
    const blocks = hostLength < networkLength ? 0 : 2 ** (hostLength - networkLength);
    return `a /${networkLength} network holds ${blocks} node subnets of /${hostLength}; at least 4 are needed (host subnet ≥ network + 2 bits)`;
  }
  return undefined;
}

/** Divides a network; `serviceAddresses` is the wanted size of the service range, 0 for the default. */
export function divide(cidr: Cidr, hostLength: number, serviceAddresses: number): Division {
  const problem = divisionProblem(prefixLength(cidr), hostLength);
  if (problem !== undefined) {
    throw new OperatorError("invalid", `Cannot divide ${cidr}: ${problem}`, { cure: "Use a larger --subnet, or a host-subnet-size closer to /30" });
  }
  const block = 2 ** (32 - hostLength);
  const wanted = serviceAddresses > 0 ? serviceAddresses : Math.max(block, SERVICE_RANGE_MIN);
  const most = Math.max(block, sizeOf(cidr) / SERVICE_RANGE_SHARE);
  const size = Math.min(most, Math.max(block, 2 ** Math.ceil(Math.log2(wanted))));
  return { hostSubnetLength: hostLength, serviceRange: cidrOf(baseOf(cidr), 32 - Math.log2(size)) };
}

/** Host subnet length for a network of any size: the default where it fits, else the largest that leaves eight subnets. */
export const hostLengthFor = (cidr: Cidr, fallback: number): number =>
  Math.min(HOST_SUBNET_MAX, Math.max(fallback, prefixLength(cidr) + 3));

/** The first block of the given length inside the available ranges that overlaps nothing taken. */
export function freePool(available: readonly Cidr[], length: number, taken: readonly Cidr[]): Cidr | undefined {
  for (const range of available) {
    const size = 2 ** (32 - length);
    const end = toNumber(baseOf(range)) + sizeOf(range);
    for (let at = toNumber(baseOf(range)); at + size <= end;) {
      const candidate = cidrOf(fromNumber(at), length);
      const hit = taken.find((cidr) => overlaps(candidate, cidr));
      if (hit === undefined) return candidate;
      at = Math.max(at + size, Math.ceil((toNumber(baseOf(hit)) + sizeOf(hit)) / size) * size);
    }
  }
  return undefined;
}

/** Number of subnets that nodes can hold. */
export const nodeSubnets = (pool: Pool): number =>
  (sizeOf(pool.cidr) - sizeOf(pool.serviceRange)) / 2 ** (32 - pool.hostSubnetLength);

/** The first node subnet, from the `start`-th on and round, that is not held. */
export function freeNodeSubnet(pool: Pool, held: ReadonlySet<Cidr>, start = 0): Cidr | undefined {
  const first = sizeOf(pool.serviceRange) / 2 ** (32 - pool.hostSubnetLength);
  const count = nodeSubnets(pool);
  for (let n = 0; n < count; n += 1) {
    const candidate = subBlock(pool.cidr, pool.hostSubnetLength, first + ((start + n) % count));
    if (!held.has(candidate)) return candidate;
  }
  return undefined;
}

/** True when a lease's subnet is one that this pool would give a node. */
export const fitsPool = (pool: Pool, subnet: Cidr): boolean =>
  prefixLength(subnet) === pool.hostSubnetLength && within(pool.cidr, subnet) && !overlaps(pool.serviceRange, subnet);

/** flannel's `config` value (flannel.md §2.1). */
export function flannelConfig(pool: Pool): Readonly<Record<string, unknown>> {
  return {
    Network: pool.cidr, SubnetLen: pool.hostSubnetLength,
    SubnetMin: nth(pool.cidr, sizeOf(pool.serviceRange)),
    SubnetMax: nth(pool.cidr, sizeOf(pool.cidr) - 2 ** (32 - pool.hostSubnetLength)),
    Backend: pool.backend ?? { Type: "vxlan" },
  };
}
