/**
 * `vip list [SERVICE]`: what this node does with each VIP, and where that is not what it should do.
 *
 * In:  GET /vips.  Out: one line per server, a VIP without any on a line of its own, then what differs; JSON for programs.
 * Rule: exits with 1 while something differs.
 */
import type { VipAnswer, VipBackend, VipRow } from "../core/state-answer.ts";
import { ask } from "./ask.ts";
import { CliError, type ExitStatus } from "./failure.ts";
import { span, table } from "./table.ts";
import { socketOf } from "./target.ts";
import { ANSWER_MS, json, type Terminal, type VerbOptions } from "./verb.ts";

export async function vipList(service: string | undefined, options: VerbOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<VipAnswer>({ socket, method: "GET", path: "/vips", timeoutMs: ANSWER_MS });
  const vips = answer.vips.filter((row) => service === undefined || row.service === service || row.vip === service);
  if (service !== undefined && vips.length === 0) throw new CliError(`Cannot find a VIP of ${service} on this node`, "See docker service ls, and whether its endpoint mode is vip");
  terminal.out(options.output === "json" ? json({ ...answer, vips }) : renderVipList({ ...answer, vips }));
  return vips.some(({ differences }) => differences.length > 0) ? 1 : 0;
}

export function renderVipList({ engine, why, vips }: VipAnswer): string {
  const head = `engine ${engine} (${why})\n`;
  if (vips.length === 0) return `${head}no VIP on this node\n`;
  const differences = vips.flatMap((row) => row.differences);
  return `${head}${table(["SERVICE", "NETWORK", "VIP", "SCHEDULER", "SERVER", "STATE", "CONNECTIONS", "CONTAINER", "NODE"], vips.flatMap(linesOf))}`
    + (differences.length === 0 ? "" : `\nDIFFERENT IN THE KERNEL\n${differences.map((one) => `  ${one}\n`).join("")}`);
}

function linesOf({ service, network, vip, scheduler, backends }: VipRow): readonly (readonly string[])[] {
  const head = [service === "" ? "(none)" : service, network, vip, scheduler];
  return backends.length === 0 ? [[...head, "", "refuses", "", "", ""]] : backends.map((backend, n) => [...(n === 0 ? head : ["", "", "", ""]), ...cellsOf(backend)]);
}

const cellsOf = ({ address, state, drainingMs, connections, container, node }: VipBackend): readonly string[] =>
  [address, state === "draining" ? `draining for ${span(drainingMs)}` : state, String(connections), container, node];
