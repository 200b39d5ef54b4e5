/**
 * Who is in everybody's view: a node that is only slow keeps its place, a stopped plugin's too, a dead one leaves (design D15).
 *
 * Must hold: containers of a node that is dead for good vanish within the lease's time plus the probes; nothing of a node that
 * is frozen or in an upgrade does; whoever returns is back by its own word.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { debug, DRIVER, etcdKeys, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";

const NETWORK = "death";
/** Lease 10 s, three probes of 2 s; times ten, since the machine is shared. */
const GONE_MS = 160_000;

interface Peer { readonly id: string; readonly hostname: string; readonly state: string; readonly containers: number }

let lab: Lab;
let node1: Node;
let node2: Node;
let id: string;
let box: Box;
const extra: Box[] = [];

beforeAll(async () => {
  lab = await openedLab();
  [node1, node2] = [lab.node("node1"), lab.node("node2")];
  await makeNetwork(node1, NETWORK);
  box = await runBox(node2, NETWORK, "death-node2");
  id = await must(node2, ["docker", "info", "-f", "{{.Swarm.NodeID}}"]);
});

afterAll(async () => {
  await Promise.all([box, ...extra].map(removeBox));
  await removeNetwork(node1, NETWORK);
});

const peer = async (): Promise<Peer | undefined> =>
  ((await debug(node1, "GET", "/state")).body as { readonly nodes: readonly Peer[] }).nodes.find((one) => one.id === id);
const until2 = (state: string | undefined, containers: number): Promise<true> =>
  until(`node1 to see node2 ${state ?? "gone"} with ${containers} containers`, async () => {
    const seen = await peer();
    if (seen?.state !== state || (seen?.containers ?? 0) !== containers) throw new Error(JSON.stringify(seen ?? "nothing"));
    return true as const;
  }, GONE_MS);
const keysOf2 = async (): Promise<string[]> => [...(await etcdKeys(lab)).keys()].filter((key) => key.startsWith(`/flannel/nodes/${id}`));

describe("a node's word", () => {
  it("is there with its containers", async () => { await until2("present", 1); });

  it("a frozen plugin: its keys expire, its container stays in view; thawed, it is back by itself", async () => {
    const pid = await node2.pluginPid();
    if (pid === undefined) throw new Error("node2 has no plugin");
    process.kill(pid, "SIGSTOP");
    try {
      await until("the lease to expire", async () => (await keysOf2()).length === 0, GONE_MS);
      // Longer than three probes take: only an answer to them keeps it.
      const end = Date.now() + 9_000;
      while (Date.now() < end) expect(await peer()).toMatchObject({ state: "doubtful", containers: 1 });
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await until2("present", 1);
    expect(await keysOf2()).toHaveLength(2);
  }, GONE_MS + 60_000);

  it("a plugin that is stopped for an upgrade leaves its keys to the next one: none is ever missing", async () => {
    const before = await keysOf2();
    await must(node2, ["docker", "plugin", "disable", "-f", DRIVER]);
    try {
      const end = Date.now() + 13_000;
      while (Date.now() < end) expect(await keysOf2()).toEqual(before);
      expect(await peer()).toMatchObject({ state: "doubtful", containers: 1 });
    } finally {
      await must(node2, ["docker", "plugin", "enable", DRIVER]);
    }
    await until("the new process to have taken over", async () => { expect(await keysOf2()).toEqual(before); return (await peer())?.state === "present"; }, GONE_MS);
    // The lease of the maintenance must not take them away: they hang on the new one.
    for (const key of before) expect((await lab.etcd.ctl(["get", key, "-w", "json"])).stdout).not.toContain("maintenance");
  }, GONE_MS + 60_000);
});

describe("a node without power", () => {
  it("leaves every view, and says why in the event log", async () => {
    await node2.powerCut();
    try {
      await until2(undefined, 0);
      const events = await must(node1, ["sh", "-c", "grep node.dead /var/lib/flannel-np/events/events.ndjson | tail -1"]);
      expect(JSON.parse(events)).toMatchObject({ node: id, hostname: "node2", containers: 1, sign: expect.stringMatching(/probes|down/) });
    } finally {
      await node2.start();
    }
  }, 2 * GONE_MS);

  it("is back with its containers once they run again", async () => {
    await until("dockerd of node2", async () => (await node2.exec(["docker", "start", box.name])).exitCode === 0, GONE_MS);
    await until2("present", 1);
  }, 2 * GONE_MS);
});
