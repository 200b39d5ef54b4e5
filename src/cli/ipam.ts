/**
 * `ipam show|check`: how full each range is, and what in it nobody needs.
 *
 * In:  GET /ipam, POST /ipam/fix.  Out: one line per range, or per finding with its reason; JSON for programs.
 * Rule: `check` exits with 1 while something was found that `--fix` did not mend.
 */
import type { IpamAnswer, IpamFinding, IpamRange } from "../core/state-answer.ts";
import { ask } from "./ask.ts";
import type { ExitStatus } from "./failure.ts";
import { table } from "./table.ts";
import { socketOf } from "./target.ts";
import { ANSWER_MS, json, type Terminal, type VerbOptions } from "./verb.ts";

export interface IpamOptions extends VerbOptions { readonly fix?: boolean }

export async function ipamShow(options: VerbOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<IpamAnswer>({ socket, method: "GET", path: "/ipam", timeoutMs: ANSWER_MS });
  terminal.out(options.output === "json" ? json(answer) : renderIpam(answer));
  return 0;
}

export async function ipamCheck(options: IpamOptions, terminal: Terminal): Promise<ExitStatus> {
  const { fix = false } = options;
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<IpamAnswer>({ socket, ...(fix ? { method: "POST", path: "/ipam/fix" } : { method: "GET", path: "/ipam" }), timeoutMs: ANSWER_MS });
  terminal.out(options.output === "json" ? json(answer) : renderFindings(answer.findings, fix));
  return answer.findings.some(({ kind }) => !fix || kind !== "leaked") ? 1 : 0;
}

export const renderIpam = ({ ranges }: IpamAnswer): string =>
  (ranges.length === 0 ? "no network of ours\n" : table(["NETWORK", "NODE", "RANGE", "CAPACITY", "USED", "RESTING", "LEAKED", "FULL"], ranges.map(row)));

const row = ({ network, flannelId, node, range, capacity, used, resting, leaked }: IpamRange): readonly string[] => [
  network === "" ? flannelId : network, node, range, String(capacity), String(used), String(resting), String(leaked),
  `${capacity === 0 ? 100 : Math.round((100 * (used + resting + leaked)) / capacity)} %`,
];

function renderFindings(findings: readonly IpamFinding[], fixed: boolean): string {
  if (findings.length === 0) return "nothing is leaked, no address is held twice\n";
  const leaked = findings.filter(({ kind }) => kind === "leaked").length;
  const summary = fixed ? `${leaked === 1 ? "1 address rests" : `${leaked} addresses rest`} from now on` : leaked > 0 ? "free them: flannel-np ipam check --fix" : "";
  return `${table(["KIND", "NETWORK", "ADDRESS", "WHY", "ACTION"], findings.map(({ kind, network, address, why, action }) => [kind, network, address, why, action]))}${summary === "" ? "" : `${summary}\n`}`;
}
