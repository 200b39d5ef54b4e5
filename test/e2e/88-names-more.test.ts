/**
 * Names at the edges: texts, two services of one alias, dots, a table deleted by hand, what the event log tells, a node that dies.
 *
 * Must hold: both services of an alias are answered and an event names them; the event log tells a name's answers in the order in which
 * they are seen outside; of a node without power every address leaves every answer.
 */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { addressOf, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { applied, cursor } from "./log.ts";
import { addresses, answers, dropServices, noerror, nodesOf, runService, serveNames, tasksOf, untilAnswers, vipOf, watch, type Seen } from "./names-bed.ts";

const NET = "edges";
/** Lease 10 s, three probes of 2 s; times ten, since the machine is shared. */
const GONE_MS = 160_000;

let lab: Lab;
let server: ChildProcess;
let askers: readonly [Box, Box];
const boxes: Box[] = [];
const services = new Set<string>();

beforeAll(async () => {
  lab = await openedLab();
  server = await serveNames(lab, lab.outside);
  await makeNetwork(lab.node("node1"), NET);
  const [one, two] = nodesOf(lab);
  askers = await Promise.all([started(one, "edge1"), started(two, "edge2")]);
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await dropServices(lab, ...services);
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(lab.node("node1"), NET);
});

async function started(node: Node, name: string): Promise<Box> {
  const box = await runBox(node, NET, name, "--dns", lab.outside.address);
  boxes.push(box);
  return box;
}

async function service(name: string, replicas: number, ...options: readonly string[]): Promise<void> {
  services.add(name);
  await runService(lab, name, replicas, ...options);
}

describe("TXT", () => {
  it("of a container, a service and its tasks: who stands behind the name, on both nodes", async () => {
    await service("told", 2, "--network", NET);
    const manager = lab.node("node1");
    const tasks = await tasksOf(lab, "told", NET);
    const ids = await Promise.all(tasks.map(async ({ node, name }) => (await must(node, ["docker", "inspect", "-f", '{{index .Config.Labels "com.docker.swarm.task.id"}} {{index .Config.Labels "com.docker.swarm.node.id"}}', name])).split(" ")));
    const nodeId = await must(manager, ["docker", "info", "-f", "{{.Swarm.NodeID}}"]);
    await untilAnswers(askers, {
      "edge1 TXT": noerror(`"container=edge1 node=${nodeId}"`), "told TXT": noerror('"service=told"'),
      "tasks.told TXT": noerror(...tasks.map(({ address }, n) => `"service=told task=${ids[n]?.[0] ?? ""} node=${ids[n]?.[1] ?? ""} address=${address}"`)),
    });
  });
});

describe("two services that claim one alias", () => {
  it("are both answered on both nodes, and an event of each node names them", async () => {
    const logs = new Map(await Promise.all(askers.map(async ({ node }) => [node.name, await cursor(node)] as const)));
    for (const name of ["claim-a", "claim-b"]) await service(name, 1, "--network", `name=${NET},alias=claimed`);
    await untilAnswers(askers, { claimed: noerror(await vipOf(lab, "claim-a", NET), await vipOf(lab, "claim-b", NET)) });
    for (const { node } of askers) {
      await until(`an event about "claimed" on ${node.name}`, async () => {
        const text = await must(node, ["curl", "-s", "--unix-socket", "/run/flannel-np/debug.sock", `http://debug/events?after=${logs.get(node.name) ?? ""}&level=warn`]);
        const told = text.split("\n").filter((line) => line.includes("dns.name-shared")).map((line) => JSON.parse(line) as Record<string, unknown>);
        return told.some(({ network, name, services: claimants }) => network === NET && name === "claimed" && JSON.stringify(claimants) === '["claim-a","claim-b"]');
      });
    }
    await dropServices(lab, "claim-b");
    await untilAnswers(askers, { claimed: noerror(await vipOf(lab, "claim-a", NET)) });
  });
});

describe("dots", () => {
  it("a container called <name>.<network> wins over <name> of that network, and goes without a trace", async () => {
    const [one] = askers;
    const dotted = await started(one.node, `edge1.${NET}`);
    await untilAnswers(askers, { [`edge1.${NET}`]: noerror(dotted.address), edge1: noerror(one.address), [`edge1.${NET}.${NET}`]: noerror(dotted.address) });
    await removeBox(dotted);
    await untilAnswers(askers, { [`edge1.${NET}`]: noerror(one.address), [`edge1.${NET}.${NET}`]: "NXDOMAIN" });
  });
});

describe("a sandbox's table", () => {
  it("deleted by hand: it is back, and the container is answered again, on both nodes", async () => {
    await service("held", 1, "--network", NET);
    const vip = noerror(await vipOf(lab, "held", NET));
    for (const asker of askers) {
      await untilAnswers([asker], { held: vip });
      const pid = await must(asker.node, ["docker", "inspect", "-f", "{{.State.Pid}}", asker.name]);
      const inside = (...words: readonly string[]): ReturnType<Node["exec"]> => asker.node.exec(["nsenter", "-t", pid, "-n", "nft", ...words]);
      const before = (await inside("-s", "list", "table", "ip", "fnp-dns")).stdout;
      expect((await inside("delete", "table", "ip", "fnp-dns")).exitCode).toBe(0);
      const sinceMs = Date.now();
      await untilAnswers([asker], { held: vip });
      process.stderr.write(`   a deleted table on ${asker.node.name}: answered again after ${Date.now() - sinceMs} ms (goal 5 s)\n`);
      expect((await inside("-s", "list", "table", "ip", "fnp-dns")).stdout).toBe(before);
    }
  });
});

describe("the event log", () => {
  it("tells a name's answers in the order in which they are seen outside, on both nodes", async () => {
    const [one, two] = nodesOf(lab);
    const logs = await Promise.all([one, two].map(cursor));
    const watches = await Promise.all(askers.map((asker) => watch(asker, "orderly")));
    let heard: readonly (readonly Seen[])[] = [];
    const right: string[] = [];
    try {
      await must(one, ["docker", "run", "-d", "--name", "orderly", "lab/box"]);
      boxes.push({ node: one, name: "orderly", address: "" });
      for (let round = 0; round < 4; round += 1) {
        await must(one, ["docker", "network", "connect", NET, "orderly"]);
        const address = noerror(await addressOf(one, "orderly", NET));
        await untilAnswers(askers, { orderly: address });
        await must(one, ["docker", "network", "disconnect", NET, "orderly"]);
        await untilAnswers(askers, { orderly: "NXDOMAIN" });
        right.push(address, "NXDOMAIN");
      }
    } finally { heard = await Promise.all(watches.map((each) => each.stop())); }
    const steps = heard.map((seen) => seen.map(({ answer }) => answer).filter((answer, n, all) => answer !== all[n - 1]));
    expect(steps).toEqual([["NXDOMAIN", ...right], ["NXDOMAIN", ...right]]);
    const told = await Promise.all([one, two].map(async (node, n) => (await applied(node, logs[n] ?? "")).flatMap(({ reconciler, key, why }) => {
      const step = reconciler === "dns" && key === "table" ? new RegExp(`orderly\\.${NET}: .*? → ([^;]*)`).exec(why)?.[1] : undefined;
      return step === undefined ? [] : [step === "unknown" ? "NXDOMAIN" : noerror(step)];
    })));
    expect(told).toEqual([right, right]);
  });
});

describe("a node without power", () => {
  it("every address of its containers leaves every answer of the other node; they return with it", async () => {
    const [one, two] = nodesOf(lab);
    const lost = await started(two, "lost");
    services.add("wide");
    await must(one, ["docker", "service", "create", "--detach", "--no-resolve-image", "--mode", "global", "--name", "wide", "--network", NET, "lab/box"]);
    const tasks = await until("a task on each node", async () => { const found = await tasksOf(lab, "wide", NET); return found.length === 2 && found; });
    const [asker] = askers;
    await untilAnswers([asker], { lost: noerror(lost.address), "tasks.wide": noerror(...addresses(tasks)) });
    const kept = noerror(...tasks.filter(({ node }) => node.name === one.name).map(({ address }) => address));
    const sinceMs = Date.now();
    await two.powerCut();
    try {
      await untilAnswers([asker], { "tasks.wide": kept, lost: "NXDOMAIN", [`lost.${NET}`]: "NXDOMAIN", edge2: "NXDOMAIN", [`-x ${lost.address}`]: "NXDOMAIN" }, GONE_MS);
      process.stderr.write(`   addresses of a node without power: gone from every answer after ${Math.round((Date.now() - sinceMs) / 100) / 10} s (lease 10 s, then probes)\n`);
      expect((await answers(asker, ["tasks.wide TXT"]))["tasks.wide TXT"]).not.toContain(tasks.find(({ node }) => node.name === two.name)?.address);
    } finally {
      await two.start();
    }
    await until("dockerd of node2", async () => (await two.exec(["docker", "start", "lost"])).exitCode === 0, GONE_MS);
    await until("tasks of both nodes to be answered again", async () => {
      const now = await tasksOf(lab, "wide", NET);
      const wanted = { "tasks.wide": noerror(...addresses(now)), lost: noerror(await addressOf(two, "lost", NET)) };
      expect(await answers(asker, Object.keys(wanted))).toEqual(wanted);
      return now.length === 2;
    }, GONE_MS);
  }, 3 * GONE_MS);
});
