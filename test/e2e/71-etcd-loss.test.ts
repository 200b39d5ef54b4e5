/**
 * etcd away: what runs goes on running, known networks take containers and services; what needs etcd is refused with the reason,
 * and works once etcd is back, without a hand.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { DRIVER, etcdKeys, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { dockerdLog, logShows, status, statusShows } from "./refusal-bed.ts";
import { removeService, runGlobalService } from "./tasks.ts";
import { untilNothingIsLeft } from "./traces.ts";

const NETWORK = "loss";
/** Goal 5 s, times twenty. */
const ENABLED_MS = 100_000;
const LONG_MS = 300_000;

let lab: Lab;
let node1: Node;
let node2: Node;
const boxes: Box[] = [];

beforeAll(async () => {
  lab = await openedLab();
  [node1, node2] = [lab.node("node1"), lab.node("node2")];
  await makeNetwork(node1, NETWORK);
  boxes.push(await runBox(node1, NETWORK, "loss-a"), await runBox(node2, NETWORK, "loss-b"));
  await runGlobalService(lab, NETWORK, "loss-web");
}, LONG_MS);

afterAll(async () => {
  await lab.etcd.start();
  await removeService(lab, "loss-web");
  await Promise.all(boxes.map(removeBox));
  for (const name of [NETWORK, "loss-new"]) await removeNetwork(node1, name);
  await untilNothingIsLeft(lab);
}, LONG_MS);

const first = (): readonly [Box, Box] => {
  const [a, b] = boxes;
  if (a === undefined || b === undefined) throw new Error("Cannot ping: the containers were never made");
  return [a, b];
};
const running = async (node: Node, service: string): Promise<readonly string[]> =>
  (await must(node, ["docker", "ps", "-q", "--no-trunc", "--filter", `label=com.docker.swarm.service.name=${service}`])).split("\n").filter((line) => line !== "");
const addresses = async (node: Node): Promise<readonly string[]> =>
  (await must(node, ["sh", "-c", `docker ps -q | xargs -r docker inspect -f '{{with index .NetworkSettings.Networks "${NETWORK}"}}{{.IPAddress}}{{end}}'`])).split("\n").filter((line) => line !== "");

describe("etcd stopped", () => {
  let flow: Promise<{ readonly stdout: string }>;
  beforeAll(async () => {
    const [a, b] = first();
    flow = node1.exec(["docker", "exec", a.name, "ping", "-q", "-c", "1000", "-i", "0.01", "-W", "5", b.address], { timeoutMs: LONG_MS });
    await lab.etcd.stop();
    await statusShows(node1, 1, "NOT READY", "etcd does not answer", "Check that etcd runs and that this node reaches the configured endpoints");
  }, LONG_MS);

  it("loses none of 1,000 pings", async () => {
    expect((await flow).stdout).toMatch(/1000 packets transmitted, 1000 received/);
  }, LONG_MS);

  it("containers of a known network start and stop on both nodes, and reach each other", async () => {
    const fresh = [await runBox(node1, NETWORK, "loss-c"), await runBox(node2, NETWORK, "loss-d")] as const;
    boxes.push(...fresh);
    expect(await pings(fresh[0], fresh[1].address)).toBe(true);
    expect(await pings(fresh[1], first()[0].address)).toBe(true);
    await must(node2, ["docker", "stop", "-t", "0", "loss-d"]);
    await must(node2, ["docker", "start", "loss-d"]);
  }, LONG_MS);

  it("services are made and scaled", async () => {
    await must(node1, ["docker", "service", "create", "--detach", "--no-resolve-image", "--name", "loss-scale", "--network", NETWORK, "lab/box"]);
    await must(node1, ["docker", "service", "scale", "--detach", "loss-scale=6"]);
    await until("six tasks", async () => (await running(node1, "loss-scale")).length + (await running(node2, "loss-scale")).length === 6, LONG_MS);
    await must(node1, ["docker", "service", "scale", "--detach", "loss-scale=2"]);
    await until("two tasks", async () => (await running(node1, "loss-scale")).length + (await running(node2, "loss-scale")).length === 2, LONG_MS);
  }, LONG_MS);

  it("a new network is refused with the reason; nothing of it is made", async () => {
    const log = await dockerdLog(node1);
    await must(node1, ["docker", "network", "create", "-d", DRIVER, "--ipam-driver", DRIVER, "--attachable", "loss-new"]);
    await logShows(log, "etcd", "Check that etcd runs");
    await statusShows(node1, 1, "Check that etcd runs");
  }, LONG_MS);

  it("back: everything is mirrored, no address is held twice, the new network works when made again", async () => {
    await lab.etcd.start();
    await removeNetwork(node1, "loss-new");
    await until("etcd to hold every running container", async () => {
      const keys = [...(await etcdKeys(lab)).keys()].join("\n");
      const ids = await Promise.all([node1, node2].flatMap((node) => [must(node, ["docker", "ps", "-q", "--no-trunc", "--filter", `network=${NETWORK}`])]));
      const missing = ids.join("\n").split("\n").filter((id) => id !== "" && !keys.includes(id));
      if (missing.length > 0) throw new Error(`without ${missing.join(", ")}`);
      return true;
    });
    const all = [...await addresses(node1), ...await addresses(node2)];
    expect(new Set(all).size).toBe(all.length);
    await removeService(lab, "loss-scale");
    await makeNetwork(node1, "loss-new");
    boxes.push(await runBox(node1, "loss-new", "loss-e"));
    await statusShows(node1, 0, "ready");
  }, LONG_MS);
});

describe("a plugin enabled while etcd is absent", () => {
  it("is enabled in time, says what is wrong and how to cure it, and works once etcd appears", async () => {
    await lab.etcd.stop();
    await must(node2, ["docker", "plugin", "disable", "-f", DRIVER]);
    const since = Date.now();
    await must(node2, ["docker", "plugin", "enable", DRIVER], ENABLED_MS);
    expect(Date.now() - since).toBeLessThan(ENABLED_MS);
    await statusShows(node2, 1, "etcd does not answer", "Check that etcd runs and that this node reaches the configured endpoints");
    expect(await pings(first()[0], first()[1].address)).toBe(true);
    await lab.etcd.start();
    await until("node2 to be well", async () => (await status(node2)).exitCode === 0);
  }, LONG_MS);
});
