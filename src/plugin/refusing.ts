/** Drivers that refuse every call with one reason: Docker shows it to whoever asked. */
import type { OperatorError } from "../core/errors.ts";
import type { Drivers, IpamDriver, NetworkDriver } from "./drivers.ts";

export function refusingDrivers(reason: OperatorError): Drivers {
  const refuse = (): Promise<never> => Promise.reject(reason);
  const network: NetworkDriver = {
    allocateNetwork: refuse, freeNetwork: refuse, createNetwork: refuse, deleteNetwork: refuse,
    createEndpoint: refuse, deleteEndpoint: refuse, join: refuse, leave: refuse,
  };
  const ipam: IpamDriver = { requestPool: refuse, releasePool: refuse, requestAddress: refuse, releaseAddress: refuse };
  return { network, ipam };
}
