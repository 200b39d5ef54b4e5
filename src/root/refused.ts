/**
 * Finds out which of Docker's networks were refused, while any was: part of the composition root.
 *
 * Rule: Docker is asked only while a refusal is open.
 */
import { interval, filter, exhaustMap } from "rxjs";
import type { Emit } from "../core/events.ts";
import { Refusals, type RefusedNetwork } from "../core/refusals.ts";
import type { Drivers } from "../plugin/drivers.ts";
import { notingRefusals } from "../plugin/refused-networks.ts";
import { waitingNetworks } from "../sources/waiting-networks.ts";

const LOOK_MS = 2_000;

/** `docker`: path of Docker's socket. */
export function watchRefusals(drivers: Drivers, docker: string, emit: Emit): { readonly drivers: Drivers; readonly refused: () => readonly RefusedNetwork[] } {
  const refusals = new Refusals(Date.now);
  interval(LOOK_MS).pipe(
    filter(() => !refusals.isEmpty),
    exhaustMap(async () => {
      const askedAtMs = Date.now();
      const waiting = await waitingNetworks(docker).catch(() => undefined);
      for (const { network, error } of waiting === undefined ? [] : refusals.listed(waiting, askedAtMs)) {
        emit("network.refused", { network, reason: error.message, cure: error.cure ?? "See the event log" });
      }
    }),
  ).subscribe();
  return { drivers: notingRefusals(drivers, refusals), refused: () => refusals.problems() };
}
