/**
 * How long the kernel remembers a silent connection: as long through a VIP as without one.
 *
 * In:  the frame's changes, as they pass by.  Out: limits that are too short as faults of the frame; longer ones while there is a
 * frame, the former ones after it.
 * Rule: only raised, never lowered: what a hand made longer stays, then and at the end. What was there before is noted before the
 * first write, in a file that a reboot takes along, as it takes the values.
 */
import type { Sink } from "../../core/reconciler.ts";
import type { Sysctls } from "../sysctls.ts";
import type { VipChange, VipState } from "../vip-table.ts";
import type { FormerValues } from "./ipvs-settings.ts";

export interface IdleLimitsOptions { readonly sysctls: Sysctls; readonly former: FormerValues }

/** Longer than the two hours after which a kernel sends its first keepalive. */
const SECONDS = 7_260;
const LIMIT = "net/netfilter/nf_conntrack_tcp_timeout_";
/**
 * Half-closed, whoever closed first: the kernel's 60 s end it, and what comes then is no part of any connection to a VIP. FIN_WAIT
 * lasts only until the FIN is acknowledged.
 */
const PATHS = [`${LIMIT}close_wait`, `${LIMIT}established`] as const;

type Low = readonly (readonly [path: string, value: string])[];

export function withIdleLimits(frame: Sink<VipState, VipChange>, { sysctls, former }: IdleLimitsOptions): Sink<VipState, VipChange> {
  // Not there before connections are tracked: the frame's own rules see to that.
  const low = async (): Promise<Low> => {
    const is = await sysctls.read(PATHS);
    return PATHS.flatMap((path, n) => (is[n] !== undefined && Number(is[n]) < SECONDS ? [[path, is[n]] as const] : []));
  };
  const raise = async (): Promise<void> => {
    const before = await low();
    if (before.length === 0) return;
    former.write({ ...former.read(), ...Object.fromEntries(before) });
    await sysctls.write(before.map(([path]) => [path, String(SECONDS)]));
  };
  const putBack = async (): Promise<void> => {
    const noted = Object.entries(former.read());
    if (noted.length === 0) return;
    const is = await sysctls.read(noted.map(([path]) => path));
    await sysctls.write(noted.filter((_, n) => is[n] === String(SECONDS)));
    former.write({});
  };
  return {
    observe: async (signal) => {
      const { entries, faults } = await frame.observe(signal);
      if (!entries.has("frame")) return { entries, faults };
      return { entries, faults: [...faults, ...(await low()).map(([path, value]) => `${path} is ${value} s`)] };
    },
    apply: async (changes, signal) => {
      const change = changes.find(({ entry }) => entry.kind === "frame");
      // Before the frame goes: a frame that stays behind raises them again.
      if (change?.op === "delete") await putBack();
      await frame.apply(changes, signal);
      if (change !== undefined && change.op !== "delete") await raise();
    },
  };
}
