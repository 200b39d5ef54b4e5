/**
 * Death of the plugin's process, and of flanneld's: the data plane stands, the next process adopts all of it.
 *
 * Must hold: 0 of 1,000 pings lost; links keep ifindex and MAC; nothing is handed out twice, nothing leaks out of a crash.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { run } from "../../lab/run.ts";
import { addressOf, debug, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { count, nodeTraces, untilNothingIsLeft } from "./traces.ts";

const NETWORK = "kill";
const PINGS = 1_000;
/** 10 s of pings on a machine that has other things to do. */
const PING_MS = 120_000;
/** Docker's 3 s and time for its call. */
const GROWN_S = 6;

let lab: Lab;
const boxes = new Map<string, Box>();
const extra: Box[] = [];

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), NETWORK);
  for (const name of ["node1", "node2"]) boxes.set(name, await runBox(lab.node(name), NETWORK, `kill-${name}`));
});

afterAll(async () => {
  await Promise.all([...boxes.values(), ...extra].map(removeBox));
  await removeNetwork(lab.node("node1"), NETWORK);
  await untilNothingIsLeft(lab);
});

const boxOn = (name: string): Box => {
  const box = boxes.get(name);
  if (box === undefined) throw new Error(`Cannot find the container of ${name}: it was never made`);
  return box;
};

/** Answers how many of 1,000 pings at 10 ms came back, over all of `during`; more pings follow until it has ended. */
async function answered(from: Box, to: Box, during: () => Promise<unknown>): Promise<{ readonly sent: number; readonly received: number }> {
  const script = `ping -q -c 10 -i 0.01 ${to.address} >/dev/null; touch /tmp/begun; while :; do ping -q -c ${PINGS} -i 0.01 -W 5 ${to.address}; test -e /tmp/enough && break; done`;
  const inside = (...argv: readonly string[]): ReturnType<Node["exec"]> => from.node.exec(["docker", "exec", from.name, ...argv], { timeoutMs: 3 * PING_MS });
  await inside("rm", "-f", "/tmp/begun", "/tmp/enough");
  const running = inside("sh", "-c", script);
  await until("pings to flow", async () => (await inside("test", "-e", "/tmp/begun")).exitCode === 0);
  try { await during(); } finally { await inside("touch", "/tmp/enough"); }
  const rounds = [...(await running).stdout.matchAll(/(\d+) packets transmitted, (\d+) received/g)];
  return { sent: rounds.reduce((sum, [, sent]) => sum + Number(sent), 0), received: rounds.reduce((sum, [, , received]) => sum + Number(received), 0) };
}

/** ifindex, name and MAC of every link of ours: an equal list means that none was made anew. */
const links = async (node: Node): Promise<string> =>
  must(node, ["sh", "-c", "ip -o link | grep -E '^[0-9]+: (fnp|flannel)' | sed -E 's/^([0-9]+: [^:@]+).*link\\/ether ([0-9a-f:]+).*/\\1 \\2/' | sort"]);

/**
 * SIGKILL to the plugin's first process; resolves with how to see its successor. Docker calls a plugin enabled 3 s after its
 * start and leaves one that died before that disabled for good, whoever wrote it: hence only grown ones are killed.
 */
async function killPlugin(node: Node): Promise<() => Promise<void>> {
  const before = await until(`a plugin that Docker has accepted on ${node.name}`, async () => {
    const pid = await node.pluginPid();
    return pid !== undefined && await secondsOld(pid) > GROWN_S && pid;
  });
  await node.killPlugin();
  return async () => {
    await until(`a new process on ${node.name}`, async () => { const now = await node.pluginPid(); return now !== undefined && now !== before; });
    await until(`nothing left to do on ${node.name}`, async () => {
      const { status, body } = await debug(node, "GET", "/plan");
      const text = JSON.stringify(body);
      if (status !== 200 || (await debug(node, "GET", "/readyz")).status !== 200) throw new Error(text);
      if (changesIn(body) > 0) throw new Error(text);
      return true;
    });
  };
}

async function secondsOld(pid: number): Promise<number> {
  const { stdout } = await run("ps", ["-o", "etimes=", "-p", String(pid)]);
  return Number(stdout);
}

/** Every list called `changes` anywhere in the answer, added up. */
function changesIn(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return Object.entries(value).reduce((sum, [key, inner]) => sum + (key === "changes" && Array.isArray(inner) ? inner.length : changesIn(inner)), 0);
}

describe.each([["node1", "node2"], ["node2", "node1"]])("the plugin's process killed on %s", (name, other) => {
  it("costs none of 1,000 pings, and the next process adopts every link", async () => {
    const node = lab.node(name);
    const before = await links(node);
    expect(before.split("\n").length).toBeGreaterThanOrEqual(3);
    const { sent, received } = await answered(boxOn(other), boxOn(name), async () => { await (await killPlugin(node))(); });
    expect(sent).toBeGreaterThanOrEqual(PINGS);
    expect({ lost: sent - received }).toEqual({ lost: 0 });
    expect(await links(node)).toBe(before);
    expect(count(await nodeTraces(node), "process ")).toBe(1);
  }, 3 * PING_MS);

  it("hands out nothing twice to containers started at once", async () => {
    const node = lab.node(name);
    const adopted = await killPlugin(node);
    const names = [0, 1, 2, 3].map((n) => `heir${n}-${name}`);
    const started = await Promise.all(names.map((heir) => runBox(node, NETWORK, heir)));
    extra.push(...started);
    await adopted();
    const taken = [...boxes.values()].map(({ address }) => address);
    expect(new Set([...started.map(({ address }) => address), ...taken]).size).toBe(started.length + taken.length);
    for (const box of started) expect(await pings(boxOn(other), box.address)).toBe(true);
  }, 3 * PING_MS);

  it("lets containers stop and start afterwards", async () => {
    const node = lab.node(name);
    const { name: container } = boxOn(name);
    await must(node, ["docker", "stop", "-t", "0", container]);
    await must(node, ["docker", "start", container]);
    boxes.set(name, { node, name: container, address: await addressOf(node, container, NETWORK) });
    expect(await pings(boxOn(other), boxOn(name).address)).toBe(true);
  });

  it("leaves no address in the ledger that no container has, after starts and stops through crashes", async () => {
    const node = lab.node(name);
    const heirs = extra.filter((box) => box.node.name === name);
    const adopted = await killPlugin(node);
    await Promise.all(heirs.map(({ name: heir }) => node.exec(["docker", "restart", "-t", "0", heir])));
    await adopted();
    await Promise.all(heirs.map(removeBox));
    extra.splice(0, extra.length, ...extra.filter((box) => box.node.name !== name));
    await until("the ledger to hold what is in use, and nothing else", async () => {
      const held = (await must(node, ["jq", "-r", '.state.ledger | to_entries[] | select(.key | startswith("L:")) | .value[] | select(.releasedAtMs == null) | .address', "/var/lib/flannel-np/state.json"])).split("\n");
      if (held.join() !== boxOn(name).address) throw new Error(held.join());
      return true;
    });
    expect((await nodeTraces(node)).filter((line) => /^link fnp(?!-)/.test(line))).toHaveLength(1);
  }, 3 * PING_MS);

  it("flanneld's process too: no ping lost, restarted by itself", async () => {
    const node = lab.node(name);
    const before = await links(node);
    const pid = await must(node, ["pgrep", "-x", "flanneld"]);
    const { sent, received } = await answered(boxOn(other), boxOn(name), async () => {
      await must(node, ["kill", "-9", pid]);
      await until("a new flanneld", async () => { const { stdout } = await node.exec(["pgrep", "-x", "flanneld"]); return /^\d+$/.test(stdout.trim()) && stdout.trim() !== pid; });
    });
    expect(sent).toBeGreaterThanOrEqual(PINGS);
    expect({ lost: sent - received }).toEqual({ lost: 0 });
    expect(await links(node)).toBe(before);
  }, 3 * PING_MS);
});
