/**
 * Words for asking names inside containers, and for what the answers should be according to Docker's API.
 *
 * In:  the shared lab, containers of lab/box.  Out: answers as text, "NOERROR 10.0.0.2 10.0.0.3": the code, then the data in order.
 * Rule: what is right comes from Docker (inspect of containers and services), never from the server under test.
 */
import type { ChildProcess } from "node:child_process";
import type { Lab } from "../../lab/lab.ts";
import { DEADLINE_MS, addressOf, must, until, type Box, type Node } from "./bed.ts";

/** The goal for a change to be known on every node, 1 s, times twenty. */
const ANSWER_MS = 20_000;
type Asker = Pick<Box, "node" | "name">;
/** By question, in dig's words: "web", "web AAAA", "-x 10.0.0.2", "+tcp web". */
export type Answers = Readonly<Record<string, string>>;

/** What the server beyond the router knows; every other name is NXDOMAIN there. */
export const UPSTREAM = { name: "known.example.com", address: "203.0.113.7" } as const;

export const noerror = (...data: readonly string[]): string => ["NOERROR", ...[...data].sort()].join(" ");

/** Each question once, no retry: a lost answer is seen as TIMEOUT. */
export async function answers(asker: Asker, questions: readonly string[], ...words: readonly string[]): Promise<Answers> {
  const script = `for q in ${questions.map((question) => `'${question}'`).join(" ")}; do echo "# $q"; dig +tries=1 +time=5 ${words.join(" ")} +noall +comments +answer $q; done; true`;
  const text = await must(asker.node, ["docker", "exec", asker.name, "sh", "-c", script], 2 * DEADLINE_MS);
  return Object.fromEntries(text.split(/^# /m).filter((block) => block !== "").map((block) => {
    const [question = "", ...lines] = block.split("\n");
    return [question, answerOf(lines)];
  }));
}

function answerOf(lines: readonly string[]): string {
  const code = /status: (\w+)/.exec(lines.join("\n"))?.[1] ?? "TIMEOUT";
  const data = lines.filter((line) => /^[^;\s]/.test(line)).map((line) => line.split(/\s+/).slice(4).join(" "));
  return [code, ...data.sort()].join(" ");
}

/** Polls until every asker gets all these answers in one round. */
export async function untilAnswers(askers: readonly Asker[], wanted: Answers, deadlineMs = ANSWER_MS): Promise<void> {
  await Promise.all(askers.map((asker) => until(`${asker.name} on ${asker.node.name} to be answered ${JSON.stringify(wanted)}`, async () => {
    const seen = await answers(asker, Object.keys(wanted));
    const wrong = Object.keys(wanted).filter((question) => seen[question] !== wanted[question]);
    if (wrong.length > 0) throw new Error(wrong.map((question) => `${question} → ${seen[question] ?? "nothing"}`).join(", "));
    return true;
  }, deadlineMs)));
}

/** A service whose tasks all run; `options` come before the image. */
export async function runService(lab: Lab, name: string, replicas: number, ...options: readonly string[]): Promise<void> {
  await must(lab.node("node1"), ["docker", "service", "create", "--detach", "--no-resolve-image", "--name", name, "--replicas", String(replicas),
    "--stop-grace-period", "1s", "--restart-delay", "100ms", ...options, "lab/box"]);
  await untilRunning(lab, name, replicas);
}

/** What swarm itself says: so many tasks run, and none is still on its way. */
export const untilRunning = (lab: Lab, name: string, replicas: number): Promise<unknown> =>
  until(`${replicas} running tasks of ${name}`, async () => {
    const states = await must(lab.node("node1"), ["docker", "service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}} {{.Error}}", name]);
    const lines = states.split("\n").filter((line) => line !== "");
    if (lines.length === replicas && lines.every((line) => line.startsWith("Running"))) return true;
    throw new Error(states);
  }, 2 * DEADLINE_MS);

/** Containers of a service that Docker lists as running, with their addresses on a network. */
export async function tasksOf(lab: Lab, service: string, network: string): Promise<readonly Box[]> {
  const found = await Promise.all(lab.nodes.map(async (node) => {
    const names = (await must(node, ["docker", "ps", "--filter", `label=com.docker.swarm.service.name=${service}`, "--format", "{{.Names}}"])).split("\n");
    return Promise.all(names.filter((name) => name !== "").map(async (name) => ({ node, name, address: await addressOf(node, name, network) })));
  }));
  return found.flat();
}

export const addresses = (boxes: readonly Box[]): string[] => boxes.map(({ address }) => address);

/** A service's virtual address on a network. */
export async function vipOf(lab: Lab, service: string, network: string): Promise<string> {
  const manager = lab.node("node1");
  const id = await must(manager, ["docker", "network", "inspect", "-f", "{{.Id}}", network]);
  const lines = (await must(manager, ["docker", "service", "inspect", "-f", "{{range .Endpoint.VirtualIPs}}{{println .NetworkID .Addr}}{{end}}", service])).split("\n");
  const address = lines.find((line) => line.startsWith(id))?.slice(id.length + 1).split("/")[0];
  if (address === undefined) throw new Error(`Cannot find the virtual address of ${service} on ${network}`);
  return address;
}

export const dropServices = async (lab: Lab, ...names: readonly string[]): Promise<void> => {
  const manager = lab.node("node1");
  for (const name of names) await manager.exec(["docker", "service", "rm", name]);
  for (const node of lab.nodes) {
    await until(`the tasks of ${names.join(", ")} to leave ${node.name}`, async () => {
      const left = await must(node, ["docker", "ps", "-a", "--format", '{{.Label "com.docker.swarm.service.name"}}']);
      return !left.split("\n").some((service) => names.includes(service));
    });
  }
};

/** A name server on a bare host, on port 53: knows UPSTREAM and `more`. The caller ends it. */
export async function serveNames(lab: Lab, host: Lab["outside"], ...more: readonly string[]): Promise<ChildProcess> {
  const server = host.spawn([lab.box, "dns-serve", `${UPSTREAM.name}=${UPSTREAM.address}`, ...more]);
  await until(`${host.name} to serve names`, async () =>
    (await host.exec([lab.box, "dns-bench", "-count", "1", "-server", "127.0.0.1:53", UPSTREAM.name])).exitCode === 0);
  return server;
}

/** First 12 digits: the name Docker gives a container by its id. */
export const shortId = async (box: Asker): Promise<string> => (await must(box.node, ["docker", "inspect", "-f", "{{.Id}}", box.name])).slice(0, 12);

/** Both, of a lab's two engines: first the one whose Join gates the start. */
export const nodesOf = (lab: Lab): readonly [Node, Node] => [lab.node("node1"), lab.node("node2")];

/** Why a long part did not run: said aloud, never in silence. */
export const FULL = process.env["FNP_TEST_FULL"] === "1";
export function fullOnly(what: string): void {
  if (!FULL) process.stderr.write(`   not run: ${what}: it is long, FNP_TEST_FULL=1 runs it\n`);
}

/** One answer in time: milliseconds since 1970, code and data as in `Answers`. */
export interface Seen { readonly atMs: number; readonly answer: string }

/** Asks one question again and again inside a container, until told to stop; every answer is kept. */
export async function watch(asker: Asker, question: string): Promise<{ stop(): Promise<readonly Seen[]> }> {
  const file = `/tmp/watch-${Math.trunc(performance.now() * 1000)}`;
  const loop = `while [ ! -e ${file}.stop ]; do a=$(dig +tries=1 +time=2 +noall +comments +answer ${question}); echo "@$EPOCHREALTIME"; echo "$a"; done >${file} 2>&1; touch ${file}.done`;
  await must(asker.node, ["docker", "exec", "-d", asker.name, "bash", "-c", loop]);
  const inside = (script: string): Promise<string> => must(asker.node, ["docker", "exec", asker.name, "sh", "-c", script]);
  await until(`${asker.name} to ask`, async () => Number(await inside(`grep -c @ ${file} || true`)) > 0);
  return {
    stop: async () => {
      await inside(`touch ${file}.stop`);
      await until(`${asker.name} to end asking`, async () => (await asker.node.exec(["docker", "exec", asker.name, "test", "-e", `${file}.done`])).exitCode === 0);
      return (await inside(`cat ${file}`)).split(/^@/m).filter((block) => block !== "").map((block) => {
        const [time = "", ...lines] = block.split("\n");
        return { atMs: Number(time) * 1000, answer: answerOf(lines) };
      });
    },
  };
}

/** Milliseconds after `sinceMs` at which an address was last answered; 0 when it never was again. */
export const lastSeen = (seen: readonly Seen[], address: string, sinceMs: number): number =>
  Math.max(0, ...seen.filter(({ answer }) => answer.split(" ").includes(address)).map(({ atMs }) => Math.round(atMs - sinceMs)));
