/**
 * Swarm networks that their allocator could not complete: Docker lists them, without a driver.
 *
 * In:  Docker's unix socket.  Out: id, name, time of creation; rejects when Docker does not answer.
 * Rule: asked for only by a manager that refused one; a network of the built-in ingress kind is never one of them.
 */
import Docker from "dockerode";
import * as z from "zod/mini";
import type { NetworkId } from "../core/ids.ts";
import type { WaitingNetwork } from "../core/refusals.ts";

const TIMEOUT_MS = 5_000;
const listing = z.array(z.object({ Id: z.string(), Name: z.string(), Driver: z.string(), Created: z.string(), Ingress: z.nullish(z.boolean()) }));

export async function waitingNetworks(socketPath: string): Promise<readonly WaitingNetwork[]> {
  const body: unknown = await new Docker({ socketPath, timeout: TIMEOUT_MS }).listNetworks({ filters: { scope: ["swarm"] } });
  return z.parse(listing, body)
    .filter(({ Driver, Ingress }) => Driver === "" && Ingress !== true)
    .map(({ Id, Name, Created }) => ({ id: Id as NetworkId, name: Name, createdAtMs: Date.parse(Created) }));
}
