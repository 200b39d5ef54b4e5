/** Networks made with options (a flannel-id of the user's own, a subnet), and a container on several networks at once. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { overlaps, type Cidr } from "../../src/core/ids.ts";
import { addressOf, etcdKeys, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, type Box } from "./bed.ts";
import { both, inside, rangeOf, reached } from "./reach.ts";
import { removeService, runGlobalService } from "./tasks.ts";

/** Outside of what the plugin picks by itself first. */
const SUBNET = "10.201.16.0/20";
const FLANNEL_ID = randomUUID();

let lab: Lab;
const boxes: Box[] = [];
const box = (name: string): Box => boxes.find((one) => one.name === name) as Box;

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), "named", "--ipam-opt", `flannel-id=${FLANNEL_ID}`);
  await makeNetwork(lab.node("node1"), "placed", "--subnet", SUBNET);
  await must(lab.node("node1"), ["docker", "network", "create", "plain"]);
  for (const node of lab.nodes) {
    boxes.push(...await Promise.all(["named", "placed"].map((network) => runBox(node, network, `${network}-${node.name}`))));
  }
  boxes.push(await runBox(lab.node("node1"), "plain", "plain-node1"));
});

afterAll(async () => {
  await removeService(lab, "replicas");
  await Promise.all([...boxes.map(removeBox), removeBox({ node: lab.node("node1"), name: "three" })]);
  for (const network of ["named", "placed", "plain"]) await removeNetwork(lab.node("node1"), network);
});

it("a range the plugin picks is none that another network of Docker's has, swarm's ingress first of all", async () => {
  const node = lab.node("node1");
  const ranges = (await must(node, ["sh", "-c", "docker network ls -q --no-trunc | xargs docker network inspect -f '{{.Name}} {{range .IPAM.Config}}{{.Subnet}}{{end}}'"])).split("\n").map((line) => line.split(" "));
  const picked = ranges.find(([name]) => name === "named")?.[1] as Cidr;
  const others = ranges.flatMap(([name = "", range = ""]) => (name === "named" || range === "" ? [] : [[name, range as Cidr] as const]));
  expect(others.map(([name]) => name)).toEqual(expect.arrayContaining(["ingress", "plain"]));
  expect(others.filter(([, range]) => overlaps(range, picked))).toEqual([]);
});

describe("a network with a flannel-id of the user's own", () => {
  it("carries traffic both ways and is known to flannel by that id", async () => {
    const [one, two] = [box("named-node1"), box("named-node2")];
    expect(await reached(inside(one), [two.address])).toEqual(both(two.address));
    expect(await reached(inside(two), [one.address])).toEqual(both(one.address));
    const { range } = await rangeOf(one);
    const config = [...await etcdKeys(lab)].find(([key]) => key.endsWith(`/${FLANNEL_ID}/config`))?.[1] ?? "{}";
    expect(JSON.parse(config)).toMatchObject({ Network: range });
  });

  it("lets the replicas of a service on both nodes reach each other", async () => {
    const tasks = await runGlobalService(lab, "named", "replicas");
    const targets = [...tasks.map(({ address }) => address), box("named-node1").address];
    for (const task of tasks) expect(await reached(inside(task), targets)).toEqual(both(...targets));
  });
});

describe("a network with a subnet of the user's own", () => {
  it("lives in that subnet and carries traffic both ways", async () => {
    const [one, two] = [box("placed-node1"), box("placed-node2")];
    expect([one, two].map(({ address }) => /^10\.201\.(1[6-9]|2\d|3[01])\./.test(address))).toEqual([true, true]);
    expect((await rangeOf(one)).range).toBe(SUBNET);
    expect(await reached(inside(one), [two.address])).toEqual(both(two.address));
    expect(await reached(inside(two), [one.address])).toEqual(both(one.address));
  });
});

describe("a container on two networks of ours and a plain bridge", () => {
  it("reaches all three, and is reached on all three", async () => {
    const node = lab.node("node1");
    await must(node, ["docker", "create", "--name", "three", "--network", "named", "lab/box"]);
    for (const network of ["placed", "plain"]) await must(node, ["docker", "network", "connect", network, "three"]);
    await must(node, ["docker", "start", "three"]);
    const peers = ["named-node1", "named-node2", "placed-node1", "placed-node2", "plain-node1"].map(box);
    const targets = peers.map(({ address }) => address);
    expect(await reached(inside({ node, name: "three" }), targets)).toEqual(both(...targets));
    await Promise.all(peers.map(async (peer) => {
      const address = await addressOf(node, "three", peer.name.replace(/-node.$/, ""));
      expect([peer.name, await reached(inside(peer), [address])]).toEqual([peer.name, both(address)]);
    }));
  });
});
