/**
 * Three managers: the leader moves ten times while a service is updated without pause; a member leaves and comes back under
 * another id. In a lab of its own.
 *
 * Must hold: every VIP and address as before, none given twice, no ping lost, nothing leaked. A demoted manager, whose swarm
 * events end without a word, goes on from etcd; promoted again it tells for swarm itself.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { openLab, type Lab } from "../../lab/lab.ts";
import { DEADLINE_MS, etcdKeys, makeNetwork, must, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { flow, ledger, links, untilConverged, untilModelHolds } from "./flow.ts";
import { ipamCheck, stateOf } from "./refusal-bed.ts";
import { removeService, runGlobalService } from "./tasks.ts";
import { untilNothingIsLeft } from "./traces.ts";
import { createService, vipOf } from "./vip-bed.ts";

const NETWORK = "led";
const MOVES = 10;
const SLOW_MS = 900_000;
const STANDING = ["led-web", "led-api"] as const;

let lab: Lab;
let boxes: readonly Box[] = [];
let tasks: readonly Box[] = [];

beforeAll(async () => {
  lab = await openLab({ id: "leaders", nodes: ["28", "20.10", "28"].map((engine) => ({ engine, swarm: "manager" })) });
  await makeNetwork(lab.node("node1"), NETWORK);
  for (const node of lab.nodes) boxes = [...boxes, await runBox(node, NETWORK, `led-${node.name}`)];
  tasks = await runGlobalService(lab, NETWORK, "led-web");
  await createService(lab.node("node1"), NETWORK, "led-api", "--replicas", "2");
  await createService(lab.node("node1"), NETWORK, "led-busy", "--replicas", "3", "--stop-grace-period", "1s", "--update-parallelism", "3");
}, SLOW_MS);

afterAll(async () => { await lab.down(); }, SLOW_MS);

/** Hostname → what `docker node ls` says of its manager; nothing where no manager answers. */
async function managers(): Promise<ReadonlyMap<string, string>> {
  for (const node of lab.nodes) {
    const { exitCode, stdout } = await node.exec(["docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}"]);
    if (exitCode === 0) return new Map(stdout.trim().split("\n").map((line): [string, string] => { const [name = "", state = "", ...role] = line.split(" "); return [name, state === "Ready" ? role.join(" ") : state]; }));
  }
  return new Map();
}

const untilLeader = (...not: readonly string[]): Promise<Node> => until("a leader", async () => {
  const [name] = [...await managers()].find(([, role]) => role === "Leader") ?? [];
  return name !== undefined && !not.includes(name) && lab.node(name);
}, 2 * DEADLINE_MS);

const untilAllManage = (): Promise<unknown> => until("three managers", async () => {
  const roles = [...(await managers()).values()];
  return roles.filter((role) => role === "Reachable" || role === "Leader").length === lab.nodes.length;
}, 2 * DEADLINE_MS);

const untilRole = (node: Node, role: string): Promise<unknown> => until(`${node.name} to know that it is a ${role}`, async () => (await stateOf(node)).node.role === role);

const vips = async (from: Node): Promise<Readonly<Record<string, string>>> =>
  Object.fromEntries(await Promise.all(STANDING.map(async (name) => [name, await vipOf(from, name, NETWORK)] as const)));

/** Name → address of the boxes and of the standing service's tasks, as far as they run: swarm ends tasks of a node it takes for lost. */
async function addressesOf(): Promise<Readonly<Record<string, string>>> {
  const shown = await Promise.all([...boxes, ...tasks].map(async ({ node, name }) =>
    [name, (await node.exec(["docker", "inspect", "-f", `{{if .State.Running}}{{(index .NetworkSettings.Networks "${NETWORK}").IPAddress}}{{end}}`, name])).stdout.trim()] as const));
  return Object.fromEntries(shown.filter(([, address]) => address !== ""));
}

/** One update after the other, by whoever answers, until it is told that it is enough; answers how many were taken. */
function load(): { enough(): Promise<number> } {
  let running = true;
  let taken = 0;
  const rounds = (async () => {
    for (let round = 0; running; round += 1) {
      const node = lab.nodes[round % lab.nodes.length] as Node;
      const { exitCode } = await node.exec(["docker", "service", "update", "--detach", "--no-resolve-image", "--env-add", `ROUND=${round}`, "led-busy"]);
      if (exitCode === 0) taken += 1;
      await new Promise((resolve) => { setTimeout(resolve, 500); });
    }
  })();
  return { enough: async () => { running = false; await rounds; return taken; } };
}

const answersOf = async ({ node, name }: Box, question: string): Promise<readonly string[]> =>
  (await node.exec(["docker", "exec", name, "dig", "+short", "+tries=1", "+time=2", question])).stdout.trim().split("\n").filter((line) => line !== "");

/** A service made now has an address nobody had; the demoted node, which swarm tells nothing any more, can name it. */
async function newService(by: Node, name: string, taken: readonly string[], worker: Box): Promise<void> {
  await createService(by, NETWORK, name);
  const vip = await vipOf(by, name, NETWORK);
  expect(taken).not.toContain(vip);
  await until(`${worker.node.name} to name ${name}`, async () => {
    const seen = [...await answersOf(worker, name), ...await answersOf(worker, `tasks.${name}`)];
    if (seen.length < 2) throw new Error(`it answers ${seen.join(", ")}`);
    expect(taken).not.toContain(seen[1]);
    return true;
  });
  await must(by, ["docker", "service", "rm", name]);
}

it("the leader moves ten times under load: every VIP and address as before, no ping lost", async () => {
  const first = await untilLeader();
  const [before, addresses, own] = [await vips(first), await addressesOf(), await Promise.all(lab.nodes.map(links))];
  const taken = [...Object.values(before), ...Object.values(addresses)];
  expect(new Set(taken).size).toBe(taken.length);
  const [from, , to] = boxes as readonly [Box, Box, Box];
  const busy = load();
  const { sent, received } = await flow(from, to.address, async () => {
    for (let move = 1; move <= MOVES; move += 1) {
      const old = await untilLeader();
      const worker = boxes.find(({ node }) => node === old) as Box;
      await must(lab.nodes.find((node) => node !== old) as Node, ["docker", "node", "demote", old.name]);
      const now = await untilLeader(old.name);
      expect([move, await vips(now)]).toEqual([move, before]);
      await untilRole(old, "worker");
      await newService(now, `led-new-${move}`, taken, worker);
      await must(now, ["docker", "node", "promote", old.name]);
      await untilAllManage();
      await untilRole(old, "manager");
    }
  });
  const updates = await busy.enough();
  process.stdout.write(`   ${updates} service updates taken during ${MOVES} moves\n`);
  expect(updates).toBeGreaterThanOrEqual(MOVES);
  expect({ lost: sent - received }).toEqual({ lost: 0 });
  expect(await vips(await untilLeader())).toEqual(before);
  const after = await addressesOf();
  expect(addresses).toMatchObject(after);
  expect(Object.keys(after)).toEqual(expect.arrayContaining(boxes.map(({ name }) => name)));
  // Links of the busy tasks come and go; those that stood are the same.
  const now = await Promise.all(lab.nodes.map(links));
  for (const [at, box] of boxes.entries()) expect([box.name, (now[at] ?? "").split("\n")]).toEqual([box.name, expect.arrayContaining([...await standingLinks(own[at] ?? "", box.node)])]);
}, SLOW_MS);

/** Of the links a node had before, those whose containers still run: at least the box's, the gateway's and the tunnel's. */
async function standingLinks(before: string, node: Node): Promise<readonly string[]> {
  const held = (await must(node, ["sh", "-c", "ls /sys/class/net"])).split("\n");
  const lines = before.split("\n").filter((line) => held.includes(line.split(" ")[1] ?? ""));
  expect(lines.length).toBeGreaterThanOrEqual(3);
  return lines;
}

/** The /25 of an address: the default size of a node's subnet. */
const blockOf = (address: string): string => address.replace(/\d+$/, (last) => String(Number(last) >> 7));

describe("afterwards", () => {
  it("nothing is leaked: Docker and the kernel agree, the books show nothing that nobody needs", async () => {
    await removeService(lab, "led-busy");
    await untilModelHolds(lab.nodes, NETWORK);
    for (const node of lab.nodes) {
      await untilConverged(node);
      expect(await ipamCheck(node)).toEqual({ exitCode: 0, text: "nothing is leaked, no address is held twice\n" });
      expect((await ledger(node)).length).toBe(new Set(await ledger(node)).size);
    }
  }, SLOW_MS);

  it("a manager that leaves and joins again under another id has its subnet, its containers and its place in every view", async () => {
    // Engine 28 does not join through a manager of 20.10: its gRPC asks for ALPN.
    const leader = await untilLeader();
    const gone = lab.nodes.find((node) => node !== leader && node.engine === "28") as Node;
    const box = boxes.find(({ node }) => node === gone) as Box;
    const peer = boxes.find(({ node }) => node !== gone && node.engine === "28") as Box;
    const id = await must(gone, ["docker", "info", "-f", "{{.Swarm.NodeID}}"]);
    const token = await must(peer.node, ["docker", "swarm", "join-token", "-q", "manager"]);
    await removeBox(box);
    await must(peer.node, ["docker", "node", "demote", gone.name]);
    await untilRole(gone, "worker");
    await must(gone, ["docker", "swarm", "leave"]);
    await until("its departure", async () => (await peer.node.exec(["docker", "node", "rm", id])).exitCode === 0);
    await must(gone, ["docker", "swarm", "join", "--advertise-addr", gone.address, "--token", token, `${peer.node.address}:2377`]);
    await untilAllManage();
    expect(await must(gone, ["docker", "info", "-f", "{{.Swarm.NodeID}}"])).not.toBe(id);
    const back = await runBox(gone, NETWORK, box.name);
    boxes = boxes.map((one) => (one === box ? back : one));
    expect(blockOf(back.address)).toBe(blockOf(box.address));
    await until("pings both ways", async () => await pings(back, peer.address) && pings(peer, back.address));
    await until("etcd to know it by its new id alone", async () => {
      const keys = [...(await etcdKeys(lab)).keys()].filter((key) => key.includes("/nodes/"));
      if (keys.some((key) => key.includes(id))) throw new Error(keys.join(" "));
      return keys.length > 0;
    });
    await until("its new name in a peer's answers", async () => (await answersOf(peer, back.name)).includes(back.address));
    await untilModelHolds(lab.nodes, NETWORK);
    await Promise.all(lab.nodes.map((node) => untilConverged(node)));
  }, SLOW_MS);

  it("everything goes when its services and its network go", async () => {
    for (const name of STANDING) await removeService(lab, name);
    await Promise.all(boxes.map(removeBox));
    await removeNetwork(await untilLeader(), NETWORK);
    await untilNothingIsLeft(lab);
  }, SLOW_MS);
});
