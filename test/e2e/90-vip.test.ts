/**
 * One VIP per service and network, the one swarm shows, answered on every node and balanced over the tasks of all nodes.
 *
 * Must hold: container → VIP from every node reaches every task, evenly, TCP and UDP; host → VIP; a task reaches itself; the
 * server sees the client's address; pingable; every node can tell what all nodes do with it.
 */
import { afterAll, beforeAll, describe, expect, it, test } from "@jest/globals";
import { execa } from "execa";
import { fileURLToPath } from "node:url";
import type { Lab } from "../../lab/lab.ts";
import type { SwarmVipAnswer } from "../../src/core/state-answer.ts";
import { DEADLINE_MS, DRIVER, KIND, LAB_ID, must, pings, until, type Box } from "./bed.ts";
import { clientIn, floodFrom, spread, VipStand } from "./vip-bed.ts";

const NET = "vip-a";
const LONG_MS = 10 * DEADLINE_MS;
let stand: VipStand;
let lab: Lab;
let clients: readonly Box[];
let names: readonly string[];
let vip: string;

beforeAll(async () => {
  stand = await VipStand.open(NET);
  ({ lab, clients } = stand);
  ({ vip, names } = await stand.serve("vip-web", 4));
}, LONG_MS);

afterAll(() => stand.close(), LONG_MS);

describe("the VIP that swarm shows", () => {
  it("runs its tasks on both nodes, so that balancing crosses them", async () => {
    const perNode = await Promise.all(lab.nodes.map((node) => must(node, ["docker", "ps", "-q", "--filter", "label=com.docker.swarm.service.name=vip-web"])));
    expect(perNode.every((ids) => ids !== "")).toBe(true);
  });

  it.each(["node1", "node2"])("shares connections of a container on %s evenly, TCP and UDP", async (name) => {
    const [client] = clients.filter(({ node }) => node.name === name);
    for (const kind of ["http", "tcp", "udp"] as const) {
      const tally = await floodFrom(client as Box, kind, vip, 40);
      expect([kind, tally.failed, spread(tally).names]).toEqual([kind, 0, names]);
      expect(spread(tally).width).toBeLessThanOrEqual(2);
    }
  });

  it.each(["node1", "node2"])("answers %s itself", async (name) => {
    const text = await must(lab.node(name), ["sh", "-c", `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do curl -sS -m 5 http://${vip}/ || exit 1; done`]);
    expect([...new Set(text.split("\n").map((line) => line.split(" ")[0]))].sort()).toEqual(names);
  });

  it("answers pings on both nodes", async () => {
    for (const client of clients) expect(await pings(client, vip)).toBe(true);
  });

  it("lets a task reach its own service, itself included", async () => {
    for (const node of lab.nodes) {
      const [id = ""] = (await must(node, ["docker", "ps", "-q", "--filter", "label=com.docker.swarm.service.name=vip-web"])).split("\n");
      const tally = await floodFrom({ node, name: id }, "http", vip, 16);
      expect([node.name, tally.failed, spread(tally).names]).toEqual([node.name, 0, names]);
    }
  });

  it("hides no client: every server sees the container's own address", async () => {
    for (const { node, name, address } of clients) {
      const text = await must(node, ["docker", "exec", name, "sh", "-c", `for i in 1 2 3 4 5 6 7 8; do curl -sS -m 5 http://${vip}/; done; box udp-ask ${vip}:9000 x`]);
      const lines = text.split("\n");
      expect(lines).toHaveLength(9);
      expect([...new Set(lines.map(clientIn))]).toEqual([address]);
    }
  });
});

/** The command line asks nodes in namespaces alone, and their plugins' pids are this machine's. */
const withCommandLine = KIND === "netns" ? describe : (title: string, _cases: () => void): void => {
  test(title, () => { process.stdout.write(`90-vip: ${title}: a virtual machine's debug socket is out of this machine's reach; the netns lab runs it\n`); });
};

withCommandLine("vip list --all-nodes", () => {
  const cli = fileURLToPath(new URL("../../flannel-np", import.meta.url));
  const asked = async (from: string, ...args: readonly string[]) => {
    const { exitCode, stdout, stderr } = await execa(cli, ["vip", "list", "vip-web", "--all-nodes", ...args, "--node", from, "--lab", LAB_ID], { reject: false, timeout: DEADLINE_MS });
    return { exitCode, stdout, stderr };
  };
  const untilAllWell = (from: string) => until(`all nodes to be well, asked from ${from}`, async () => {
    const said = await asked(from, "-o", "json");
    if (said.exitCode === 0) return JSON.parse(said.stdout) as SwarmVipAnswer;
    throw new Error(`exit ${said.exitCode}: ${said.stdout}${said.stderr}`);
  });
  const hosts = () => Promise.all(lab.nodes.map((node) => must(node, ["hostname"])));

  it.each(["node1", "node2"])("shows every node's part, asked from %s, and leaves nothing in etcd", async (name) => {
    const { nodes, differences } = await untilAllWell(name);
    expect([nodes.map(({ node }) => node).sort(), differences]).toEqual([(await hosts()).sort(), []]);
    expect(nodes[0]?.node).toBe(await must(lab.node(name), ["hostname"]));
    for (const { vips } of nodes) expect(vips.map((row) => [row.vip, row.backends.length])).toEqual([[vip, 4]]);
    const { stdout, exitCode } = await asked(name);
    expect([exitCode, stdout.split("\n").filter((line) => line.includes(vip)).map((line) => line.split(" ")[0]).sort()]).toEqual([0, (await hosts()).sort()]);
    await until("questions and answers to be gone", async () => !(await lab.etcd.ctl(["get", "--prefix", "--keys-only", "/"])).stdout.match(/docker\/(questions|answers)/));
  });

  it("names a node whose plugin was stopped, and one that says nothing", async () => {
    const [one, two] = [lab.node("node1"), lab.node("node2")];
    const host = await must(two, ["hostname"]);
    await must(two, ["docker", "plugin", "disable", "-f", DRIVER]);
    try {
      expect(await asked(one.name)).toMatchObject({ exitCode: 1, stdout: expect.stringContaining(`NOT HEARD\n  ${host}: its plugin was stopped`) });
    } finally { await must(two, ["docker", "plugin", "enable", DRIVER]); }
    await untilAllWell(one.name);
    const pid = await two.pluginPid();
    if (pid === undefined) throw new Error("Cannot find node2's plugin");
    process.kill(pid, "SIGSTOP");
    try {
      expect(await asked(one.name)).toMatchObject({ exitCode: 1, stdout: expect.stringContaining(`NOT HEARD\n  ${host}: no answer within 5 s`) });
    } finally { process.kill(pid, "SIGCONT"); }
    await untilAllWell(one.name);
  }, 4 * DEADLINE_MS);
});
