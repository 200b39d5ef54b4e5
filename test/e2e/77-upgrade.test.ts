/**
 * The plugin pushed to a registry, installed from it, upgraded, removed and installed again; under the registry's name, without alias.
 * In a lab of its own: its engines trust a registry on the LAN, and a third machine, in no swarm, makes and pushes the versions.
 *
 * Must hold: containers keep talking; links and addresses stay, what runs is the new version with the old settings; no address is
 * handed out twice. What an administrator types is in docs/admin.md, and only that is typed here.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { openLab, type Lab } from "../../lab/lab.ts";
import { BUILD_FOLDER, createPlugin, pluginBuild, settingsFor } from "../../lab/plugin.ts";
import { startRegistry, trusting, type Registry } from "../../lab/registry.ts";
import { run } from "../../lab/run.ts";
import { must, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { flow, links, newcomer, untilConverged, untilModelHolds } from "./flow.ts";
import { untilNothingIsLeft } from "./traces.ts";

const NETWORK = "upgraded";
/** The first bare host of a lab. */
const REGISTRY = "10.99.0.151";
const NAME = `${REGISTRY}:5000/flannel-np:latest`;
const MARK = "/opt/flannel-np/next-version";
const SLOW_MS = 300_000;

let lab: Lab;
let registry: Registry;
let members: readonly Node[];
let boxes: readonly Box[] = [];
let next = "";

beforeAll(async () => {
  const swarmless = { swarm: false, plugin: false };
  lab = await openLab({ id: "upgrade", nodes: [
    { engine: "28", plugin: false, prepare: trusting(REGISTRY) }, { engine: "20.10", plugin: false, prepare: trusting(REGISTRY) },
    { name: "maker", engine: "28", ...swarmless, prepare: trusting(REGISTRY) },
  ] });
  members = [lab.node("node1"), lab.node("node2")];
  registry = await startRegistry(lab);
  await push(BUILD_FOLDER);
  for (const node of members) await install(node);
  await must(members[0] as Node, ["docker", "network", "create", "-d", NAME, "--ipam-driver", NAME, "--attachable", NETWORK]);
  boxes = await Promise.all(members.map((node) => runBox(node, NETWORK, `upgraded-${node.name}`, "--restart", "always")));
  next = await nextVersion();
  await push(next);
}, SLOW_MS);

afterAll(async () => {
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(members[0] as Node, NETWORK);
  await untilNothingIsLeft(traceable());
  await registry.stop();
  await lab.down();
  await rm(next, { recursive: true });
}, SLOW_MS);

/** The maker's node has none of our files. */
const traceable = (): Pick<Lab, "etcd" | "nodes"> => ({ etcd: lab.etcd, nodes: members });

/** The same program with one file more, a setting more, and another description, as another build has. */
async function nextVersion(): Promise<string> {
  const folder = await mkdtemp(`${tmpdir()}/fnp-next-`);
  await cp(`${BUILD_FOLDER}/rootfs`, `${folder}/rootfs`, { recursive: true, verbatimSymlinks: true });
  await writeFile(`${folder}/rootfs${MARK}`, "next\n");
  const config = JSON.parse(await readFile(`${BUILD_FOLDER}/config.json`, "utf8")) as { description: string; env: unknown[] };
  await writeFile(`${folder}/config.json`, JSON.stringify({ ...config, description: `${config.description}, next`, env: [...config.env, { name: "NEXT", description: "new", value: "1", settable: ["value"] }] }));
  return folder;
}

async function push(folder: string): Promise<void> {
  const maker = lab.node("maker");
  await createPlugin(maker, NAME, await pluginBuild(folder));
  await must(maker, ["docker", "plugin", "push", NAME]);
  await must(maker, ["docker", "plugin", "rm", NAME]);
}

async function install(node: Node): Promise<void> {
  const settings = Object.entries(settingsFor(await pluginBuild(), {})).map(([name, value]) => `${name}=${value}`);
  await must(node, ["docker", "plugin", "install", "--grant-all-permissions", NAME, ...settings]);
}

const plugin = (node: Node, verb: string, ...args: readonly string[]): Promise<string> => must(node, ["docker", "plugin", verb, ...args, NAME]);
const settings = (node: Node): Promise<string> => plugin(node, "inspect", "-f", "{{json .Settings.Env}}");
async function version(node: Node): Promise<"first" | "next"> {
  const pid = await node.pluginPid(NAME);
  return (await run("test", ["-e", `/proc/${pid}/root${MARK}`])).exitCode === 0 ? "next" : "first";
}

const pair = (name: string): readonly [Box, Box] => {
  const [own, other] = [boxes.find(({ node }) => node.name === name), boxes.find(({ node }) => node.name !== name)];
  if (own === undefined || other === undefined) throw new Error(`Cannot find the containers around ${name}: they were never made`);
  return [own, other];
};

/** Pings into the node while its plugin is replaced: none lost, the same links, the same containers; then one that comes new. */
async function replaced(node: Node, how: () => Promise<unknown>): Promise<void> {
  const [own, other] = pair(node.name);
  const [before, container] = [await links(node), await must(node, ["docker", "inspect", "-f", "{{.State.Pid}}", own.name])];
  const { sent, received } = await flow(other, own.address, async () => {
    await plugin(node, "disable", "-f");
    expect(await links(node)).toBe(before);
    await how();
    await untilConverged(node);
  });
  expect(sent).toBeGreaterThanOrEqual(100);
  expect({ lost: sent - received }).toEqual({ lost: 0 });
  expect(await links(node)).toBe(before);
  expect(await must(node, ["docker", "inspect", "-f", "{{.State.Pid}}", own.name])).toBe(container);
  await untilModelHolds(members, NETWORK);
  const { address, held, reaches } = await newcomer(members, NETWORK, node, other);
  expect(held).not.toContain(address);
  expect(reaches).toBe(true);
}

describe.each(["node1", "node2"])("on %s", (name) => {
  it("installed from the registry: the first version runs, containers talk across", async () => {
    expect(await version(lab.node(name))).toBe("first");
    const [own, other] = pair(name);
    await until("pings across", () => pings(own, other.address));
  }, SLOW_MS);

  it("upgraded: no ping lost, every link adopted, settings kept", async () => {
    const node = lab.node(name);
    const before = await settings(node);
    await replaced(node, async () => {
      await plugin(node, "upgrade", "--grant-all-permissions");
      await plugin(node, "enable");
    });
    expect(await version(node)).toBe("next");
    expect(JSON.parse(await settings(node))).toEqual(expect.arrayContaining(JSON.parse(before) as string[]));
  }, SLOW_MS);
});

// Engine 28's node does the same in 76-deaths, with a plugin that no registry knows.
it("on node2, removed and installed again: no ping lost, every link adopted", async () => {
  const node = lab.node("node2");
  await replaced(node, async () => {
    await plugin(node, "rm", "-f");
    await install(node);
  });
  expect(await version(node)).toBe("next");
}, SLOW_MS);
