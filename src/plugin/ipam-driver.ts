/**
 * IpamDriver: Docker's questions about ranges and addresses, answered by the address book.
 *
 * In:  decoded requests.  Out: answers in Docker's words.
 * Rule: the side is in the PoolID; a release never fails, because Docker only logs what it could not release.
 */
import type { AddressBook } from "../core/address-book.ts";
import { OperatorError } from "../core/errors.ts";
import type { Cidr } from "../core/ids.ts";
import { parsePoolOptions } from "../core/network-options.ts";
import type { Admission } from "./admission.ts";
import type { IpamDriver } from "./drivers.ts";
import {
  poolIdOf, type AddressAnswer, type ReleaseAddressRequest, type RequestAddressAnswer, type RequestAddressRequest,
  type RequestPoolAnswer, type RequestPoolRequest,
} from "./protocol.ts";

export function ipamDriver(book: AddressBook, admission: Admission): IpamDriver {
  return {
    async requestPool(request): Promise<RequestPoolAnswer> {
      admission.check();
      const { caller, pool, options } = ipv4Only(request);
      const { flannelId, replay } = parsePoolOptions(options);
      const asked = { options, replay, ...(flannelId === undefined ? {} : { flannelId }), ...(pool === undefined ? {} : { cidr: pool }) };
      const found = caller === "manager" ? await book.managerPool(asked) : await book.nodePool(asked);
      return { PoolID: poolIdOf(caller, found.flannelId), Pool: found.cidr, Data: {} };
    },
    // Pools go when Docker's listing lacks their network; this call is only one side's word (protocol §4.1). One that never had
    // a network is not listed: there the word is all there is.
    async releasePool({ caller, flannelId }) {
      if (caller === "manager" && flannelId !== undefined) await book.abandon(flannelId).catch(() => undefined);
    },
    async requestAddress(request): Promise<RequestAddressAnswer> {
      admission.check();
      return { Address: await addressFor(book, request), Data: {} };
    },
    async releaseAddress({ caller, flannelId, address }: ReleaseAddressRequest): Promise<void> {
      if (flannelId !== undefined && address !== undefined) await book.release(caller, flannelId, address);
    },
  };
}

async function addressFor(book: AddressBook, request: RequestAddressRequest): Promise<AddressAnswer> {
  const gateway = request.purpose === "gateway";
  if (request.caller === "manager") {
    return book.managerAddress(request.flannelId, { gateway, ...(request.address === undefined ? {} : { address: request.address }) });
  }
  return book.nodeAddress(request.flannelId, { gateway, owner: request.purpose === "endpoint" ? request.mac : "gateway" });
}

interface Ipv4Pool { readonly caller: "manager" | "node"; readonly pool: Cidr | undefined; readonly options: Readonly<Record<string, string>> }

function ipv4Only(request: RequestPoolRequest): Ipv4Pool {
  if (request.family === "ipv6") {
    throw new OperatorError("unsupported", "Cannot make an IPv6 range: this driver carries IPv4 only", { cure: "Create the network without --ipv6 and without an IPv6 --subnet" });
  }
  if (request.subPool !== undefined && request.subPool !== request.pool) {
    throw new OperatorError("unsupported", `Cannot limit addresses to ${request.subPool}: every node has a subnet of its own`, { cure: "Create the network without --ip-range" });
  }
  return { caller: request.caller, pool: request.pool, options: request.options };
}
