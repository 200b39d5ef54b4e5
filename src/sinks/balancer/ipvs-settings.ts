/**
 * What IPVS itself must be set to, for as long as we use it.
 *
 * In:  the frame's changes, as they pass by.  Out: the kernel's values as faults of the frame; our own while there is a frame,
 * the former ones after it.
 * Rule: what was there before is noted before the first write, in a file that a reboot takes along, as it takes the values.
 */
import type { Sink } from "../../core/reconciler.ts";
import { expectSuccess, type Exec } from "../exec.ts";
import type { Sysctls } from "../sysctls.ts";
import type { VipChange, VipState } from "../vip-table.ts";

/** `readonly` values by name, "" for none; survives this process and ends with the boot. */
export interface FormerValues { read(): Readonly<Record<string, string>>; write(values: Readonly<Record<string, string>>): void }

export interface IpvsSettingsOptions {
  readonly exec: Exec;
  readonly sysctls: Sysctls;
  readonly former: FormerValues;
  /** "6.1.0-50-amd64" */
  readonly kernel: string;
}

const VS = "net/ipv4/vs";
/** tcp, tcpfin, udp in seconds: longer than the two hours after which a kernel sends its first keepalive. */
const TIMEOUTS = "7260 120 300";
const TIMEOUT_KEY = "timeouts";

export function ipvsSysctls(kernel: string): readonly (readonly [path: string, value: string])[] {
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  // Before 5.9 mode 1 drops the first SYN of a port that is used again: a second lost.
  const reuse = major > 5 || (major === 5 && minor >= 9) ? "1" : "0";
  return [
    [`${VS}/conntrack`, "1"], [`${VS}/conn_reuse_mode`, reuse], [`${VS}/expire_nodest_conn`, "1"], [`${VS}/expire_quiescent_template`, "1"],
  ];
}

/** `ipvsadm -L --timeout`: "Timeout (tcp tcpfin udp): 900 120 300" (1.31). */
export const parseTimeouts = (text: string): string | undefined => /^Timeout \(tcp tcpfin udp\): (\d+ \d+ \d+)/m.exec(text)?.[1];

export function withIpvsSettings(frame: Sink<VipState, VipChange>, { exec, sysctls, former, kernel }: IpvsSettingsOptions): Sink<VipState, VipChange> {
  const wanted = ipvsSysctls(kernel);
  const timeouts = async (signal: AbortSignal): Promise<string | undefined> =>
    parseTimeouts(expectSuccess(await exec({ file: "ipvsadm", args: ["-L", "--timeout"], timeoutMs: 10_000 }, signal), "read IPVS's time limits").stdout);
  const setTimeouts = async (values: string, signal: AbortSignal): Promise<void> => {
    expectSuccess(await exec({ file: "ipvsadm", args: ["--set", ...values.split(" ")], timeoutMs: 10_000 }, signal), "set IPVS's time limits");
  };
  const isValue = async (): Promise<readonly (string | undefined)[]> => sysctls.read(wanted.map(([path]) => path));
  return {
    observe: async (signal) => {
      const { entries, faults } = await frame.observe(signal);
      if (!entries.has("frame")) return { entries, faults };
      const is = await isValue();
      const wrong = wanted.flatMap(([path, value], n) => (is[n] === value ? [] : [`${path} is ${is[n] ?? "not there"}`]));
      const seen = await timeouts(signal);
      return { entries, faults: [...faults, ...wrong, ...(seen === TIMEOUTS ? [] : [`IPVS forgets idle connections after ${seen ?? "unknown"} s (tcp tcpfin udp)`])] };
    },
    apply: async (changes, signal) => {
      const change = changes.find(({ entry }) => entry.kind === "frame");
      if (change !== undefined && change.op !== "delete") {
        const before = Object.fromEntries((await isValue()).map((value, n) => [wanted[n]?.[0] ?? "", value ?? ""]));
        const noted = former.read();
        if (noted[TIMEOUT_KEY] === undefined) former.write({ ...before, [TIMEOUT_KEY]: (await timeouts(signal)) ?? "" });
        await sysctls.write(wanted);
        await setTimeouts(TIMEOUTS, signal);
      }
      await frame.apply(changes, signal);
      if (change?.op !== "delete") return;
      const { [TIMEOUT_KEY]: limits = "", ...values } = former.read();
      await sysctls.write(Object.entries(values).filter(([, value]) => value !== ""));
      if (limits !== "") await setTimeouts(limits, signal);
      former.write({});
    },
  };
}
