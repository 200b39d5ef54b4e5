/**
 * Names while the plugin's process dies, is disabled, comes back; and what is left when nobody needs it any more.
 *
 * Must hold: no query gets NXDOMAIN, REFUSED or a wrong address because of it: it is answered rightly or not at all, and a client's own
 * retry succeeds. Afterwards Docker's server answers as before; no socket, namespace or table lingers.
 */
import { readdir, readlink } from "node:fs/promises";
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { run } from "../../lab/run.ts";
import { DRIVER, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { answers, dropServices, FULL, fullOnly, noerror, nodesOf, runService, serveNames, untilAnswers, UPSTREAM, vipOf } from "./names-bed.ts";

const [NET, BRIDGE] = ["names-kill", "names-kill-bridge"];
const NODES = ["node1", "node2"] as const;
/** Docker calls a plugin enabled 3 s after its start and leaves one that died before that disabled. */
const GROWN_S = 6;
const STARTS = FULL ? 1_000 : 50;

let lab: Lab;
let server: ChildProcess;
const askers = new Map<string, Box>();
const boxes: Box[] = [];
let vip: string;

beforeAll(async () => {
  lab = await openedLab();
  server = await serveNames(lab, lab.outside);
  await makeNetwork(lab.node("node1"), NET);
  for (const node of nodesOf(lab)) askers.set(node.name, await runBox(node, NET, `ask-${node.name}`, "--dns", lab.outside.address));
  await runService(lab, "rock", 2, "--network", NET);
  vip = await vipOf(lab, "rock", NET);
  await untilAnswers([...askers.values()], { rock: noerror(vip) });
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await dropServices(lab, "rock");
  await Promise.all([...askers.values(), ...boxes].map(removeBox));
  for (const node of lab.nodes) await node.exec(["docker", "network", "rm", BRIDGE]);
  await removeNetwork(lab.node("node1"), NET);
});

const askerOn = (name: string): Box => {
  const box = askers.get(name);
  if (box === undefined) throw new Error(`Cannot find the asker of ${name}: it was never made`);
  return box;
};

interface Tally { readonly sent: number; readonly failed: number; readonly by: Readonly<Record<string, number>>; readonly errors: Readonly<Record<string, number>>; readonly longestGapMs: number }

/** Bare queries every 20 ms, and a Go program that looks the name up again and again, over all of `during`. */
async function askedMeanwhile(box: Box, during: () => Promise<void>): Promise<{ readonly bare: Tally; readonly lookups: readonly string[] }> {
  const inside = (...argv: readonly string[]): ReturnType<Node["exec"]> => box.node.exec(["docker", "exec", box.name, ...argv], { timeoutMs: 180_000 });
  await inside("rm", "-f", "/tmp/enough", "/tmp/begun");
  const bare = inside("sh", "-c", "while [ ! -e /tmp/enough ]; do box dns-bench -for 1s -every 20ms -timeout 1s rock; touch /tmp/begun; done");
  const lookups = inside("sh", "-c", "while [ ! -e /tmp/enough ]; do box look -timeout 60s rock 2>&1; done");
  await until("queries to flow", async () => (await inside("test", "-e", "/tmp/begun")).exitCode === 0);
  try { await during(); } finally { await inside("touch", "/tmp/enough"); }
  const tallies = (await bare).stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Tally);
  return { bare: tallies.reduce(plus), lookups: (await lookups).stdout.split("\n").filter((line) => line !== "") };
}

const plus = (a: Tally, b: Tally): Tally => ({
  sent: a.sent + b.sent, failed: a.failed + b.failed, by: sums(a.by, b.by), errors: sums(a.errors, b.errors), longestGapMs: Math.max(a.longestGapMs, b.longestGapMs),
});
const sums = (a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries([...new Set([...Object.keys(a), ...Object.keys(b)])].map((key) => [key, (a[key] ?? 0) + (b[key] ?? 0)]));

/** `patient`: away for less than the patience of Go's resolver, twice five seconds. */
async function rightOrSilent(box: Box, what: string, during: () => Promise<void>, patient = true): Promise<void> {
  const { bare, lookups } = await askedMeanwhile(box, during);
  process.stderr.write(`   ${what} on ${box.node.name}: ${bare.failed} of ${bare.sent} queries unanswered, ${lookups.length} lookups by Go\n`);
  expect({ answers: Object.keys(bare.by), errors: Object.keys(bare.errors).filter((error) => error !== "i/o timeout") }).toEqual({ answers: [vip], errors: [] });
  const silence = /i\/o timeout|not every name has an address/;
  expect(new Set(lookups.filter((line) => patient || !silence.test(line)))).toEqual(new Set([vip]));
  expect(await answers(box, ["rock", UPSTREAM.name])).toEqual({ rock: noerror(vip), [UPSTREAM.name]: noerror(UPSTREAM.address) });
}

async function grownPid(node: Node): Promise<number> {
  return until(`a plugin that Docker has accepted on ${node.name}`, async () => {
    const pid = await node.pluginPid();
    return pid !== undefined && Number((await run("ps", ["-o", "etimes=", "-p", String(pid)])).stdout) > GROWN_S && pid;
  });
}

describe.each(NODES)("under queries on %s", (name) => {
  it("the plugin's process killed: right answers or none, and Go's lookups all succeed", async () => {
    const node = lab.node(name);
    await rightOrSilent(askerOn(name), "killed", async () => {
      const before = await grownPid(node);
      process.kill(before, "SIGKILL");
      await until("a new process", async () => { const now = await node.pluginPid(); return now !== undefined && now !== before; });
      await untilAnswers([askerOn(name)], { rock: noerror(vip) });
    });
  });

  it("the plugin disabled and enabled: right answers or none", async () => {
    const node = lab.node(name);
    await rightOrSilent(askerOn(name), "disabled and enabled", async () => {
      await must(node, ["docker", "plugin", "disable", "-f", DRIVER]);
      expect(await answers(askerOn(name), ["rock"])).toEqual({ rock: "TIMEOUT" });
      await must(node, ["docker", "plugin", "enable", DRIVER]);
      await untilAnswers([askerOn(name)], { rock: noerror(vip) });
    }, false);
  });

  it("a container started while the plugin is away or just back is answered", async () => {
    const node = lab.node(name);
    process.kill(await grownPid(node), "SIGKILL");
    const heir = await runBox(node, NET, `heir-${name}`);
    boxes.push(heir);
    await untilAnswers([heir], { rock: noerror(vip), [heir.name]: noerror(heir.address) });
    await untilAnswers([...askers.values()], { [heir.name]: noerror(heir.address) });
  });
});

/** nft tables and Docker's rules of a container, as its network namespace has them; counters left out. */
async function rulesInside({ node, name }: Pick<Box, "node" | "name">): Promise<string> {
  const pid = await must(node, ["docker", "inspect", "-f", "{{.State.Pid}}", name]);
  return must(node, ["nsenter", "-t", pid, "-n", "sh", "-c", "nft -s list ruleset | grep -v '^#' | sed 's/to 127.0.0.11:[0-9]*/to 127.0.0.11:P/; s/[ud][dct]p.* sport [0-9]*/sport P/'"]);
}

describe.each(NODES)("afterwards, on %s", (name) => {
  it("Docker's own server answers again when our network is disconnected, and no rule of ours is left", async () => {
    const node = lab.node(name);
    await must(node, ["docker", "network", "create", BRIDGE]);
    const local = await runBox(node, BRIDGE, `local-${name}`, "--dns", lab.outside.address);
    boxes.push(local);
    const both = await runBox(node, BRIDGE, `both-${name}`, "--dns", lab.outside.address);
    boxes.push(both);
    const before = await rulesInside(both);
    await must(node, ["docker", "network", "connect", NET, both.name]);
    await untilAnswers([both], { rock: noerror(vip), [local.name]: noerror(local.address) });
    expect(await rulesInside(both)).not.toBe(before);
    await must(node, ["docker", "network", "disconnect", NET, both.name]);
    await untilAnswers([both], { rock: "NXDOMAIN", [local.name]: noerror(local.address), "+tcp rock": "NXDOMAIN", [UPSTREAM.name]: noerror(UPSTREAM.address) });
    await until("the rules to be as they were", async () => (await rulesInside(both)) === before);
  });
});

/** What a container may leave: namespaces of the node, and sockets of the plugin's process. */
async function pinned(node: Node): Promise<{ readonly namespaces: number; readonly sandboxes: number; readonly sockets: number }> {
  const pid = await grownPid(node);
  const folder = `/proc/${pid}/fd`;
  const targets = await Promise.all((await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => "")));
  return {
    namespaces: Number(await must(node, ["sh", "-c", "lsns -n -t net | wc -l"])), sandboxes: Number(await must(node, ["sh", "-c", "ls /run/docker/netns | wc -l"])),
    sockets: targets.filter((target) => target.startsWith("socket:") || target.startsWith("net:")).length,
  };
}

describe.each(NODES)("starts and ends on %s", (name) => {
  it(`${STARTS} of them leave no namespace and no socket`, async () => {
    fullOnly("1,000 starts and ends instead of 50");
    const node = lab.node(name);
    const before = await pinned(node);
    await must(node, ["sh", "-c", `seq ${STARTS} | xargs -P 4 -I{} docker run --rm --network ${NET} --name brief-${name}-{} lab/box true`], 3_600_000);
    await until("namespaces and sockets to be what they were", async () => {
      const now = await pinned(node);
      // A connection to Docker or etcd more or less is none of a container's.
      if (now.namespaces <= before.namespaces && now.sandboxes <= before.sandboxes && now.sockets <= before.sockets + 4) return true;
      throw new Error(`${JSON.stringify(now)} instead of ${JSON.stringify(before)}`);
    });
  }, 3_600_000);
});
