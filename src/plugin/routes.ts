/**
 * Which driver method answers which call: the wiring of the plugin's socket, and nothing else.
 *
 * In:  the drivers and their readiness.  Out: per method, body → a call that can be run.
 * Rule: a call is decoded whole before anyone sees it; fixed answers wait for nobody.
 */
import type { NetworkId } from "../core/ids.ts";
import type { Drivers } from "./drivers.ts";
import { FIXED, METHODS, type Method, type MethodName } from "./protocol.ts";

/** A decoded call. `undefined` as result means Docker's `{}`. */
export interface Call { readonly network?: NetworkId | undefined; run(signal: AbortSignal): Promise<object | undefined> }
export interface Route { readonly takesBody: boolean; decode(body: unknown): Call }

/** Driver calls wait for `ready`, within their deadline; its rejection refuses each with its reason. */
export function routesOf({ network, ipam }: Drivers, ready: Promise<unknown>): Readonly<Record<MethodName, Route>> {
  const driven = <R>(method: Method<R>, answer: (request: R, signal: AbortSignal) => Promise<object | void>): Route => ({
    takesBody: method.takesBody,
    decode(body) {
      const request = method.decode(body);
      return {
        network: networkIn(request),
        async run(signal) { await ready; return (await answer(request, signal)) ?? undefined; },
      };
    },
  });
  return {
    ...fixedRoutes(),
    "IpamDriver.RequestPool": driven(METHODS["IpamDriver.RequestPool"], (r, s) => ipam.requestPool(r, s)),
    "IpamDriver.ReleasePool": driven(METHODS["IpamDriver.ReleasePool"], (r, s) => ipam.releasePool(r, s)),
    "IpamDriver.RequestAddress": driven(METHODS["IpamDriver.RequestAddress"], (r, s) => ipam.requestAddress(r, s)),
    "IpamDriver.ReleaseAddress": driven(METHODS["IpamDriver.ReleaseAddress"], (r, s) => ipam.releaseAddress(r, s)),
    "NetworkDriver.AllocateNetwork": driven(METHODS["NetworkDriver.AllocateNetwork"], (r, s) => network.allocateNetwork(r, s)),
    "NetworkDriver.FreeNetwork": driven(METHODS["NetworkDriver.FreeNetwork"], (r, s) => network.freeNetwork(r, s)),
    "NetworkDriver.CreateNetwork": driven(METHODS["NetworkDriver.CreateNetwork"], (r, s) => network.createNetwork(r, s)),
    "NetworkDriver.DeleteNetwork": driven(METHODS["NetworkDriver.DeleteNetwork"], (r, s) => network.deleteNetwork(r, s)),
    "NetworkDriver.CreateEndpoint": driven(METHODS["NetworkDriver.CreateEndpoint"], (r, s) => network.createEndpoint(r, s)),
    "NetworkDriver.DeleteEndpoint": driven(METHODS["NetworkDriver.DeleteEndpoint"], (r, s) => network.deleteEndpoint(r, s)),
    "NetworkDriver.Join": driven(METHODS["NetworkDriver.Join"], (r, s) => network.join(r, s)),
    "NetworkDriver.Leave": driven(METHODS["NetworkDriver.Leave"], (r, s) => network.leave(r, s)),
  };
}

function fixedRoutes(): Readonly<Record<keyof typeof FIXED, Route>> {
  const fixed = (name: keyof typeof FIXED): Route => ({
    takesBody: METHODS[name].takesBody,
    decode(body) {
      const request = METHODS[name].decode(body);
      return { network: networkIn(request), run: () => Promise.resolve(FIXED[name]) };
    },
  });
  return {
    "Plugin.Activate": fixed("Plugin.Activate"),
    "IpamDriver.GetCapabilities": fixed("IpamDriver.GetCapabilities"),
    "IpamDriver.GetDefaultAddressSpaces": fixed("IpamDriver.GetDefaultAddressSpaces"),
    "NetworkDriver.GetCapabilities": fixed("NetworkDriver.GetCapabilities"),
    "NetworkDriver.GwAllocCheck": fixed("NetworkDriver.GwAllocCheck"),
    "NetworkDriver.EndpointOperInfo": fixed("NetworkDriver.EndpointOperInfo"),
    "NetworkDriver.ProgramExternalConnectivity": fixed("NetworkDriver.ProgramExternalConnectivity"),
    "NetworkDriver.RevokeExternalConnectivity": fixed("NetworkDriver.RevokeExternalConnectivity"),
    "NetworkDriver.DiscoverNew": fixed("NetworkDriver.DiscoverNew"),
    "NetworkDriver.DiscoverDelete": fixed("NetworkDriver.DiscoverDelete"),
  };
}

/** The network a request is about, for the event that tells of its refusal. */
const networkIn = (request: unknown): NetworkId | undefined =>
  typeof request === "object" && request !== null && "network" in request ? (request.network as NetworkId) : undefined;
