/**
 * Which operator is asked: this machine's, one at a given socket, or a lab node's.
 *
 * In:  --socket, --node, --lab.  Out: the path of a debug socket.
 * Rule: a lab node is entered by the pid its lab noted; a lab need not be named while only one has such a node.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CliError } from "./failure.ts";

export interface TargetOptions { readonly socket?: string; readonly node?: string; readonly lab?: string }
/** Where labs note the pids of their nodes, and the socket's place on every machine. */
export interface Places { readonly labs: string; readonly proc: string; readonly socket: string }

export const PLACES: Places = { labs: "/run/flannel-np-lab", proc: "/proc", socket: "/run/flannel-np/debug.sock" };

/** A single path segment, so that neither name leads elsewhere. */
const NAME = /^[a-z0-9][a-z0-9-]*$/;

export async function socketOf({ socket, node, lab }: TargetOptions, places: Places = PLACES): Promise<string> {
  if (node === undefined) {
    if (lab !== undefined) throw new CliError("Cannot choose an operator: --lab needs a node", "Name one, e.g. --node node1");
    return socket ?? places.socket;
  }
  if (socket !== undefined) throw new CliError("Cannot choose an operator: both --socket and --node are given", "Leave one of them out");
  for (const name of [node, ...(lab === undefined ? [] : [lab])]) {
    if (!NAME.test(name)) throw new CliError(`Cannot find "${name}": it is no name of a node or lab`, "See the names: flannel-np lab status");
  }
  const pid = await pidOf(node, lab ?? await labWith(node, places), places);
  return join(places.proc, String(pid), "root", places.socket);
}

async function labWith(node: string, { labs }: Places): Promise<string> {
  const all = await readdir(labs).catch((): string[] => []);
  const lists = await Promise.all(all.map(async (lab) => ({ lab, files: await readdir(join(labs, lab)).catch((): string[] => []) })));
  const found = lists.filter(({ files }) => files.includes(`${node}.pid`)).map(({ lab }) => lab).sort();
  const [only, ...more] = found;
  if (only === undefined) {
    throw new CliError(`Cannot reach node ${node}: no lab on this machine has it running`, "See what runs: flannel-np lab status; start one: flannel-np lab up");
  }
  if (more.length > 0) throw new CliError(`Cannot reach node ${node}: the labs ${found.join(", ")} have one`, `Name the lab, e.g. --lab ${only}`);
  return only;
}

async function pidOf(node: string, lab: string, { labs }: Places): Promise<number> {
  const text = await readFile(join(labs, lab, `${node}.pid`), "utf8").catch((cause: unknown) => {
    throw new CliError(`Cannot reach node ${node} of lab ${lab}: it does not run`, `Start it: flannel-np lab up --lab ${lab}`, cause);
  });
  const pid = Number(text.trim());
  if (Number.isInteger(pid) && pid > 1) return pid;
  throw new CliError(`Cannot reach node ${node} of lab ${lab}: its process id is not noted`, `Start it again: flannel-np lab up --lab ${lab}`);
}
