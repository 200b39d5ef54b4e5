/**
 * The requests of NetworkDriver, decoded.
 *
 * In:  bodies as in Docker 20.10 … 29.  Out: ids, pools and ports as branded values.
 * Rule: null and absent lists and maps are empty; ports may come with CreateEndpoint or only with Join (protocol §3.3).
 */
import * as z from "zod/mini";
import type { Cidr, EndpointId, Mac, NetnsPath, NetworkId } from "../core/ids.ts";
import {
  anyMap, cidr, endpointId, exposedPorts, flag, listOf, networkId, publishedPorts, sandboxKey, shape,
  someInterfaceAddress, someMac, someText, textMap, type ExposedPort, type InterfaceAddress, type PublishedPort,
} from "./fields.ts";

export interface NetworkRequest { readonly network: NetworkId }
export interface EndpointRequest extends NetworkRequest { readonly endpoint: EndpointId }

/** `gateway` is what our own RequestAddress answered on that side, prefix length included. */
export interface NetworkPool { readonly pool: Cidr; readonly gateway?: InterfaceAddress | undefined }

const ipv4Data = listOf(z.pipe(shape({ Pool: cidr, Gateway: someInterfaceAddress }),
  z.transform((wire): NetworkPool => ({ pool: wire.Pool, gateway: wire.Gateway }))));
/** As text: we carry no IPv6, the driver only names what it refuses. */
const ipv6Data = listOf(z.pipe(shape({ Pool: someText }), z.transform((wire): string => wire.Pool ?? "")));

/** Manager side. `options`: the user's `--opt`, merged with what an earlier AllocateNetwork returned. */
export interface AllocateNetworkRequest extends NetworkRequest {
  readonly options: Readonly<Record<string, string>>;
  readonly ipv4: readonly NetworkPool[];
  readonly ipv6: readonly string[];
}

export const allocateNetwork = z.pipe(
  shape({ NetworkID: networkId, Options: textMap, IPv4Data: ipv4Data, IPv6Data: ipv6Data }),
  z.transform((wire): AllocateNetworkRequest =>
    ({ network: wire.NetworkID, options: wire.Options, ipv4: wire.IPv4Data, ipv6: wire.IPv6Data })));

/** Node side. `options`: what AllocateNetwork returned on the manager. */
export interface CreateNetworkRequest extends AllocateNetworkRequest {
  readonly internal: boolean;
  readonly ipv6Enabled: boolean;
}

const INTERNAL = "com.docker.network.internal";
const IPV6_ENABLED = "com.docker.network.enable_ipv6";
const GENERIC = "com.docker.network.generic";
const networkOptions = z.pipe(anyMap, shape({ [INTERNAL]: flag, [IPV6_ENABLED]: flag, [GENERIC]: textMap }));

export const createNetwork = z.pipe(
  shape({ NetworkID: networkId, Options: networkOptions, IPv4Data: ipv4Data, IPv6Data: ipv6Data }),
  z.transform((wire): CreateNetworkRequest => ({
    network: wire.NetworkID, options: wire.Options[GENERIC], ipv4: wire.IPv4Data, ipv6: wire.IPv6Data,
    internal: wire.Options[INTERNAL], ipv6Enabled: wire.Options[IPV6_ENABLED],
  })));

const networkRef = shape({ NetworkID: networkId });
const endpointRef = shape({ NetworkID: networkId, EndpointID: endpointId });

/** FreeNetwork and DeleteNetwork. */
export const networkOnly = z.pipe(networkRef, z.transform((wire): NetworkRequest => ({ network: wire.NetworkID })));
/** DeleteEndpoint, EndpointOperInfo, Leave, RevokeExternalConnectivity. */
export const endpointOnly = z.pipe(endpointRef,
  z.transform((wire): EndpointRequest => ({ network: wire.NetworkID, endpoint: wire.EndpointID })));

export interface Ports { readonly exposed: readonly ExposedPort[]; readonly published: readonly PublishedPort[] }

const EXPOSED = "com.docker.network.endpoint.exposedports";
const PUBLISHED = "com.docker.network.portmap";
const USER_MAC = "com.docker.network.endpoint.macaddress";
const portFields = { [EXPOSED]: exposedPorts, [PUBLISHED]: publishedPorts };
const portsOf = (options: z.output<z.ZodMiniObject<typeof portFields>>): Ports =>
  ({ exposed: options[EXPOSED], published: options[PUBLISHED] });
const portOptions = z.pipe(anyMap, shape(portFields));

/** The user's `--driver-opt`: every text whose key is not Docker's own. */
const driverOptions = (options: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(options).filter((entry): entry is [string, string] =>
    typeof entry[1] === "string" && !entry[0].startsWith("com.docker.")));

export interface CreateEndpointRequest extends EndpointRequest {
  /** From our RequestAddress. */
  readonly address?: InterfaceAddress | undefined;
  /** Text, since we carry no IPv6. */
  readonly ipv6Address?: string | undefined;
  readonly mac?: Mac | undefined;
  /** The MAC a user chose; `mac` has it too. */
  readonly userMac?: Mac | undefined;
  readonly ports: Ports;
  readonly driverOptions: Readonly<Record<string, string>>;
}

const endpointInterface = z.pipe(
  z.nullish(shape({ Address: someInterfaceAddress, AddressIPv6: someText, MacAddress: someMac })),
  z.transform((wire): Pick<CreateEndpointRequest, "address" | "ipv6Address" | "mac"> =>
    ({ address: wire?.Address, ipv6Address: wire?.AddressIPv6, mac: wire?.MacAddress })));

const endpointOptions = z.pipe(anyMap, z.looseObject({ ...portFields, [USER_MAC]: someMac }));

export const createEndpoint = z.pipe(
  shape({ NetworkID: networkId, EndpointID: endpointId, Interface: endpointInterface, Options: endpointOptions }),
  z.transform((wire): CreateEndpointRequest => ({
    network: wire.NetworkID, endpoint: wire.EndpointID, ...wire.Interface, userMac: wire.Options[USER_MAC],
    ports: portsOf(wire.Options), driverOptions: driverOptions(wire.Options),
  })));

/** ProgramExternalConnectivity. */
export const endpointPorts = z.pipe(
  shape({ NetworkID: networkId, EndpointID: endpointId, Options: portOptions }),
  z.transform((wire): EndpointRequest & { readonly ports: Ports } =>
    ({ network: wire.NetworkID, endpoint: wire.EndpointID, ports: portsOf(wire.Options) })));

export interface JoinRequest extends EndpointRequest { readonly sandboxKey: NetnsPath; readonly ports: Ports }

export const join = z.pipe(
  shape({ NetworkID: networkId, EndpointID: endpointId, SandboxKey: sandboxKey, Options: portOptions }),
  z.transform((wire): JoinRequest =>
    ({ network: wire.NetworkID, endpoint: wire.EndpointID, sandboxKey: wire.SandboxKey, ports: portsOf(wire.Options) })));

/** Whether a gateway address is needed at all: engine 28 on, only for drivers that asked for the question. */
export const gatewayCheck = z.pipe(shape({ Options: anyMap }), z.transform((wire) => ({ options: wire.Options })));

/** A node's arrival or departure as libnetwork saw it; no membership source (protocol §3.2). */
export interface DiscoveryRequest { readonly type: number; readonly address: string; readonly self: boolean }

export const discovery = z.pipe(
  shape({ DiscoveryType: z.number({ error: "is not a number" }), DiscoveryData: z.nullish(shape({ Address: someText, Self: flag })) }),
  z.transform((wire): DiscoveryRequest =>
    ({ type: wire.DiscoveryType, address: wire.DiscoveryData?.Address ?? "", self: wire.DiscoveryData?.Self ?? false })));
