/**
 * `vip list [SERVICE] [--all-nodes]`: what this node, or every node, does with each VIP, and where that is not what it should do.
 *
 * In:  GET /vips, /vips/all.  Out: one line per server, a VIP without any on a line of its own, then what differs; JSON for programs.
 * Rule: exits with 1 while something differs, or a node is not heard.
 */
import type { SwarmVipAnswer, VipAnswer, VipBackend, VipNode, VipRow } from "../core/state-answer.ts";
import { ask } from "./ask.ts";
import { CliError, type ExitStatus } from "./failure.ts";
import { span, table } from "./table.ts";
import { socketOf } from "./target.ts";
import { ANSWER_MS, count, json, type Terminal, type VerbOptions } from "./verb.ts";

export interface VipOptions extends VerbOptions { readonly allNodes?: boolean }

/** The others are waited for, and an etcd that is away is tried for a while. */
const SWARM_MS = 30_000;
const COLUMNS = ["SERVICE", "NETWORK", "VIP", "SCHEDULER", "SERVER", "STATE", "CONNECTIONS", "CONTAINER"];

export async function vipList(service: string | undefined, options: VipOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  if (options.allNodes === true) return ofSwarm(service, socket, options, terminal);
  const answer = await ask<VipAnswer>({ socket, method: "GET", path: "/vips", timeoutMs: ANSWER_MS });
  const vips = answer.vips.filter((row) => service === undefined || row.service === service || row.vip === service);
  if (service !== undefined && vips.length === 0) throw unknown(service, "on this node");
  terminal.out(options.output === "json" ? json({ ...answer, vips }) : renderVipList({ ...answer, vips }));
  return vips.some(({ differences }) => differences.length > 0) ? 1 : 0;
}

const unknown = (service: string, where: string): CliError =>
  new CliError(`Cannot find a VIP of ${service} ${where}`, "See docker service ls, and whether its endpoint mode is vip");

async function ofSwarm(service: string | undefined, socket: string, { output }: VipOptions, terminal: Terminal): Promise<ExitStatus> {
  const answer = await ask<SwarmVipAnswer>({ socket, method: "GET", path: "/vips/all", query: { service: service ?? "" }, timeoutMs: SWARM_MS });
  const { nodes, differences, problem } = answer;
  const heard = nodes.every(({ missing }) => missing === undefined) && problem === undefined;
  if (service !== undefined && heard && nodes.every(({ vips, cut }) => vips.length + cut === 0)) throw unknown(service, "on any node");
  terminal.out(output === "json" ? json(answer) : renderSwarm(answer));
  const right = nodes.every(({ vips, cutDiffering }) => cutDiffering === 0 && vips.every((row) => row.differences.length === 0));
  return heard && right && differences.length === 0 ? 0 : 1;
}

export function renderVipList({ engine, why, vips }: VipAnswer): string {
  const head = `engine ${engine} (${why})\n`;
  if (vips.length === 0) return `${head}no VIP on this node\n`;
  const differences = vips.flatMap((row) => row.differences);
  return `${head}${table([...COLUMNS, "NODE"], vips.flatMap(linesOf))}${list("DIFFERENT IN THE KERNEL", differences)}`;
}

export function renderSwarm({ nodes, differences, problem }: SwarmVipAnswer): string {
  const heads = nodes.flatMap(({ node, balancer }) => (balancer === undefined ? [] : [`${node}: engine ${balancer.engine} (${balancer.why})\n`]));
  const rows = nodes.flatMap(({ node, vips }) => vips.flatMap(linesOf).map((line) => [node, ...line]));
  return heads.join("") + (rows.length === 0 ? "no VIP\n" : table(["NODE", ...COLUMNS, "RUNS ON"], rows))
    + list("DIFFERENT IN THE KERNEL", nodes.flatMap(({ node, vips }) => vips.flatMap((row) => row.differences.map((one) => `${node}: ${one}`))))
    + list("DIFFERENT BETWEEN NODES", differences)
    + list("NOT SHOWN", nodes.filter(({ cut }) => cut > 0).map(cutLine))
    + list("NOT HEARD", nodes.flatMap(({ node, missing }) => (missing === undefined ? [] : [`${node}: ${missing}`])))
    + (problem === undefined ? "" : `\n${problem.message}.\n${problem.cure ?? "See flannel-np status"}.\n`);
}

const list = (title: string, lines: readonly string[]): string => (lines.length === 0 ? "" : `\n${title}\n${lines.map((one) => `  ${one}\n`).join("")}`);

const cutLine = ({ node, cut, cutDiffering }: VipNode): string =>
  `${node}: ${count(cut, "VIP")}${cutDiffering === 0 ? "" : `, ${cutDiffering} of them different in the kernel`}; name a service, or ask there without --all-nodes`;

function linesOf({ service, network, vip, scheduler, backends }: VipRow): readonly (readonly string[])[] {
  const head = [service === "" ? "(none)" : service, network, vip, scheduler];
  return backends.length === 0 ? [[...head, "", "refuses", "", "", ""]] : backends.map((backend, n) => [...(n === 0 ? head : ["", "", "", ""]), ...cellsOf(backend)]);
}

const cellsOf = ({ address, state, drainingMs, connections, container, node }: VipBackend): readonly string[] =>
  [address, state === "draining" ? `draining for ${span(drainingMs)}` : state, String(connections), container, node];
