/**
 * Which engine balances.
 *
 * In:  the setting, the kernel.  Out: the engine and why, or the reason why what was asked for cannot be had.
 * Rule: IPVS only where it is asked for by name (ADR 30); asking it once makes a kernel from 5.16 on load it by itself.
 */
import type { BalancerEngine } from "../../core/service-labels.ts";
import type { Exec } from "../exec.ts";

export interface EngineChoice { readonly engine: BalancerEngine; readonly why: string; readonly problem?: { readonly reason: string; readonly cure: string } }

export async function chooseEngine(asked: "ipvs" | "nftables" | "auto", exec: Exec, signal: AbortSignal): Promise<EngineChoice> {
  if (asked !== "ipvs") return { engine: "nftables", why: `BALANCER=${asked}` };
  const missing = await missingIpvs(exec, signal);
  if (missing === undefined) return { engine: "ipvs", why: "BALANCER=ipvs" };
  return {
    engine: "nftables", why: `BALANCER=ipvs cannot be had (${missing})`,
    problem: { reason: `this kernel has no IPVS (${missing})`, cure: "Load it (modprobe ip_vs), or set BALANCER=nftables (docker plugin disable, set, enable)" },
  };
}

async function missingIpvs(exec: Exec, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { exitCode, stderr } = await exec({ file: "ipvsadm", args: ["-L", "-n", "--timeout"], timeoutMs: 10_000 }, signal);
    return exitCode === 0 ? undefined : (stderr.split("\n").find((line) => line.trim() !== "")?.trim() ?? `ipvsadm ended with ${exitCode}`);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
