/**
 * Plays a story: each line is done, then time passes until every operator has nothing left to do; what changed is written down.
 *
 * In:  lines, share of calls that fail, seed.  Out: the transcript, the dump at the end, broken laws by line.
 * Rule: time is jest's: seconds of a story are milliseconds of a test. Quiet means: all that can be asked has answered whole, and
 * every second plan is empty.
 */
import { jest } from "@jest/globals";
import type { Task } from "../../src/core/model.ts";
import { seeded } from "../fakes/faulty.ts";
import { Cluster } from "./cluster.ts";
import { difference, dump } from "./dump.ts";
import { Laws } from "./laws.ts";
import { parseLine } from "./line.ts";
import type { Node } from "./node.ts";
import { perform } from "./verbs.ts";

export interface Story { readonly nodes: readonly ("manager" | "worker")[]; readonly lines: readonly string[] }
export interface Played { readonly transcript: string; readonly last: readonly string[]; readonly broken: readonly string[]; readonly ms: number; readonly deletes: number; readonly faults: number }

const STEP_MS = 250;
/** Looks in a row that must find nothing to do. */
const QUIET = 4;
const PATIENCE_MS = 600_000;
const SINCE = new Date("2026-01-01T00:00:00Z");

export async function play({ nodes, lines }: Story, faults: { readonly seed: number; readonly rate: number }): Promise<Played> {
  jest.useFakeTimers({ now: SINCE });
  const random = jest.spyOn(Math, "random").mockImplementation(seeded(faults.seed));
  try {
    const cluster = new Cluster(nodes, faults);
    const laws = new Laws(cluster);
    for (const node of cluster.nodes) node.start();
    await quiet(cluster, "start");
    let before = await dump(cluster);
    const transcript = ["> start", ...before.map((line) => `+ ${line}`)];
    const broken = laws.check().map((law) => `start: ${law}`);
    for (const line of lines) {
      const refusal = await passing(perform(cluster, parseLine(line)));
      await quiet(cluster, line);
      const now = await dump(cluster);
      transcript.push("", `> ${line}`, ...(refusal === undefined ? [] : [`! ${refusal}`]), ...difference(before, now));
      broken.push(...laws.check().map((law) => `${line}: ${law}`));
      before = now;
    }
    return { ms: Date.now() - SINCE.getTime(), transcript: `${transcript.join("\n")}\n`, last: before, broken, deletes: laws.deletes, faults: cluster.nodes.flatMap(({ said }) => said).filter(isFault).length };
  } finally {
    random.mockRestore();
    jest.clearAllTimers();
    jest.useRealTimers();
  }
}

const isFault = ({ fields }: { readonly fields: unknown }): boolean => JSON.stringify(fields).includes("a fault was injected");

/** Time goes on while it is waited for. */
export async function passing<T>(work: Promise<T>): Promise<T> {
  const end = { reached: false };
  const mark = (): void => { end.reached = true; };
  work.then(mark, mark);
  for (let ms = 0; !end.reached && ms < PATIENCE_MS; ms += STEP_MS) await jest.advanceTimersByTimeAsync(STEP_MS);
  if (!end.reached) throw new Error("it does not end");
  return work;
}

export async function quiet(cluster: Cluster, line: string): Promise<void> {
  let reason = "";
  for (let ms = 0, calm = 0; calm < QUIET; ms += STEP_MS) {
    if (ms > PATIENCE_MS) throw new Error(`${line}: no quiet: ${reason}`);
    await jest.advanceTimersByTimeAsync(STEP_MS);
    const unrest = (await Promise.all(cluster.nodes.map((node) => node.calmly(() => unrestOf(node))))).find((one) => one !== undefined);
    reason = unrest ?? reason;
    calm = unrest === undefined ? calm + 1 : 0;
  }
}

/** No event tells of a task: it is read now and then. */
const states = (tasks: Iterable<Task>): string => [...tasks].map(({ id, state, desiredState }) => `${id} ${state} ${desiredState}`).sort().join(", ");

/** Why a node is not at rest. */
async function unrestOf(node: Node): Promise<string | undefined> {
  const { life } = node;
  if (life === undefined) return undefined;
  const { docker, etcd } = life.known.views;
  if (!node.cut.has("docker") && docker.node.coverage !== "complete") return `${node.name} has not listed Docker`;
  if (!node.cut.has("etcd") && etcd.nodes.coverage === "unknown") return `${node.name} has not listed etcd`;
  if (docker.node.coverage === "complete" && docker.tasks.coverage === "complete" && states(docker.tasks.items.values()) !== states(node.tasks())) return `${node.name} has not read the tasks`;
  const reports = await life.engine.plan(life.engine.names, new AbortController().signal);
  for (const report of reports) {
    // etcd cannot be looked at while it is away.
    if ("error" in report && node.cut.has("etcd") && ["leases", "publish", "mirror"].includes(report.reconciler)) continue;
    if ("error" in report) return `${node.name} ${report.reconciler}: ${report.error.message}`;
    if (report.plan.changes.length > 0) return `${node.name} ${report.reconciler}: ${report.plan.changes.map(({ op, key, why }) => `${op} ${key} (${why})`).join(", ")}`;
  }
  return undefined;
}
