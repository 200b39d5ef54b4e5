/**
 * The balancer's engine, chosen once per process, and its two sinks.
 *
 * In:  settings, the kernel.  Out: sinks of vips and balancer; what was chosen and why, for status.
 * Rule: what was asked for and cannot be had is an obstacle with its cure (design D13); the data plane goes on with what there is.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { release } from "node:os";
import { markConflict } from "../core/marks.ts";
import type { BalancerChoice, VipAnswer } from "../core/state-answer.ts";
import { balancerWith } from "../reconcilers/index.ts";
import { vipReport } from "../reconcilers/vip-report.ts";
import { chooseEngine, countFlows, ipvsBalancer, nftBalancer, withIdleLimits, withIpvsSettings, withoutIpvs, type EngineChoice, type FormerValues } from "../sinks/balancer.ts";
import { conntrack } from "../sinks/conntrack.ts";
import { runCommand } from "../sinks/exec.ts";
import type { Sysctls } from "../sinks/sysctls.ts";
import { vipFrame, vipTable, type FrameOf, type VipTable } from "../sinks/vip-table.ts";
import { PATHS, type Base } from "./base.ts";
import type { Facts } from "./facts.ts";
import { askIp } from "./host.ts";
import type { BalancerFacility } from "./operator.ts";

/** `off`: the frame alone, which refuses what is sent to a service range; it is the same with either engine. */
export interface Choice extends EngineChoice { readonly off: boolean }

/** In the words of `status`. */
export const chosen = ({ engine, off, why }: Choice): BalancerChoice => ({ engine: off ? "off" : engine, why });

export async function chooseBalancer({ config, admission, emit }: Base): Promise<Choice> {
  if (config.balancer === "off") return { engine: "nftables", off: true, why: "BALANCER=off" };
  const choice = await chooseEngine(config.balancer, runCommand, AbortSignal.timeout(11_000));
  const obstruct = (variable: string, reason: string, cure: string): void => {
    admission.obstruct({ what: variable, reason, cure });
    emit("config.invalid", { variable, reason, cure });
  };
  if (choice.problem !== undefined) obstruct("BALANCER", choice.problem.reason, choice.problem.cure);
  emit("balancer.chosen", { engine: choice.engine, why: choice.why });
  const conflict = choice.engine === "ipvs" ? markConflict(await askIp(["-j", "rule", "show"]).catch(() => "[]"), config.marks) : undefined;
  if (conflict !== undefined) obstruct("MARK_RANGE", conflict, "Set MARK_RANGE to marks that no rule matches, like MARK_RANGE=0xe00000-0xe0ffff (docker plugin disable, set, enable)");
  return { ...choice, off: false };
}

export interface Balancing extends BalancerFacility { readonly table: VipTable }

export function balancing({ config }: Base, { engine, off }: Choice, sysctls: Sysctls): Balancing {
  const table = vipTable(runCommand, () => performance.now());
  const of: FrameOf = engine === "ipvs" ? { engine, marks: config.marks } : { engine };
  const now = (): number => performance.now();
  const frame = vipFrame(table, of);
  const services = (): Promise<string> => readFile("/proc/net/ip_vs", "utf8");
  const settings = { exec: runCommand, sysctls, former: formerAt(PATHS.formerSysctls), marks: config.marks };
  const settled = engine === "ipvs" ? withIpvsSettings(frame, { ...settings, kernel: release() }) : withoutIpvs(frame, { ...settings, services });
  const sink = engine === "ipvs"
    ? ipvsBalancer({ table, exec: runCommand, conntrack: conntrack(), marks: config.marks, services, now })
    : nftBalancer({ table, conntrack: conntrack(), now });
  return { engine, off, table, vips: withIdleLimits(settled, { sysctls, former: formerAt(PATHS.formerLimits) }), services: sink };
}

/** `GET /vips`: the kernel is asked each time. */
export const vipsOf = ({ config }: Base, { snapshot$ }: Facts, choice: Choice, { services, table }: Balancing) => async (signal: AbortSignal): Promise<VipAnswer> => {
  table.changed();
  const { plan, desire } = balancerWith({ engine: choice.engine, off: choice.off, drainMs: config.drainMs });
  const [observed, flows] = await Promise.all([services.observe(signal), countFlows(conntrack(), signal)]);
  const snapshot = snapshot$.value;
  const desired = desire(snapshot);
  return { ...chosen(choice), vips: vipReport({ snapshot, desired: desired.value.entries, observed, plan: plan(desired, observed), flows }) };
};

const formerAt = (path: string): FormerValues => ({
  read: () => {
    try { return JSON.parse(readFileSync(path, "utf8")) as Readonly<Record<string, string>>; } catch { return {}; }
  },
  write: (values) => { writeFileSync(path, JSON.stringify(values), { mode: 0o600 }); },
});
