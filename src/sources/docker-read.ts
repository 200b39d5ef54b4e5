/**
 * Readings: what the hints name, from Docker into the book. Two, since they fail apart: the engine's own, and swarm's,
 * which hangs for 10 s and more while the managers have no leader.
 *
 * Rule: the book changes only by whole answers. Rejects with an OperatorError, then nothing of that reading counts.
 */
import { OperatorError } from "../core/errors.ts";
import type { ContainerId, NodeId } from "../core/ids.ts";
import type { Member, Service, Views } from "../core/model.ts";
import type { DockerApi } from "./docker-api.ts";
import { reuse, type DockerBook, type Inspection } from "./docker-book.ts";
import type { DockerNode, DockerTask, Found, SwarmStanding } from "./docker-decode.ts";
import { ALL_OF_SWARM, type LocalHint, type SwarmHint } from "./docker-hints.ts";

/** Inspections at once: beyond this dockerd gains nothing (measured: 8 → 107 ms, 32 → 80 ms for 200 containers). */
const AT_ONCE = 16;

export interface Reading { readonly api: DockerApi; readonly book: DockerBook; readonly signal: AbortSignal; report(key: string, reason: string): void }

/** Role, leadership, networks, services, tasks. */
export async function readSwarm(reading: Reading, hint: SwarmHint): Promise<void> {
  if (await attemptSwarm(reading, hint)) return;
  // Demoted between two calls: a second look at the role tells what may be asked.
  if (await attemptSwarm(reading, ALL_OF_SWARM)) return;
  throw new OperatorError("unavailable", "Cannot ask Docker about swarm: it calls itself a manager and answers as a worker", {
    cure: "This passes by itself while a node changes its role",
  });
}

/** False when a call that only managers answer was refused. */
async function attemptSwarm({ api, book, signal, report }: Reading, hint: SwarmHint): Promise<boolean> {
  const info = hint.node === true || book.info === undefined ? await api.info(signal) : book.info;
  const moved = info.role !== book.info?.role || info.node !== book.info?.node;
  const wanted = moved || !book.swarmLive ? ALL_OF_SWARM : hint;
  const networks = wanted.networks === true ? await api.networks(signal) : undefined;
  const shared = info.role === "manager" ? await unlessWorker(askManagers(api, info, wanted, signal)) : NOTHING_SHARED;
  if (shared === undefined) return false;
  const adopt = <T>(kind: keyof Views, found: Found<T>, key: (item: T) => string, known: ReadonlyMap<string, T> | undefined): ReadonlyMap<string, T> => {
    for (const one of found.garbage) report(`${kind}/${one.key}`, one.reason);
    if (found.garbage.length > 0) book.doubtful.add(kind);
    else book.doubtful.delete(kind);
    return reuse(known ?? new Map<string, T>(), new Map(found.items.map((item) => [key(item), item])));
  };
  if (networks !== undefined) book.networks = adopt("networks", networks, ({ record }) => record.id, book.networks);
  if (shared.services !== undefined) book.services = adopt("services", shared.services, ({ id }) => id, book.services);
  if (shared.tasks !== undefined) book.tasks = adopt("tasks", shared.tasks, ({ record }) => record.id, book.tasks);
  if (shared.members !== undefined) book.members = adopt("members", shared.members, ({ id }) => id, book.members);
  Object.assign(book, { info, leader: shared.leader ?? book.leader });
  return true;
}

interface Shared {
  readonly leader?: boolean;
  readonly services?: Found<Service>;
  readonly tasks?: Found<DockerTask>;
  readonly members?: Found<Member>;
}

const NONE = { items: [], garbage: [] } as const;
/** A worker knows neither: empty, so that etcd speaks for them. */
const NOTHING_SHARED: Shared = { leader: false, services: NONE, tasks: NONE, members: NONE };

/**
 * Comes after the networks, and needs a leader to be answered: without one, engines leave swarm's networks out of the
 * list and call that a success (daemon/server/router/network/network_routes.go). So the list counts only if this does.
 */
async function askManagers(api: DockerApi, { node }: SwarmStanding, wanted: SwarmHint, signal: AbortSignal): Promise<Shared> {
  const ask = wanted.node === true || wanted.networks === true;
  return {
    ...(ask && node !== undefined ? standingOf(await api.nodes(signal), node) : {}),
    ...(wanted.services === true ? { services: await api.services(signal) } : {}),
    ...(wanted.tasks === true ? { tasks: await api.tasks(signal) } : {}),
  };
}

/** One listing tells who leads and who is down. */
const standingOf = ({ items, garbage }: Found<DockerNode>, self: NodeId): Pick<Shared, "leader" | "members"> => ({
  leader: items.some(({ record, leader }) => record.id === self && leader), members: { items: items.map(({ record }) => record), garbage },
});

async function unlessWorker<T>(call: Promise<T>): Promise<T | undefined> {
  try { return await call; }
  catch (error) {
    if (error instanceof OperatorError && error.code === "unsupported") return undefined;
    throw error;
  }
}

/** The containers of this engine. */
export async function readContainers({ api, book, signal, report }: Reading, hint: LocalHint): Promise<void> {
  const ids = new Set(hint.containers ?? []);
  if (hint.listing === true) {
    const { items, garbage } = await api.containers(signal);
    for (const { key, reason } of garbage) report(`containers/${key}`, reason);
    if (garbage.length > 0) book.doubtful.add("containers");
    else book.doubtful.delete("containers");
    for (const id of book.listed(items)) ids.add(id);
  }
  const found = new Map<ContainerId, Inspection>();
  try {
    await inParallel([...ids], AT_ONCE, async (id) => {
      const inspection = await inspect(api, id, signal);
      if (inspection === "unreadable") report(`containers/${id}`, "its inspection has an unknown shape");
      found.set(id, inspection);
    });
  } catch (error) {
    // Not all were read: the next listing must not take them for known.
    for (const id of ids) book.fingerprints.delete(id);
    throw error;
  }
  if (found.size > 0) book.inspected(found);
}

async function inspect(api: DockerApi, id: ContainerId, signal: AbortSignal): Promise<Inspection> {
  try { return (await api.container(id, signal)) ?? "gone"; }
  catch (error) {
    if (error instanceof OperatorError && error.code === "invalid") return "unreadable";
    throw error;
  }
}

/** Rejects with the first failure. */
async function inParallel<T>(items: readonly T[], most: number, work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
}
