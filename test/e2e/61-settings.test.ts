/** A setting that cannot work is refused by name: the plugin enables at once, answers, says why everywhere, and never ends. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { must, removeNetwork, runBox, until, type Node } from "./bed.ts";
import {
  askForNetwork, dockerdLog, dropKeys, eventTells, keysBelow, labWithBuild, life, logShows, ownNode, PluginSocket, reconfigure, status, statusShows,
} from "./refusal-bed.ts";

const PREFIX = "/cfg";
/** Every setting that a test here changes, as it should be. */
const GOOD = {
  ETCD_ENDPOINTS: "http://10.99.0.250:2379", ETCD_PREFIX: PREFIX, DEFAULT_FLANNEL_OPTIONS: "", AVAILABLE_SUBNETS: "", NETWORK_SUBNET_SIZE: "20",
  DEFAULT_HOST_SUBNET_SIZE: "25",
};

let lab: Lab;
let node: Node;

beforeAll(async () => {
  lab = await labWithBuild();
  await dropKeys(lab, PREFIX);
  node = await ownNode(lab, "cfg", { settings: GOOD });
});

afterAll(async () => {
  await lab.removeNode("cfg");
  await dropKeys(lab, PREFIX);
});

const made = (network: string): Promise<true> => until(`network ${network} to be made`, async () => (await status(node)).text.includes(`\n${network} `) || undefined);

/** Settings, what is said of them, how to do better; test/core/config.test.ts has the other ways to go wrong. */
const BAD: readonly (readonly [what: string, settings: Readonly<Partial<typeof GOOD>>, reason: string, cure: string])[] = [
  ["an interface that is not there", { DEFAULT_FLANNEL_OPTIONS: "-iface=nosuch0" }, "nosuch0", "eth0"],
  ["a flag of ours, one dash", { DEFAULT_FLANNEL_OPTIONS: "-etcd-prefix=/x" }, "etcd-prefix: the connection to etcd is set once for the whole plugin, by the ETCD_* settings", "DEFAULT_FLANNEL_OPTIONS=-iface="],
  ["a flag of ours, two dashes", { DEFAULT_FLANNEL_OPTIONS: "--ip-masq" }, "ip-masq: containers reach the outside through docker_gwbridge", "DEFAULT_FLANNEL_OPTIONS=-iface="],
  ["a flag that flanneld has not", { DEFAULT_FLANNEL_OPTIONS: "-nosuch=1" }, "nosuch: flanneld has no such flag", "DEFAULT_FLANNEL_OPTIONS=-iface="],
  ["a number out of range", { NETWORK_SUBNET_SIZE: "40" }, "\"40\" is no whole number from 8 to 28", "NETWORK_SUBNET_SIZE=18"],
  ["sizes that do not fit", { NETWORK_SUBNET_SIZE: "24" }, "a /24 network holds 2 node subnets of /25; at least 4 are needed (host subnet ≥ network + 2 bits)", "DEFAULT_HOST_SUBNET_SIZE=29"],
];

describe("a setting that cannot be used", () => {
  it.each(BAD)("%s: enabled at once, refused by name", async (_, settings, reason, cure) => {
    const log = await dockerdLog(node);
    const enabledMs = await reconfigure(node, { ...GOOD, ...settings });
    expect(enabledMs).toBeLessThan(5_000);
    const before = await until("the plugin's life", () => life(node));
    const variable = Object.keys(settings).at(-1) ?? "";
    await expectCapabilities();
    await askForNetwork(node, "cfg-bad");
    try {
      await logShows(log, "Failed allocation for network", variable, reason, cure);
      await statusShows(node, 1, variable, reason, "cure: ", cure);
      await eventTells(node, "config.invalid", reason, cure);
      await eventTells(node, "network.refused", reason, cure);
      expect([...(await keysBelow(lab, PREFIX)).keys()].filter((key) => /\/(pools|vnis|networks)\//.test(key))).toEqual([]);
      expect(await life(node)).toEqual(before);
    } finally {
      await removeNetwork(node, "cfg-bad");
    }
  });

  it("put right, the same node works", async () => {
    await reconfigure(node, GOOD);
    await askForNetwork(node, "cfg-good");
    await made("cfg-good");
    await statusShows(node, 0, "ready");
    await removeNetwork(node, "cfg-good");
  });
});

describe("an etcd that is not the right one", () => {
  it.each(["http://10.99.0.250:9", "http://10.99.0.99:2379"])("%s: enabled in 5 s, refused within 20 s, status says so", async (endpoint) => {
    const enabledMs = await reconfigure(node, { ...GOOD, ETCD_ENDPOINTS: endpoint });
    expect(enabledMs).toBeLessThan(5_000);
    const before = await until("the plugin's life", () => life(node));
    await expectCapabilities();
    const log = await dockerdLog(node);
    const since = Date.now();
    await askForNetwork(node, "cfg-etcd");
    try {
      await logShows(log, "Failed allocation for network", "etcd", "Check that etcd runs and that this node reaches the configured endpoints");
      expect(Date.now() - since).toBeLessThan(20_000);
      await statusShows(node, 1, "etcd does not answer", "Check that etcd runs", "network cfg-etcd");
      await eventTells(node, "source.lost", "etcd");
      expect(await life(node)).toEqual(before);
    } finally {
      await removeNetwork(node, "cfg-etcd");
    }
  });

  it("of a newer layout: listens, answers for itself, refuses the rest with the reason", async () => {
    await lab.etcd.ctl(["put", `${PREFIX}/schema`, JSON.stringify({ version: 99, owner: "newer" })]);
    // Of the last life, whose etcd was another: much of it is out of date by now, and stays so. Only leased keys may end.
    const lasting = async (): Promise<unknown> => [...await keysBelow(lab, PREFIX)].filter(([key]) => !key.startsWith(`${PREFIX}/nodes/`));
    const keys = await lasting();
    const log = await dockerdLog(node);
    expect(await reconfigure(node, GOOD)).toBeLessThan(5_000);
    const reason = "its layout is version 99, this operator knows version 1";
    const cure = "Upgrade flannel-np on this node";
    const text = await statusShows(node, 1, `etcd: ${reason}`, cure);
    const before = await life(node);
    await expectCapabilities();
    await askForNetwork(node, "cfg-schema");
    await logShows(log, "Failed allocation for network", reason, cure);
    await eventTells(node, "network.refused", reason, cure);
    expect([text.includes("NOT READY"), await lasting(), await life(node)]).toEqual([true, keys, before]);
    await removeNetwork(node, "cfg-schema");
    await lab.etcd.ctl(["del", `${PREFIX}/schema`]);
    await statusShows(node, 0, "ready");
  });
});

describe("room that is used up", () => {
  it("a full pool is refused with the arithmetic and the cure, and takes a network again once there is room", async () => {
    await reconfigure(node, { ...GOOD, AVAILABLE_SUBNETS: "10.50.0.0/20" });
    await until("the plugin's life", () => life(node));
    const log = await dockerdLog(node);
    await askForNetwork(node, "cfg-first");
    await made("cfg-first");
    await askForNetwork(node, "cfg-second");
    await logShows(log, "Cannot find a free /20: 1 networks", "fill 10.50.0.0/20", "Add ranges to AVAILABLE_SUBNETS, or remove networks");
    await statusShows(node, 1, "network cfg-second: Cannot find a free /20", "Add ranges to AVAILABLE_SUBNETS");
    await eventTells(node, "network.refused", "Cannot find a free /20");
    await removeNetwork(node, "cfg-second");
    await removeNetwork(node, "cfg-first");
    await until("the range to be given back", async () => ![...(await keysBelow(lab, PREFIX)).keys()].some((key) => key.includes("/pools/")));
    await askForNetwork(node, "cfg-third");
    await made("cfg-third");
    await removeNetwork(node, "cfg-third");
  });

  it("a full node subnet is refused with the cure; an address is given again after its container has gone and it has rested", async () => {
    await reconfigure(node, { ...GOOD, DEFAULT_HOST_SUBNET_SIZE: "29" });
    await until("the plugin's life", () => life(node));
    await askForNetwork(node, "cfg-small");
    await made("cfg-small");
    await runBox(node, "cfg-small", "c1");
    const start = (name: string): ReturnType<Node["exec"]> => node.exec(["docker", "run", "-d", "--name", name, "--network", "cfg-small", "lab/box"]);
    // Of the eight addresses, three are the network's, the gateway's and the broadcast's.
    for (const name of ["c2", "c3", "c4", "c5"]) expect((await start(name)).stderr).toBe("");
    const { exitCode, stderr } = await start("c6");
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/Cannot give an address of [\d.]+\/29: all 5 addresses/);
    expect(stderr).toContain("Choose a larger node subnet");
    await statusShows(node, 1, "Cannot give an address of", "Choose a larger node subnet");
    await eventTells(node, "address.exhausted", "all 5 addresses", "Choose a larger node subnet");
    await must(node, ["docker", "rm", "-f", "c6", "c3"]);
    await until("an address to have rested", async () => (await start("c7")).exitCode === 0 || (await node.exec(["docker", "rm", "-f", "c7"]), false), 90_000);
    await must(node, ["docker", "rm", "-f", "c1", "c2", "c4", "c5", "c7"]);
    await removeNetwork(node, "cfg-small");
  });
});

async function expectCapabilities(): Promise<void> {
  const socket = await PluginSocket.of(node);
  try {
    for (const method of ["NetworkDriver.GetCapabilities", "IpamDriver.GetCapabilities"]) expect((await socket.post(method, "")).status).toBe(200);
  } finally {
    await socket.close();
  }
}
