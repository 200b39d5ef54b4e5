/**
 * What the plugin's socket calls: one method per driver call that needs an answer of ours.
 *
 * In:  decoded requests.  Out: answers in Docker's words; an OperatorError becomes the text Docker shows.
 * Rule: every call is safe to repeat; `signal` aborts when Docker is told "timeout". Calls whose answer is fixed
 * (capabilities, address spaces, EndpointOperInfo, external connectivity, discovery) never reach a driver.
 */
import type {
  AllocateNetworkAnswer, AllocateNetworkRequest, CreateEndpointRequest, CreateNetworkRequest, EndpointRequest, JoinAnswer,
  JoinRequest, NetworkRequest, ReleaseAddressRequest, ReleasePoolRequest, RequestAddressAnswer, RequestAddressRequest,
  RequestPoolAnswer, RequestPoolRequest,
} from "./protocol.ts";

export interface NetworkDriver {
  /** Manager side, as `freeNetwork`. */
  allocateNetwork(request: AllocateNetworkRequest, signal: AbortSignal): Promise<AllocateNetworkAnswer>;
  freeNetwork(request: NetworkRequest, signal: AbortSignal): Promise<void>;
  /** Node side, as all that follow: the first container of a network on this node comes, the last has gone. */
  createNetwork(request: CreateNetworkRequest, signal: AbortSignal): Promise<void>;
  deleteNetwork(request: NetworkRequest, signal: AbortSignal): Promise<void>;
  /** Serialised per network by Docker: be quick, work belongs in `join` (protocol §2.4). */
  createEndpoint(request: CreateEndpointRequest, signal: AbortSignal): Promise<void>;
  deleteEndpoint(request: EndpointRequest, signal: AbortSignal): Promise<void>;
  join(request: JoinRequest, signal: AbortSignal): Promise<JoinAnswer>;
  leave(request: EndpointRequest, signal: AbortSignal): Promise<void>;
}

export interface IpamDriver {
  requestPool(request: RequestPoolRequest, signal: AbortSignal): Promise<RequestPoolAnswer>;
  releasePool(request: ReleasePoolRequest, signal: AbortSignal): Promise<void>;
  requestAddress(request: RequestAddressRequest, signal: AbortSignal): Promise<RequestAddressAnswer>;
  releaseAddress(request: ReleaseAddressRequest, signal: AbortSignal): Promise<void>;
}

export interface Drivers { readonly network: NetworkDriver; readonly ipam: IpamDriver }
