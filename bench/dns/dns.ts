/**
 * Keeps true: how fast a container's names are answered is told beside Docker's own server, in the same container and run.
 * In: node1. Out: queries per second, latencies, CPU and memory; one and many names, one and many containers, a busy operator.
 */
import { askDocker, callDocker } from "../../lab/docker-api.ts";
import { must } from "../../lab/run.ts";
import { until } from "../../lab/wait.ts";
import type { Bed, Container } from "../bed.ts";
import { field, pidOf, removeContainer, runContainer } from "../bed.ts";
import type { Benchmark } from "../benchmark.ts";
import { median, rivalOf, type Figure, type Goal } from "../figures.ts";
import { cpuMilliseconds, daemonPid } from "../process-cost.ts";
import { abreast, inRounds } from "../rounds.ts";
import { Loads, type Load } from "./load.ts";
import { Stand } from "./stand.ts";

const NETWORK = "bench-dns";
const NAMES = 10_000;
const ROUNDS = 5;
const SECONDS = 1;
const OUTSTANDING = 48;
const CROWD = 20;
/** For the memory of one. */
const MANY = 500;
type Who = "ours" | "docker";
interface Run extends Load { readonly cpuMicros: number }
type Goals = Partial<Record<keyof Run, Goal>>;

const FASTER: Goal = { of: "ratio", relation: "≥", limit: 2 };
const SOONER: Goal = { of: "ratio", relation: "≤", limit: 0.5 };
const NO_LATER: Goal = { of: "ratio", relation: "≤", limit: 1 };
const CHEAP: Goal = { of: "value", relation: "≤", limit: 5 };
const CALM: Goal = { of: "value", relation: "≤", limit: 2_000 };
const SMALL: Goal = { of: "value", relation: "≤", limit: 30 };

interface Contest { readonly bed: Bed; readonly stand: Stand; readonly loads: Loads; readonly places: readonly string[]; readonly dockerd: number }

/** A bridge with Docker's own server, and one container there that has all the names. */
async function withNames<T>({ manager }: Bed, work: () => Promise<T>): Promise<T> {
  const api = (method: "POST", path: string, json?: unknown): Promise<unknown> => askDocker(`${method} ${path}`, { socket: manager.socket, method, path, timeoutMs: 120_000, ...(json === undefined ? {} : { json }) });
  await api("POST", "/networks/create", { Name: NETWORK, Driver: "bridge" });
  const aliases = Array.from({ length: NAMES }, (_, n) => `n${n}`);
  const made = await api("POST", "/containers/create", {
    Image: "lab/box", Cmd: ["sleep", "3600"], HostConfig: { NetworkMode: NETWORK }, NetworkingConfig: { EndpointsConfig: { [NETWORK]: { Aliases: aliases } } },
  });
  const target = { node: manager, id: String(field(made, "Id")) };
  try {
    await api("POST", `/containers/${target.id}/start`);
    return await work();
  } finally {
    await removeContainer(target);
    await callDocker({ socket: manager.socket, method: "DELETE", path: `/networks/${NETWORK}` });
  }
}

/** One load on one server; CPU time is that of the server's process, the kernel's work in its name included. */
async function once({ stand, loads, dockerd }: Contest, who: Who, places: readonly string[], outstanding: number, names: number): Promise<Run> {
  await stand.answers(who, places);
  const server = who === "ours" ? stand.pid : dockerd;
  const before = await cpuMilliseconds(server);
  const load = await loads.udp(places, SECONDS, outstanding, names);
  return { ...load, cpuMicros: (await cpuMilliseconds(server) - before) * 1_000 / load.done };
}

const LABELS: Readonly<Partial<Record<keyof Run, readonly [name: string, unit: string]>>> = {
  qps: ["queries", "/s"], p50: ["p50", "µs"], p99: ["p99", "µs"], cpuMicros: ["CPU per query", "µs"],
};

async function compare(contest: Contest, what: string, places: readonly string[], outstanding: number, names: number, goals: Goals): Promise<readonly Figure[]> {
  contest.bed.progress(what);
  const [ours = [], docker = []] = await inRounds(ROUNDS, (["ours", "docker"] as const).map((who) => () => once(contest, who, places, outstanding, names)));
  return Object.entries(goals).map(([part, goal]) => {
    const of = (runs: readonly Run[]): readonly number[] => runs.map((each) => each[part as keyof Run]);
    const [label, unit] = LABELS[part as keyof Run] ?? [part, ""];
    return { name: `${what}, ${label}`, unit, value: median(of(ours)), samples: ROUNDS, rival: rivalOf("Docker", of(ours), of(docker)), goal };
  });
}

async function secondOpinion({ stand, loads, places }: Contest, transport: "udp" | "tcp"): Promise<Figure> {
  const [place = ""] = places;
  const [ours = [], docker = []] = await inRounds(ROUNDS, (["ours", "docker"] as const).map((who) => async () => {
    await stand.answers(who, [place]);
    return loads.dnsperf(place, transport, SECONDS);
  }));
  return { name: `${NAMES} names by ${transport.toUpperCase()}, dnsperf, queries`, unit: "/s", value: median(ours), samples: ROUNDS, rival: rivalOf("Docker", ours, docker), goal: FASTER };
}

/** Sockets in namespaces of this machine, which cost what containers' would. */
async function memoryPerContainer({ stand }: Contest): Promise<Figure> {
  const names = Array.from({ length: MANY }, (_, n) => `bench-dns-${n}`);
  const ip = (verb: string): Promise<string> => must(`${verb} namespaces`, "ip", ["-force", "-batch", "-"], { input: names.map((name) => `netns ${verb} ${name}\n`).join("") });
  const size = async (): Promise<number> => (await stand.tell({})).rssKib ?? 0;
  await ip("add");
  try {
    const before = await size();
    for (const name of names) await stand.tell({ open: `/run/netns/${name}` });
    const after = await size();
    for (const name of names) await stand.tell({ close: `/run/netns/${name}` });
    return { name: "our process, memory per container served", unit: "KiB", value: (after - before) / MANY, samples: MANY, goal: SMALL };
  } finally {
    await ip("delete");
  }
}

async function contests(contest: Contest): Promise<readonly Figure[]> {
  const one = contest.places.slice(0, 1);
  const figures: Figure[] = [];
  for (const names of [1, 100, NAMES]) figures.push(...await compare(contest, `${names} names`, one, OUTSTANDING, names, { qps: FASTER, p99: SOONER, cpuMicros: CHEAP }));
  figures.push(...await compare(contest, "one query at a time", one, 1, 100, { p50: NO_LATER, p99: NO_LATER }));
  figures.push(await secondOpinion(contest, "udp"), await secondOpinion(contest, "tcp"));
  figures.push(...await compare(contest, `${CROWD} containers`, contest.places, CROWD * 3, 100, { qps: FASTER, p99: SOONER }));
  await contest.stand.tell({ busy: true });
  figures.push(...await compare(contest, `${CROWD} containers, our main thread busy`, contest.places, CROWD * 3, 100, { qps: FASTER, p99: CALM }));
  figures.push(...await compare(contest, `${CROWD} containers one query each, our main thread busy`, contest.places, CROWD, 100, { p99: CALM }));
  await contest.stand.tell({ busy: false });
  return [...figures, await memoryPerContainer(contest)];
}

export const dns: Benchmark = {
  name: "dns",
  title: "Names",
  how: `Queries for ${NAMES} names of one container on a bridge network of node1, asked inside ${CROWD} other containers there; Docker's embedded server answers, or ours with the same names, the take-over of design D6 set and removed by hand; ` +
    `in turn, ${ROUNDS} rounds of ${SECONDS} s; medians, and the median of the rounds' ratios. ${OUTSTANDING} queries are outstanding unless said otherwise, asked by bench/dns/dnsload.c, which shares the two cores with the server. ` +
    "Busy: the main thread of our process computes for 50 ms of every 250. CPU is that of the whole process.",
  run: (bed) => withNames(bed, async () => {
    const [stand, loads, containers] = [new Stand(NAMES), await Loads.make(NAMES), [] as Container[]];
    try {
      await abreast(CROWD, 4, async () => { containers.push(await runContainer(bed.manager, NETWORK, ["sleep", "3600"])); });
      const places: string[] = [];
      for (const container of containers) places.push(`/proc/${bed.manager.pid}/root/proc/${await pidOf(container)}/ns/net`);
      for (const place of places) await stand.open(place);
      await until({ what: "Docker's server to know the names", timeoutMs: 60_000, cure: "repeat the command" }, async () => (await loads.udp(places.slice(0, 1), 0.1, 1, NAMES)).done > 0);
      return await contests({ bed, stand, loads, places, dockerd: await daemonPid(bed.manager.pid, "dockerd") });
    } finally {
      await stand.stop();
      await loads.remove();
      await abreast(containers.length, 4, async (index) => { const each = containers[index]; if (each !== undefined) await removeContainer(each); });
    }
  }),
};
