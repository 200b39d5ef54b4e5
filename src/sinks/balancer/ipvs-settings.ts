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
import type { MarkRange, VipChange, VipState } from "../vip-table.ts";
import { restore } from "./ipvs.ts";
import { parseIpvs, serviceEnd } from "./ipvs-text.ts";

/** `readonly` values by name, "" for none; survives this process and ends with the boot. */
export interface FormerValues { read(): Readonly<Record<string, string>>; write(values: Readonly<Record<string, string>>): void }

export interface IpvsSettingsOptions {
  readonly exec: Exec;
  readonly sysctls: Sysctls;
  readonly former: FormerValues;
  readonly marks: MarkRange;
}

const VS = "net/ipv4/vs";
/** tcp, tcpfin, udp in seconds: longer than the two hours after which a kernel sends its first keepalive. */
const TIMEOUTS = "7260 120 300";
const TIMEOUT_KEY = "timeouts";
/** Not a value of the kernel's: which services are ours, should MARK_RANGE change together with the engine. */
const MARKS_KEY = "marks";

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

type Options = Omit<IpvsSettingsOptions, "marks">;

async function setTimeouts({ exec }: Options, values: string, signal: AbortSignal): Promise<void> {
  expectSuccess(await exec({ file: "ipvsadm", args: ["--set", ...values.split(" ")], timeoutMs: 10_000 }, signal), "set IPVS's time limits");
}

async function putBack(options: Options, signal: AbortSignal): Promise<void> {
  const { [TIMEOUT_KEY]: limits = "", [MARKS_KEY]: _marks, ...values } = options.former.read();
  await options.sysctls.write(Object.entries(values).filter(([, value]) => value !== ""));
  if (limits !== "") await setTimeouts(options, limits, signal);
  options.former.write({});
}

/** `kernel`: "6.1.0-50-amd64". */
export function withIpvsSettings(frame: Sink<VipState, VipChange>, options: IpvsSettingsOptions & { readonly kernel: string }): Sink<VipState, VipChange> {
  const { exec, sysctls, former, kernel, marks } = options;
  const wanted = ipvsSysctls(kernel);
  const timeouts = async (signal: AbortSignal): Promise<string | undefined> =>
    parseTimeouts(expectSuccess(await exec({ file: "ipvsadm", args: ["-L", "--timeout"], timeoutMs: 10_000 }, signal), "read IPVS's time limits").stdout);
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
        const range = { [MARKS_KEY]: `${marks.first}-${marks.last}` };
        if (noted[TIMEOUT_KEY] === undefined) former.write({ ...before, ...range, [TIMEOUT_KEY]: (await timeouts(signal)) ?? "" });
        await sysctls.write(wanted);
        await setTimeouts(options, TIMEOUTS, signal);
      }
      await frame.apply(changes, signal);
      if (change?.op === "delete") await putBack(options, signal);
    },
  };
}

/** `services`: text of /proc/net/ip_vs. */
export interface LeftoverOptions extends IpvsSettingsOptions { readonly services: (signal: AbortSignal) => Promise<string> }

/**
 * Another engine's frame, after which nothing is left of IPVS as this boot has used it: neither our services nor our settings.
 * The note of the former values tells that there is something; where it is empty, services of our marks are somebody else's.
 */
export function withoutIpvs(frame: Sink<VipState, VipChange>, options: LeftoverOptions): Sink<VipState, VipChange> {
  const isClean = (): boolean => Object.keys(options.former.read()).length === 0;
  return {
    observe: async (signal) => {
      const { entries, faults } = await frame.observe(signal);
      return { entries, faults: isClean() ? faults : [...faults, "IPVS of an earlier start is left"] };
    },
    apply: async (changes, signal) => {
      await frame.apply(changes, signal);
      if (isClean() || !changes.some(({ entry }) => entry.kind === "frame")) return;
      const ours = parseIpvs(await options.services(signal), markRange(options));
      if (ours.size > 0) await restore(options.exec, [...ours.keys()].map(serviceEnd).join(""), signal);
      await putBack(options, signal);
    },
  };
}

function markRange({ former, marks }: LeftoverOptions): MarkRange {
  const [first, last] = (former.read()[MARKS_KEY] ?? "").split("-").map(Number);
  return first !== undefined && last !== undefined ? { first, last } : marks;
}
