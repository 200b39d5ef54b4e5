/**
 * `dns query|table|flush|log|stats`: names as one container sees them.
 *
 * In:  GET /dns/query, /dns/table, /dns/log, /dns/stats; POST /dns/flush.  Out: tables for people, JSON for programs.
 * Rule: `query` exits with 1 when there was no record to show, so that a script can rely on it.
 */
import type { Command } from "commander";
import type { AnsweredBy, FlushAnswer, NameAnswer, NameLine, NameRecord, NameStats, NameTable } from "../core/names-answer.ts";
import { ask, askLines } from "./ask.ts";
import type { ExitStatus } from "./failure.ts";
import { section } from "./table.ts";
import { socketOf } from "./target.ts";
import { ANSWER_MS, asking, count, json, type Terminal, type VerbOptions } from "./verb.ts";

interface AsOptions extends VerbOptions { readonly as: string }
interface FlushOptions extends VerbOptions { readonly as?: string }

const EXAMPLES = `
Examples:
  flannel-np dns query web --as front.1.x8d2      what is web for this container, and who says so?
  flannel-np dns query _80._tcp.web SRV --as 3f2a
  flannel-np dns query 10.1.0.2 --as 3f2a         whose address is it?
  flannel-np dns table --as 3f2a                  every name it can ask for, by network
  flannel-np dns log --as 3f2a                    its questions as they come, until interrupted`;

/** Adds the verbs below `dns`. */
export function dnsVerbs(program: Command, terminal: Terminal, done: (exit: ExitStatus) => void): void {
  const dns = program.command("dns").description("names: what a container is answered, and by whom").addHelpText("after", EXAMPLES);
  const as = (command: Command): Command => asking(command).requiredOption("--as <container>", "name or id of a container on that node");
  as(dns.command("query").description("ask the server of a container, the way its programs do; exits with 1 when there is no record"))
    .argument("<name>", "a name, or an address to learn its name").argument("[type]", "A, AAAA, PTR, SRV, TXT, …, or TYPE65", "")
    .action(async (name: string, type: string, options: AsOptions) => { done(await dnsQuery(name, type, options, terminal)); });
  as(dns.command("table").description("what the table of a container holds, by network"))
    .action(async (options: AsOptions) => { done(await dnsTable(options, terminal)); });
  as(dns.command("log").description("each question of a container from now on; nothing is noted while nobody reads"))
    .action(async (options: AsOptions) => { done(await dnsLog(options, terminal)); });
  asking(dns.command("flush").description("forget what Docker's resolver answered, for one container or all"))
    .option("--as <container>", "name or id of a container on that node; without it: all")
    .action(async (options: FlushOptions) => { done(await dnsFlush(options, terminal)); });
  asking(dns.command("stats").description("how many are served, and what was counted since the operator began"))
    .action(async (options: VerbOptions) => { done(await dnsStats(options, terminal)); });
}

export async function dnsQuery(name: string, type: string, options: AsOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<NameAnswer>({ socket, method: "GET", path: "/dns/query", query: { as: options.as, name, type }, timeoutMs: ANSWER_MS });
  terminal.out(options.output === "json" ? json(answer) : renderAnswer(answer));
  return answer.code === "NOERROR" && answer.records.length > 0 && answer.by !== "beside" ? 0 : 1;
}

const BY: Readonly<Record<AnsweredBy, string>> = {
  zone: "flannel-np, from the container's table",
  link: "flannel-np, by the container's own --link",
  forward: "Docker's resolver, asked by flannel-np: the name is in no table of the container",
  cached: "flannel-np, what Docker's resolver said a moment ago",
  stale: "flannel-np, what Docker's resolver said before it fell silent",
  beside: "Docker's resolver alone: the container's questions do not reach flannel-np.\n  cure: flannel-np reconcile dns",
  nobody: "nobody, within 5 s.\n  cure: see flannel-np status; mend it with flannel-np reconcile dns",
};

export function renderAnswer({ container, name, type, by, code, records, authorities, truncated, tookMs }: NameAnswer): string {
  const rows = (list: readonly NameRecord[]): readonly string[][] => list.map((record) => [record.name, String(record.ttlSeconds), record.type, record.data]);
  const head = ["NAME", "TTL", "TYPE", "DATA"];
  return [
    `${name} ${type}, asked as ${container}: ${code}${code === "NOERROR" && records.length === 0 ? ", no such record" : ""}${code === "TIMEOUT" ? "" : `, ${tookMs} ms`}\n`,
    `answered by ${BY[by]}\n`, truncated ? "cut short: more is said over TCP\n" : "", section("ANSWER", head, rows(records)), section("AUTHORITY", head, rows(authorities)),
  ].join("");
}

export async function dnsTable(options: AsOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<NameTable>({ socket, method: "GET", path: "/dns/table", query: { as: options.as }, timeoutMs: ANSWER_MS });
  terminal.out(options.output === "json" ? json(answer) : renderTable(answer));
  return 0;
}

export function renderTable({ container, id, mode, port, links, networks }: NameTable): string {
  return [
    `${container} (${id.slice(0, 12)}), mode ${mode}, ${port === undefined ? "no server listens" : `served on 127.0.0.11:${port}`}\n`,
    section("LINKS", ["ALIAS", "NAME"], links.map(({ alias, name }) => [alias, name])),
    ...networks.flatMap(({ network, ttlSeconds, names, services, pointers }, at) => [
      section(`NETWORK ${network}, asked ${at === 0 ? "first" : `after ${networks[at - 1]?.network ?? ""}`}, TTL ${ttlSeconds} s`, ["NAME", "ADDRESSES", "TEXTS"],
        names.map(({ name, addresses, texts }) => [name, addresses.join(" "), texts.map((text) => JSON.stringify(text)).join(" ")])),
      section(`PORTS of ${network}`, ["NAME", "PORT", "TARGET", "ADDRESSES"], services.map(({ name, port: number, target, addresses }) => [name, String(number), target, addresses.join(" ")])),
      section(`ADDRESSES of ${network}`, ["ADDRESS", "NAME"], pointers.map(({ address, name }) => [address, name])),
    ]),
  ].join("");
}

export async function dnsLog(options: AsOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  for await (const line of askLines({ socket, method: "GET", path: "/dns/log", query: { as: options.as } })) {
    terminal.out(`${options.output === "json" ? line : renderLine(JSON.parse(line) as NameLine)}\n`);
  }
  terminal.err(`The container ${options.as} is served no longer, or the operator ended.\n`);
  return 0;
}

export const renderLine = ({ at, name, type, transport, outcome, by, lost }: NameLine): string =>
  `${at} ${transport} ${name} ${type} ${outcome} by ${by}${lost === 0 ? "" : ` (${count(lost, "line")} before it left out)`}`;

export async function dnsFlush(options: FlushOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<FlushAnswer>({ socket, method: "POST", path: "/dns/flush", query: { as: options.as ?? "" }, timeoutMs: ANSWER_MS });
  terminal.out(options.output === "json" ? json(answer) : `forgotten for ${count(answer.containers, "container")}\n`);
  return 0;
}

export async function dnsStats(options: VerbOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const answer = await ask<NameStats>({ socket, method: "GET", path: "/dns/stats", timeoutMs: ANSWER_MS });
  terminal.out(options.output === "json" ? json(answer) : renderStats(answer));
  return 0;
}

export const renderStats = ({ sandboxes, networks, names, counters }: NameStats): string =>
  `${count(sandboxes, "container")} served, ${count(names, "name")} of ${count(networks, "network")}\n${section("COUNTED SINCE THE OPERATOR BEGAN", ["WHAT", "TIMES"], Object.entries(counters).map(([what, times]) => [what, String(times)]))}`;
