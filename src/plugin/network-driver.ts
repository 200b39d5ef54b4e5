/**
 * NetworkDriver: Docker's calls become intents and claims; the engine makes the kernel follow.
 *
 * In:  decoded requests.  Out: answers in Docker's words, given when the kernel is as the answer says.
 * Rule: only Join waits for work per container (Docker serialises the rest per network, protocol §2.4); Leave, DeleteEndpoint
 * and DeleteNetwork never fail. What a network needs stays until swarm has removed it, not until its last container here.
 */
import type { AddressBook } from "../core/address-book.ts";
import type { Emit } from "../core/events.ts";
import type { Engine } from "../core/engine.ts";
import { asOperatorError, OperatorError } from "../core/errors.ts";
import type { EndpointId, Ipv4, NetworkId } from "../core/ids.ts";
import type { Endpoint, Pool, Snapshot } from "../core/model.ts";
import { vethPeer } from "../core/names.ts";
import { values } from "../core/precedence.ts";
import { carriedNetworks, poolByNetwork, type CarriedNetwork } from "../core/select.ts";
import type { Admission } from "./admission.ts";
import type { NetworkDriver } from "./drivers.ts";
import type { AllocateNetworkRequest, CreateEndpointRequest, CreateNetworkRequest, JoinAnswer, JoinRequest } from "./protocol.ts";

/** Driver calls that the snapshot must show before Docker's listing does. */
export interface EndpointIntents {
  begin(endpoint: Endpoint): void;
  end(id: EndpointId): void;
  endpoint(id: EndpointId): Endpoint | undefined;
}

export interface NetworkDriverPorts {
  readonly book: AddressBook;
  readonly engine: Pick<Engine, "run" | "poke">;
  readonly intents: EndpointIntents;
  readonly snapshot: () => Snapshot;
  readonly admission: Admission;
  readonly emit: Emit;
}

/** What a network needs on a node before its first container starts. flanneld follows by itself: Join does not wait for it. */
const NETWORK_PARTS = ["firewall", "gateways"] as const;
const ENDPOINT_PARTS = ["endpoints"] as const;
const NAMES = ["dns"] as const;

/** Runs that began with their endpoint: Docker asks for the join within milliseconds, and waits for that one only. */
type Begun = Map<EndpointId, Promise<void>>;

export function networkDriver(ports: NetworkDriverPorts): NetworkDriver {
  const { engine, intents, admission } = ports;
  const begun: Begun = new Map();
  return {
    allocateNetwork: (request) => allocate(ports, request),
    async freeNetwork({ network }) {
      await freed(ports, network);
    },
    async createNetwork(request, signal) {
      admission.check();
      refuseIpv6(request);
      const pool = poolOf(ports.snapshot(), request);
      if (pool.network === undefined) await ports.book.bind({ network: request.network, cidr: pool.cidr, options: request.options });
      await run(engine, NETWORK_PARTS, signal);
    },
    deleteNetwork: () => Promise.resolve(),
    async createEndpoint(request, signal) {
      admission.check();
      intents.begin(endpointOf(ports, request));
      const running = run(engine, ENDPOINT_PARTS, signal, true);
      // Join tells; an endpoint that is never joined has nobody to tell.
      running.catch(() => undefined);
      begun.set(request.endpoint, running);
    },
    async deleteEndpoint({ endpoint }, signal) {
      begun.delete(endpoint);
      intents.end(endpoint);
      await run(engine, ENDPOINT_PARTS, signal).catch(() => engine.poke("endpoints"));
    },
    join: (request, signal) => join(ports, begun, request, signal),
    leave: () => Promise.resolve(),
  };
}

async function allocate({ admission, book, emit }: NetworkDriverPorts, request: AllocateNetworkRequest): Promise<{ readonly Options: Readonly<Record<string, string>> }> {
  try {
    admission.check();
    const [data] = request.ipv4;
    if (data === undefined) {
      throw new OperatorError("invalid", "Cannot make the network: it has no IPv4 range", { cure: "Name this plugin as --ipam-driver too" });
    }
    if (request.ipv6.length > 0) throw ipv6Refusal(request.network);
    await book.bind({ network: request.network, cidr: data.pool, options: request.options });
  } catch (error) {
    const { message, cure } = asOperatorError(error);
    emit("network.refused", { network: request.network, reason: message, cure: cure ?? "See the event log" });
    throw error;
  }
  return { Options: request.options };
}

/** Swarm's word that a network is over; when it cannot be noted now, the listing will tell the same. */
async function freed({ book, engine, snapshot }: NetworkDriverPorts, network: NetworkId): Promise<void> {
  const pool = poolByNetwork(snapshot(), network);
  if (pool === undefined) return;
  await book.free(pool).catch(() => undefined);
  engine.poke("leases");
}

function refuseIpv6({ ipv6Enabled, network }: CreateNetworkRequest): void {
  if (ipv6Enabled) throw ipv6Refusal(network);
}

const ipv6Refusal = (network: NetworkId): OperatorError => new OperatorError(
  "unsupported", `Cannot carry network ${network}: --ipv6 is not supported`, { cure: "Create the network without --ipv6" });

function poolOf(snapshot: Snapshot, { ipv4, network }: CreateNetworkRequest): Pool {
  const cidr = ipv4[0]?.pool;
  const pool = cidr === undefined ? undefined : snapshot.pools.facts.get(cidr)?.value;
  if (pool !== undefined) return pool;
  throw new OperatorError("not-found", `Cannot carry network ${network}: no pool of ${cidr ?? "an IPv4 range"} is known here`, {
    cure: "Name this plugin as --ipam-driver of the network, and check that the plugin reaches etcd (flannel-np status)",
  });
}

function endpointOf({ snapshot, emit }: NetworkDriverPorts, { network, endpoint, address }: CreateEndpointRequest): Endpoint {
  if (address === undefined) throw new OperatorError("invalid", `Cannot make endpoint ${endpoint}: Docker named no IPv4 address`);
  const holder = values(snapshot().endpoints).find((other) => other.address === address.address && other.network === network && other.id !== endpoint);
  if (holder !== undefined) {
    emit("address.conflict", { address: address.address, endpoint });
    throw new OperatorError("conflict", `Cannot make endpoint ${endpoint}: ${address.address} belongs to endpoint ${holder.id}`, { cure: "Start the container again" });
  }
  return { id: endpoint, network, address: address.address, stage: "created" };
}

async function join(ports: NetworkDriverPorts, begun: Begun, { network, endpoint, sandboxKey }: JoinRequest, signal: AbortSignal): Promise<JoinAnswer> {
  ports.admission.check();
  // Docker may list an endpoint between its making and its joining: then the intent has been dropped as confirmed.
  const known = ports.intents.endpoint(endpoint) ?? ports.snapshot().endpoints.facts.get(endpoint)?.value;
  if (known === undefined) {
    throw new OperatorError("not-found", `Cannot join endpoint ${endpoint}: it was never created here`, { cure: "Start the container again" });
  }
  const carried = carriedNetworks(ports.snapshot()).find((candidate) => candidate.network === network);
  if (carried === undefined) {
    throw new OperatorError("unavailable", `Cannot join network ${network}: this node holds no subnet of it`, { cure: "Check that the plugin reaches etcd (flannel-np status), then start the container again" });
  }
  const again = (): Promise<void> => run(ports.engine, ENDPOINT_PARTS, signal);
  const early = begun.get(endpoint);
  begun.delete(endpoint);
  await (early?.catch(again) ?? again());
  const sandbox = sandboxKey.slice(sandboxKey.lastIndexOf("/") + 1);
  ports.intents.begin({ ...known, stage: "joined", sandbox });
  await answersIn(ports.engine, sandbox, signal);
  return answer(carried, endpoint, carried.gateway);
}

/** No gateway, but a route to the network's range: docker_gwbridge gives the way out and published ports (design D20). */
const answer = ({ pool }: CarriedNetwork, endpoint: EndpointId, gateway: Ipv4): JoinAnswer => ({
  InterfaceName: { SrcName: vethPeer(endpoint), DstPrefix: "eth" },
  StaticRoutes: [{ Destination: pool.cidr, RouteType: 0, NextHop: gateway }],
  DisableGatewayService: false,
});

/**
 * Engine 28 starts the container after Join: its first lookup is answered. Before, there is no namespace yet, nothing to do here.
 * Another sandbox's trouble is not this container's.
 */
async function answersIn(engine: Pick<Engine, "run">, sandbox: string, signal: AbortSignal): Promise<void> {
  for (const report of await engine.run(NAMES, signal)) {
    if (report.result === "unobserved") throw report.error;
    if (report.result !== "diverged" || !report.leftover.changes.some(({ key, op }) => key === sandbox && op !== "delete")) continue;
    throw report.error ?? new OperatorError("conflict", `Cannot give sandbox ${sandbox} its DNS server: it is still missing after the run`, { cure: "Start the container again" });
  }
}

/** A run whose own part failed is the caller's failure: Docker must not start a container without its link. */
async function run(engine: Pick<Engine, "run">, names: readonly string[], signal: AbortSignal, share = false): Promise<void> {
  for (const report of await engine.run(names, signal, share)) {
    if (report.result === "unobserved") throw report.error;
    if (report.result === "diverged") {
      throw report.error ?? new OperatorError("conflict", `Cannot set up ${report.reconciler}: ${report.leftover.changes.map(({ key, why }) => `${key} (${why})`).join(", ")}`);
    }
  }
}
