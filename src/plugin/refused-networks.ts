/**
 * Remembers what the drivers refuse, so that `status` can show it: swarm takes a user's network whatever we say of it.
 *
 * In:  the drivers.  Out: the same drivers, their refusals noted.
 * Rule: changes no answer.
 */
import { asOperatorError } from "../core/errors.ts";
import type { Refusals, Refused } from "../core/refusals.ts";
import type { Drivers } from "./drivers.ts";
import type { RequestAddressRequest, RequestPoolRequest } from "./protocol.ts";

type Asked<R> = (request: R) => Omit<Refused, "error">;

export function notingRefusals({ network, ipam }: Drivers, refusals: Refusals): Drivers {
  const noting = <R, A>(answer: (request: R, signal: AbortSignal) => Promise<A>, asked: Asked<R>) => async (request: R, signal: AbortSignal): Promise<A> => {
    try {
      const given = await answer(request, signal);
      refusals.granted(asked(request).asked);
      return given;
    } catch (error) {
      refusals.refused({ ...asked(request), error: asOperatorError(error) });
      throw error;
    }
  };
  return {
    ipam: { ...ipam, requestPool: noting(ipam.requestPool, pool), requestAddress: noting(ipam.requestAddress, address) },
    network: {
      ...network,
      allocateNetwork: noting(network.allocateNetwork, (request) =>
        ({ asked: `allocate ${request.network}`, by: "network", what: `network ${request.network}`, network: request.network })),
      createNetwork: noting(network.createNetwork, (request) => onNode("create", request.network)),
      createEndpoint: noting(network.createEndpoint, (request) => onNode("endpoint", request.network)),
      join: noting(network.join, (request) => onNode("join", request.network)),
    },
  };
}

const onNode = (asked: string, network: string): Omit<Refused, "error"> => ({ asked: `${asked} ${network}`, by: "container", what: `a container on network ${network}` });

const rangeOf = (request: RequestPoolRequest): string => (request.family === "ipv6" ? "IPv6" : request.pool ?? "any range");

/** The same words whenever swarm repeats a request: it adds options of its own after the first success. */
function pool(request: RequestPoolRequest): Omit<Refused, "error"> {
  const options = Object.entries(request.options).filter(([name]) => !name.startsWith("com.docker.")).sort();
  const subPool = request.family === "ipv6" ? "" : request.subPool ?? "";
  return {
    asked: `pool ${request.caller} ${JSON.stringify([rangeOf(request), subPool, options])}`, what: `a network of ${rangeOf(request)}`,
    by: request.caller === "manager" ? "network" : "container",
  };
}

const address = ({ caller, flannelId, purpose, address: wanted }: RequestAddressRequest): Omit<Refused, "error"> => ({
  asked: `address ${caller} ${flannelId} ${purpose} ${caller === "manager" ? wanted ?? "" : ""}`, what: `an address of network ${flannelId}`,
  by: caller === "manager" && purpose === "gateway" ? "network" : "container",
});
