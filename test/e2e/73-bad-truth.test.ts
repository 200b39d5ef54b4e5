/** What others wrote wrong: two nodes with one address, garbage in etcd, a damaged state file. Said with the cure; traffic goes on. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { readFile, writeFile } from "node:fs/promises";
import type { Lab } from "../../lab/lab.ts";
import { debug, DRIVER, etcdKeys, makeNetwork, must, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { eventTells, labWithBuild, ownNode, reconfigure, status, statusShows } from "./refusal-bed.ts";
import { untilNothingIsLeft } from "./traces.ts";

const NETWORK = "badtruth";
const LONG_MS = 300_000;
let lab: Lab;
let node1: Node;
let boxes: readonly Box[] = [];

beforeAll(async () => {
  lab = await labWithBuild();
  node1 = lab.node("node1");
  await makeNetwork(node1, NETWORK);
  boxes = [await runBox(node1, NETWORK, "bad-a"), await runBox(lab.node("node2"), NETWORK, "bad-b")];
}, LONG_MS);

afterAll(async () => {
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(node1, NETWORK);
  if (lab.nodes.some(({ name }) => name === "twin")) await lab.removeNode("twin");
  await untilNothingIsLeft(lab);
}, LONG_MS);

const flows = async (): Promise<boolean> => {
  const [a, b] = boxes;
  return a !== undefined && b !== undefined && pings(a, b.address);
};

const readyStatus = async (node: Node): Promise<number> => (await debug(node, "GET", "/readyz")).status;

describe("bad truth", () => {
  it("garbage, foreign keys and records without owner are named by their keys; nothing else changes", async () => {
    const bad = ["pools/not-a-range", "nodes/nobody", "docker/services/strange", "networks/x/subnets/10.9.0.0-24", "service-range/x/10.9.0.1"];
    for (const key of bad) await lab.etcd.ctl(["put", `/flannel/${key}`, "{"]);
    await lab.etcd.ctl(["put", "/flannel/of/somebody/else", "1"]);
    await lab.etcd.ctl(["put", "/flannel/docker/services/unowned", '{"id":"unowned"}']);
    try {
      const all = [...bad, "of/somebody/else", "docker/services/unowned"];
      for (const key of all) await eventTells(node1, "source.garbage", `/flannel/${key}`);
      // The first five by name; how many more there are.
      const named = all.map((key) => `etcd key /flannel/${key}: it is ignored: `).sort().slice(0, 5);
      await statusShows(node1, 1, ...named, "choose an ETCD_PREFIX that nobody else uses", "2 more keys below the prefix are ignored");
      expect(await readyStatus(node1)).toBe(200);
      expect(await flows()).toBe(true);
      expect((await lab.etcd.ctl(["get", "/flannel/of/somebody/else"])).stdout).toContain("1");
    } finally {
      for (const key of [...bad, "of/somebody/else", "docker/services/unowned"]) await lab.etcd.ctl(["del", `/flannel/${key}`]);
    }
    await statusShows(node1, 0, "ready");
  }, LONG_MS);

  it("readable records without owner: what Docker knows is written whole again, what it does not know goes; nothing else changes", async () => {
    const { Id } = JSON.parse(await must(node1, ["docker", "network", "inspect", "-f", "{{json .}}", NETWORK])) as { readonly Id: string };
    const key = `/flannel/docker/networks/${Id}`;
    const whole = (await etcdKeys(lab)).get(key) ?? "";
    const { owner, ...unowned } = JSON.parse(whole) as Record<string, unknown>;
    expect(owner).toBe("swarm");
    const stranger = { ...unowned, id: "strangestrangestrangestra", name: "nobodys" };
    await lab.etcd.ctl(["put", `/flannel/docker/networks/${stranger.id}`, JSON.stringify(stranger)]);
    await lab.etcd.ctl(["put", key, JSON.stringify(unowned)]);
    // Nothing tells of a change in what Docker knows better; it would be seen within a minute.
    expect((await debug(node1, "POST", "/reconcile?only=publish")).status).toBe(200);
    await until("Docker's word to stand again, alone", async () => {
      const keys = await etcdKeys(lab);
      return keys.get(key) === whole && !keys.has(`/flannel/docker/networks/${stranger.id}`);
    });
    expect(await flows()).toBe(true);
    await statusShows(node1, 0, "ready");
  }, LONG_MS);

  it.each<readonly [string, string | Buffer, string]>([
    ["damaged", '{"version":1,"checksum":"00","state":{}}\n', "its checksum does not fit its content"],
    ["newer", '{"version":2,"checksum":"00","state":{}}\n', "its version is 2, this program reads 1"],
    ["foreign", "[Unit]\nDescription=somebody else's\n", "it is cut off or not a state file"],
    ["binary", Buffer.from(Array.from({ length: 4096 }, (_, at) => (at * 197) % 256)), "it is cut off or not a state file"],
    ["cut off", '{"version":1,"checksum":"5d41402abc4b2a76b9719d911017c592","state":{"ledger":{"10.0.4', "it is cut off or not a state file"],
    ["empty", "", "it is empty"],
  ])("a %s state file is set aside, named by status until somebody has taken it away; traffic goes on", async (_kind, text, reason) => {
    await must(node1, ["docker", "plugin", "disable", "-f", DRIVER]);
    await writeFile(`${node1.root}/var/lib/flannel-np/state.json`, text);
    await must(node1, ["docker", "plugin", "enable", DRIVER]);
    const seen = await statusShows(node1, 1, "state file", "/var/lib/flannel-np/state.json.damaged-", "Check the disk; then remove that file");
    const [, aside = ""] = /set aside as (\S+damaged-\d+)/.exec(seen) ?? [];
    expect(await readFile(`${node1.root}${aside}`)).toEqual(Buffer.from(text));
    await eventTells(node1, "state.damaged", reason);
    expect(await flows()).toBe(true);
    await must(node1, ["sh", "-c", "rm /var/lib/flannel-np/state.json.damaged-*"]);
    await statusShows(node1, 0, "ready");
  }, LONG_MS);

  it("a second node with node1's underlay address is refused by name; node1 is not disturbed", async () => {
    const carrying = async (node: Node): Promise<string> => must(node, ["sh", "-c", "pgrep -x flanneld; ip -br link show type vxlan; true"]);
    const leases = async (): Promise<unknown> => [...await etcdKeys(lab)].filter(([key]) => key.includes("/subnets/"));
    const before = [await carrying(node1), await leases()];
    const twin = await ownNode(lab, "twin", { alias: DRIVER, settings: {} });
    await reconfigure(twin, { DEFAULT_FLANNEL_OPTIONS: `-public-ip=${node1.address}` });
    await statusShows(twin, 1, "this node's underlay address", "node node1", node1.address, "-public-ip in DEFAULT_FLANNEL_OPTIONS");
    // The node subnet of an address is the one whose lease names it: the twin must not take node1's for its own.
    expect([await carrying(twin), await carrying(node1), await leases()]).toEqual(["", ...before]);
    expect((await status(node1)).exitCode).toBe(0);
    expect(await flows()).toBe(true);
  }, LONG_MS);
});
