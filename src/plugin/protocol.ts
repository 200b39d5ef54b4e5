/**
 * Docker's plugin protocol as one table: every method of both drivers, what it carries, what it answers.
 *
 * In:  JSON bodies of engines 20.10 … 29.  Out: decoded requests, or an OperatorError `invalid` that names the field (Docker adds the method).
 * Rule: nothing undecoded passes; errors name the field and what was expected, never the value (it may be a user's option).
 */
import type * as z from "zod/mini";
import { OperatorError } from "../core/errors.ts";
import type { Cidr, Ipv4 } from "../core/ids.ts";
import { ADDRESS_SPACE, releaseAddress, releasePool, requestAddress, requestPool } from "./ipam-requests.ts";
import {
  allocateNetwork, createEndpoint, createNetwork, discovery, endpointOnly, endpointPorts, gatewayCheck, join, networkOnly,
} from "./network-requests.ts";

export { ADDRESS_SPACE, poolIdOf } from "./ipam-requests.ts";
export type {
  Caller, ReleaseAddressRequest, ReleasePoolRequest, RequestAddressRequest, RequestPoolRequest,
} from "./ipam-requests.ts";
export type {
  AllocateNetworkRequest, CreateEndpointRequest, CreateNetworkRequest, DiscoveryRequest, EndpointRequest, JoinRequest,
  NetworkRequest, NetworkPool, Ports,
} from "./network-requests.ts";
export type { ExposedPort, InterfaceAddress, PublishedPort } from "./fields.ts";

/** An address in answers, with the prefix length Docker programs on the interface. */
export type AddressAnswer = `${Ipv4}/${number}`;

export interface RequestPoolAnswer { readonly PoolID: string; readonly Pool: Cidr; readonly Data: Readonly<Record<string, string>> }
export interface RequestAddressAnswer { readonly Address: AddressAnswer; readonly Data: Readonly<Record<string, string>> }
/** Replaces the user's `--opt` values in Docker's store: echo them (protocol §1.4). */
export interface AllocateNetworkAnswer { readonly Options: Readonly<Record<string, string>> }
/** RouteType 0: via NextHop; 1: connected. */
export interface StaticRoute { readonly Destination: Cidr; readonly RouteType: 0 | 1; readonly NextHop: Ipv4 | "" }
/** `SrcName` must exist in the daemon's network namespace. No `Gateway`: Docker adds docker_gwbridge (design D20). */
export interface JoinAnswer {
  readonly InterfaceName: { readonly SrcName: string; readonly DstPrefix: string };
  readonly Gateway?: Ipv4;
  readonly StaticRoutes: readonly StaticRoute[];
  readonly DisableGatewayService: boolean;
}

export interface Method<R> {
  /** False: Docker sends no body, and none is looked at. */
  readonly takesBody: boolean;
  /** Throws an OperatorError `invalid`. */
  decode(body: unknown): R;
}

/** Longest part of a zod path shown: option keys are a user's and may be long. */
const MAX_PATH = 200;

const bodyless: Method<undefined> = { takesBody: false, decode: () => undefined };

const carrying = <R>(schema: z.ZodMiniType<R>): Method<R> => ({
  takesBody: true,
  decode(body) {
    const result = schema.safeParse(body);
    if (result.success) return result.data;
    const [issue] = result.error.issues;
    const where = issue === undefined || issue.path.length === 0 ? "the body" : issue.path.join(".").slice(0, MAX_PATH);
    throw new OperatorError("invalid", `Cannot read the request: ${where} ${issue?.message ?? "is not understood"}`);
  },
});

export const METHODS = {
  "Plugin.Activate": bodyless,
  "IpamDriver.GetCapabilities": bodyless,
  "IpamDriver.GetDefaultAddressSpaces": bodyless,
  "IpamDriver.RequestPool": carrying(requestPool),
  "IpamDriver.ReleasePool": carrying(releasePool),
  "IpamDriver.RequestAddress": carrying(requestAddress),
  "IpamDriver.ReleaseAddress": carrying(releaseAddress),
  "NetworkDriver.GetCapabilities": bodyless,
  "NetworkDriver.AllocateNetwork": carrying(allocateNetwork),
  "NetworkDriver.FreeNetwork": carrying(networkOnly),
  "NetworkDriver.GwAllocCheck": carrying(gatewayCheck),
  "NetworkDriver.CreateNetwork": carrying(createNetwork),
  "NetworkDriver.DeleteNetwork": carrying(networkOnly),
  "NetworkDriver.CreateEndpoint": carrying(createEndpoint),
  "NetworkDriver.DeleteEndpoint": carrying(endpointOnly),
  "NetworkDriver.EndpointOperInfo": carrying(endpointOnly),
  "NetworkDriver.Join": carrying(join),
  "NetworkDriver.Leave": carrying(endpointOnly),
  "NetworkDriver.ProgramExternalConnectivity": carrying(endpointPorts),
  "NetworkDriver.RevokeExternalConnectivity": carrying(endpointOnly),
  "NetworkDriver.DiscoverNew": carrying(discovery),
  "NetworkDriver.DiscoverDelete": carrying(discovery),
} as const;

export type MethodName = keyof typeof METHODS;

/** Answers that depend on nothing: given before anything else is ready. */
export const FIXED = {
  "Plugin.Activate": { Implements: ["NetworkDriver", "IpamDriver"] },
  "NetworkDriver.GetCapabilities": { Scope: "global", ConnectivityScope: "local", GwAllocChecker: false },
  "IpamDriver.GetCapabilities": { RequiresMACAddress: true, RequiresRequestReplay: false },
  "IpamDriver.GetDefaultAddressSpaces": {
    LocalDefaultAddressSpace: ADDRESS_SPACE.node, GlobalDefaultAddressSpace: ADDRESS_SPACE.manager,
  },
  "NetworkDriver.GwAllocCheck": { SkipIPv4: false, SkipIPv6: false },
  "NetworkDriver.EndpointOperInfo": { Value: {} },
  "NetworkDriver.ProgramExternalConnectivity": {},
  "NetworkDriver.RevokeExternalConnectivity": {},
  "NetworkDriver.DiscoverNew": {},
  "NetworkDriver.DiscoverDelete": {},
} as const satisfies Partial<Record<MethodName, object>>;
