/**
 * The words of the stories: one line, one step.
 *
 * In:  a line.  Out: what Docker, a person or fate does; what was refused is told in the transcript.
 */
import { jest } from "@jest/globals";
import type { Line } from "./line.ts";
import type { NodeId } from "../../src/core/ids.ts";
import { keys } from "./node.ts";
import { pause, Refusal, type Cluster } from "./cluster.ts";
import { createService, endTask, known, removeService, setMode, shutDown, slotsOf, startTask } from "./services.ts";

type Verb = (cluster: Cluster, line: Line) => Promise<void> | void;

async function scale(cluster: Cluster, name: string, replicas: number): Promise<void> {
  const service = known(cluster, name);
  const slots = slotsOf(cluster, name);
  for (const slot of slots.filter((one) => one > replicas)) {
    shutDown(cluster, name, slot);
    await endTask(cluster, name, slot);
  }
  for (let slot = 1; slot <= replicas; slot += 1) if (!slots.includes(slot)) await startTask(cluster, service, slot);
}

function place(cluster: Cluster, { word, at }: Line, change: "add" | "delete"): void {
  for (const node of at === undefined ? cluster.nodes : [cluster.node(at)]) node.cut[change](word as "docker" | "etcd");
  cluster.etcd.breakWatches();
  for (const { docker } of cluster.nodes) docker.breakStreams();
}

async function leave(cluster: Cluster, { word }: Line): Promise<void> {
  const { docker } = cluster.node(word);
  for (const { record } of [...cluster.swarm.tasks.values()].filter((task) => task.record.node === docker.node)) {
    const name = record.service?.replace("service-", "") ?? "";
    await endTask(cluster, name, record.slot);
  }
  if (docker.node !== undefined) cluster.swarm.members.delete(docker.node);
  Object.assign(docker, { node: undefined, role: "none" });
  docker.tell("network", "destroy", "ingress", { name: "ingress" });
}

function join(cluster: Cluster, { word, as }: Line): void {
  const node = cluster.node(word);
  Object.assign(node.docker, { node: as as NodeId, role: "worker" });
  cluster.member(node, "ready");
  node.docker.tell("network", "create", "ingress", { name: "ingress" });
}

async function off(cluster: Cluster, { word }: Line): Promise<void> {
  const node = cluster.node(word);
  node.off();
  cluster.member(node, "down");
  for (const { record } of [...cluster.swarm.tasks.values()].filter((task) => task.record.node === node.docker.node)) {
    const service = known(cluster, record.service?.replace("service-", "") ?? "");
    await endTask(cluster, service.name, record.slot);
    await startTask(cluster, service, record.slot);
  }
}

const VERBS: Readonly<Record<string, Verb>> = {
  network: (cluster, { word }) => cluster.allocate(word),
  "remove-network": (cluster, { word }) => cluster.free(word),
  run: (cluster, { word, on, at = "node1" }) => cluster.startBox(cluster.node(at), { name: word, networks: on }),
  end: (cluster, { word, at = "node1" }) => { cluster.signal(cluster.node(at), word); return cluster.endBox(cluster.node(at), word); },
  service: async (cluster, { word, on, replicas, mode }) => {
    await createService(cluster, word, on, mode);
    await scale(cluster, word, replicas);
  },
  scale: (cluster, { word, replicas }) => scale(cluster, word, replicas),
  mode: (cluster, { word, mode }) => setMode(cluster, word, mode),
  "remove-service": async (cluster, { word }) => {
    await scale(cluster, word, 0);
    await removeService(cluster, word);
  },
  // The service is over, its containers take their time.
  stopping: async (cluster, { word }) => {
    await removeService(cluster, word);
    for (const slot of slotsOf(cluster, word)) shutDown(cluster, word, slot);
  },
  stopped: async (cluster, { word }) => { for (const slot of slotsOf(cluster, word)) await endTask(cluster, word, slot); },
  cut: (cluster, line) => place(cluster, line, "add"),
  heal: (cluster, line) => place(cluster, line, "delete"),
  kill: (cluster, { word }) => cluster.node(word).kill(),
  stop: (cluster, { word }) => cluster.node(word).stop(),
  start: (cluster, { word }) => cluster.node(word).start(),
  "lose-state": (cluster, { word }) => { cluster.node(word).state.text = ""; },
  "damage-state": (cluster, { word }) => { const { state } = cluster.node(word); state.text = state.text.slice(0, state.text.length / 2); },
  off, leave, join,
  on: (cluster, { word }) => {
    const node = cluster.node(word);
    node.isUp = true;
    node.start();
    cluster.member(node, "ready");
  },
  leader: async (cluster, { word }) => {
    cluster.swarm.leader = cluster.node(word).docker.node;
    for (const node of cluster.nodes) cluster.member(node, "ready");
    await pause(6_000);
    await cluster.replay();
  },
  replay: (cluster) => cluster.replay(),
  put: (cluster, { word, text }) => cluster.etcd.put(`${keys.prefix}/${word}`, text),
  delete: (cluster, { word }) => cluster.etcd.delete(`${keys.prefix}/${word}`),
  // Somebody sets the clock: by so many seconds.
  clock: (_cluster, { word }) => { jest.setSystemTime(Date.now() + Number(word) * 1_000); },
  wait: (_cluster, { word }) => pause(Number(word) * 1_000),
};

/** Undefined when all went well, else what the user is told. */
export async function perform(cluster: Cluster, line: Line): Promise<string | undefined> {
  const verb = VERBS[line.verb];
  if (verb === undefined) throw new Error(`no story knows ${line.verb}`);
  try { await verb(cluster, line); } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.message;
  }
  return undefined;
}
