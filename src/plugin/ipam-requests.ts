/**
 * The requests of IpamDriver, decoded.
 *
 * In:  bodies as in Docker 20.10 … 29.  Out: who asks (manager or node) and for what, as tagged unions.
 * Rule: the side is told by the address space in RequestPool and by the prefix of the PoolID ever after (design D2).
 */
import * as z from "zod/mini";
import { parseCidr, parseFlannelId, type Cidr, type FlannelId, type Ipv4, type Mac } from "../core/ids.ts";
import { anyMap, flag, required, shape, someAddress, someMac, someText, textMap } from "./fields.ts";

/** manager: swarm's allocator on the leader; node: libnetwork where a container runs. */
export type Caller = "manager" | "node";

/** The address spaces we declare; Docker repeats them in RequestPool. */
export const ADDRESS_SPACE: Readonly<Record<Caller, string>> = { manager: "fnp-global", node: "fnp-local" };

const PREFIX: Readonly<Record<Caller, string>> = { manager: "G:", node: "L:" };
/** `G:<flannel-id>` for the manager's side of a pool, `L:<flannel-id>` for the node's. */
export const poolIdOf = (caller: Caller, id: FlannelId): string => `${PREFIX[caller]}${id}`;

interface PoolOf<C extends Caller> { readonly caller: C; readonly flannelId: FlannelId }

function poolOf(poolId: string): PoolOf<"manager"> | PoolOf<"node"> | undefined {
  const flannelId = parseFlannelId(poolId.slice(2));
  if (flannelId === undefined) return undefined;
  if (poolId.startsWith(PREFIX.manager)) return { caller: "manager", flannelId };
  return poolId.startsWith(PREFIX.node) ? { caller: "node", flannelId } : undefined;
}

/** An empty id comes from an allocator that never got one: a manager's call about nothing known. */
const releasedPoolOf = (poolId: string): ReleasePoolRequest | undefined => (poolId === "" ? { caller: "manager" } : poolOf(poolId));

const callerIn = (space: string): Caller | undefined =>
  (["manager", "node"] as const).find((caller) => ADDRESS_SPACE[caller] === space);

const NOT_OURS = "is no pool of this driver";
const poolId = required(poolOf, NOT_OURS);
const releasedPoolId = required(releasedPoolOf, NOT_OURS);
const addressSpace = required(callerIn, "is no address space of this driver");

/** `pool` undefined: any free range. The driver refuses `ipv6` by the network's name. */
export type RequestPoolRequest = { readonly caller: Caller; readonly options: Readonly<Record<string, string>> } & (
  | { readonly family: "ipv4"; readonly pool?: Cidr | undefined; readonly subPool?: Cidr | undefined }
  | { readonly family: "ipv6" });

const cidrIn = (value: string | undefined): Cidr | undefined => (value === undefined ? undefined : parseCidr(value));

export const requestPool = z.pipe(
  shape({ AddressSpace: addressSpace, Pool: someText, SubPool: someText, Options: textMap, V6: flag }),
  z.transform((wire, context): RequestPoolRequest => {
    const asked = { caller: wire.AddressSpace, options: wire.Options };
    // Swarm's allocator asks for an IPv6 range without saying that it is one.
    if (wire.V6 || wire.Pool?.includes(":") === true) return { ...asked, family: "ipv6" };
    for (const name of ["Pool", "SubPool"] as const) {
      if (wire[name] === undefined || cidrIn(wire[name]) !== undefined) continue;
      context.issues.push({ code: "custom", path: [name], message: "is not an IPv4 range such as 10.1.0.0/16", input: undefined });
    }
    return { ...asked, family: "ipv4", pool: cidrIn(wire.Pool), subPool: cidrIn(wire.SubPool) };
  }));

/** `flannelId` is absent when Docker released with an empty PoolID. */
export type ReleasePoolRequest =
  | { readonly caller: "manager"; readonly flannelId?: FlannelId | undefined }
  | { readonly caller: "node"; readonly flannelId: FlannelId };

export const releasePool = z.pipe(shape({ PoolID: releasedPoolId }), z.transform((wire): ReleasePoolRequest => wire.PoolID));

/** `address`: the one wanted, undefined for any. On the node it is the manager's placeholder (protocol §4.3). */
export type RequestAddressRequest =
  | PoolOf<"manager"> & { readonly purpose: "gateway" | "manager-address"; readonly address?: Ipv4 | undefined }
  | PoolOf<"node"> & { readonly purpose: "gateway"; readonly address?: Ipv4 | undefined }
  | PoolOf<"node"> & {
    readonly purpose: "endpoint"; readonly address?: Ipv4 | undefined; readonly mac: Mac;
    /** The container's name, engine 29 on. */
    readonly endpointName?: string | undefined;
  };

const GATEWAY = "com.docker.network.gateway";
const addressOptions = shape({
  "RequestAddressType": someText, "com.docker.network.endpoint.macaddress": someMac, "com.docker.network.endpoint.name": someText,
});

export const requestAddress = z.pipe(
  shape({ PoolID: poolId, Address: someAddress, Options: z.pipe(anyMap, addressOptions) }),
  z.transform(({ PoolID: pool, Address: address, Options: options }, context): RequestAddressRequest => {
    if (options.RequestAddressType === GATEWAY) return { ...pool, purpose: "gateway", address };
    if (pool.caller === "manager") return { ...pool, purpose: "manager-address", address };
    const mac = options["com.docker.network.endpoint.macaddress"];
    if (mac !== undefined) return { ...pool, purpose: "endpoint", address, mac, endpointName: options["com.docker.network.endpoint.name"] };
    context.issues.push({
      code: "custom", path: ["Options"], input: undefined,
      message: "carry no MAC address although this driver requires one; disable and enable the plugin, so that Docker asks for its capabilities again",
    });
    return z.NEVER;
  }));

/** `address` is absent when Docker had none to name. */
export type ReleaseAddressRequest = ReleasePoolRequest & { readonly address?: Ipv4 | undefined };

export const releaseAddress = z.pipe(shape({ PoolID: releasedPoolId, Address: someAddress }),
  z.transform((wire): ReleaseAddressRequest => ({ ...wire.PoolID, address: wire.Address })));
