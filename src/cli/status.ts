/**
 * `status`: is this node well, and if not, what must somebody do?
 *
 * In:  GET /readyz and GET /state.  Out: one screen, problems first with their cures, or the same as JSON.
 * Rule: exit status 1 when the operator is not ready or names a problem.
 */
import type { NetworkState, PeerState, Problem, ReadyAnswer, ReconcilerState, SourceState, StateAnswer } from "../core/state-answer.ts";
import { ask } from "./ask.ts";
import type { ExitStatus } from "./failure.ts";
import { section, span } from "./table.ts";
import { socketOf } from "./target.ts";
import { ANSWER_MS, json, type Terminal, type VerbOptions } from "./verb.ts";

export async function status(options: VerbOptions, terminal: Terminal): Promise<ExitStatus> {
  const socket = await socketOf(options, terminal.places);
  const get = <T>(path: string): Promise<T> => ask<T>({ socket, method: "GET", path, timeoutMs: ANSWER_MS, alsoFine: [503] });
  const [ready, state] = await Promise.all([get<ReadyAnswer>("/readyz"), get<StateAnswer>("/state")]);
  terminal.out(options.output === "json" ? json({ ...ready, ...state }) : renderStatus(ready, state, terminal.now()));
  return ready.ready && problemsOf(state).length === 0 ? 0 : 1;
}

export function renderStatus(ready: ReadyAnswer, state: StateAnswer, nowMs: number): string {
  return [
    headline(state), readiness(ready), problems(problemsOf(state)),
    section("SOURCES", ["SOURCE", "KNOWS"], Object.entries(state.sources).map(([name, kinds]) => [name, coverage(kinds)])),
    section("OTHER NODES", ["NAME", "ADDRESS", "STATE", "CONTAINERS", "ID"], state.nodes.map(peerRow)),
    section("NETWORKS", ["NAME", "RANGE", "VNI", "THIS NODE'S SUBNET", "STATE", "CONTAINERS", "ID"], state.networks.map(networkRow)),
    section("RECONCILERS", ["NAME", "LAST RESULT", "AGO", "CHANGES", "HELD", "WAITS FOR"], state.engine.map((run) => runRow(run, nowMs))),
  ].join("");
}

function headline({ node, balancer, version, revision, boot }: StateAnswer): string {
  const role = node.leader ? "manager, leader" : node.role;
  const underlay = node.underlay === undefined ? "no underlay yet" : `${node.underlay.address} on ${node.underlay.link}, MTU ${node.underlay.mtuBytes}`;
  return `${node.hostname} (${role}), ${underlay}\nflannel-np ${version}, revision ${revision}, boot ${boot}\nbalancer ${balancer.engine} (${balancer.why})\n`;
}

const readiness = ({ ready, reasons }: ReadyAnswer): string =>
  (ready ? "ready\n" : `NOT READY\n${reasons.map((reason) => `  ${reason}\n`).join("")}`);

const problems = (all: readonly Problem[]): string =>
  (all.length === 0 ? "" : `\nPROBLEMS\n${all.map(({ what, reason, cure }) => `${what}: ${reason}\n  cure: ${cure}\n`).join("")}`);

/** The operator's list, and refused networks it does not repeat. */
export function problemsOf({ problems: listed, networks }: StateAnswer): readonly Problem[] {
  const refused = networks.flatMap(({ name, problem, cure }): Problem[] =>
    (problem === undefined ? [] : [{ what: `network ${name}`, reason: problem, cure: cure ?? "see flannel-np events" }]));
  return [...listed, ...refused.filter(({ reason }) => !listed.some((problem) => problem.reason === reason))];
}

/** Kinds by coverage, the complete ones first: "complete: networks, services; partial: containers". */
function coverage(kinds: SourceState): string {
  const by = (wanted: string): readonly string[] => Object.entries(kinds).filter(([, known]) => known === wanted).map(([kind]) => kind);
  return ["complete", "partial", "unknown"].flatMap((wanted) => {
    const named = by(wanted);
    return named.length === 0 ? [] : [`${wanted}: ${named.join(", ")}`];
  }).join("; ");
}

const peerRow = ({ hostname, publicIp, state, sign, containers, id }: PeerState): readonly string[] =>
  [hostname, publicIp ?? "", sign === undefined ? state : `${state}: ${sign}`, String(containers), id];

const networkRow = ({ name, cidr, vni, subnet, state, containers, id }: NetworkState): readonly string[] =>
  [name, cidr, vni === undefined ? "" : String(vni), subnet ?? "", state, String(containers), id.slice(0, 12)];

function runRow({ reconciler, result, atMs, changes, held, blocked, error }: ReconcilerState, nowMs: number): readonly string[] {
  const waits = [...blocked, ...(error === undefined ? [] : [error.message])].join("; ");
  return [reconciler, result, atMs === undefined ? "" : span(nowMs - atMs), String(changes), String(held), waits];
}
