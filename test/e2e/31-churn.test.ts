/**
 * Ten networks at once, made, used on both nodes and removed, again and again: nothing is left behind, nothing is doubled.
 *
 * Must hold: after each round no VNI, pool, lease, key, link, route, rule, process, file or ledger of any network is left.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { DRIVER, etcdKeys, must, openedLab, until, type Node } from "./bed.ts";
import { allTraces, count, doubled, nodeTraces, untilNothingIsLeft } from "./traces.ts";

const NETWORKS = 10;
const ROUNDS = 20;
/** A round takes about 6 s on two idle cores, 20 s when three others want them. */
const ROUND_DEADLINE_MS = 120_000;
const names = Array.from({ length: NETWORKS }, (_, index) => `churn${index}`);

let lab: Lab;
let manager: Node;

beforeAll(async () => {
  lab = await openedLab();
  manager = lab.node("node1");
});

afterAll(async () => {
  await manager.exec(["sh", "-c", `docker service rm churn; docker network rm ${names.join(" ")}`]);
});

/** All commands of a list at once; fails when one fails. */
const atOnce = (commands: readonly string[]): Promise<string> =>
  must(manager, ["sh", "-c", `set -e; pids=; ${commands.map((command) => `{ ${command}; } & pids="$pids $!"`).join("; ")}; for pid in $pids; do wait $pid; done`]);

/** One service with a task per node on all networks. */
async function makeAll(): Promise<void> {
  await atOnce(names.map((name) => `docker network create -d ${DRIVER} --ipam-driver ${DRIVER} ${name} >/dev/null`));
  const attached = names.flatMap((name) => ["--network", name]);
  await must(manager, ["docker", "service", "create", "-d", "-q", "--name", "churn", "--mode", "global", "--no-resolve-image", "--stop-grace-period", "1s", ...attached, "lab/box"]);
  await until("a task on each node", async () => {
    const states = (await must(manager, ["docker", "service", "ps", "--format", "{{.Node}} {{.CurrentState}}", "churn"])).split("\n");
    if (!lab.nodes.every(({ name }) => states.some((state) => state.startsWith(`${name} Running`)))) throw new Error(states.join(" | "));
    return true;
  }, ROUND_DEADLINE_MS);
}

async function removeAll(): Promise<void> {
  await must(manager, ["docker", "service", "rm", "churn"]);
  await until("all networks to go", async () => {
    await manager.exec(["docker", "network", "rm", ...names]);
    return !(await must(manager, ["docker", "network", "ls", "--format", "{{.Name}}"])).split("\n").some((name) => names.includes(name));
  }, ROUND_DEADLINE_MS);
}

/** Exactly one of everything per network, on each node and in etcd. */
async function expectOneOfEach(): Promise<readonly number[]> {
  await until("one device and one process per network and node", async () => {
    const lists = await Promise.all(lab.nodes.map(nodeTraces));
    const seen = lists.map((lines) => ["link flannel.", "process ", "file ", "ledger L:"].map((kind) => count(lines, kind)));
    if (seen.flat().some((n) => n !== NETWORKS)) throw new Error(JSON.stringify(seen));
    return true;
  });
  const keys = [...(await etcdKeys(lab)).keys()];
  for (const [pattern, expected] of [[/^\/flannel\/pools\//, 1], [/^\/flannel\/vnis\//, 1], [/\/config$/, 1], [/\/subnets\//, lab.nodes.length]] as const) {
    expect({ pattern: String(pattern), found: keys.filter((key) => pattern.test(key)).length }).toEqual({ pattern: String(pattern), found: expected * NETWORKS });
  }
  expect(doubled(await allTraces(lab))).toEqual([]);
  return keys.filter((key) => key.startsWith("/flannel/vnis/")).map((key) => Number(key.slice("/flannel/vnis/".length)));
}

async function round(vnis: Set<number>, check: boolean): Promise<number> {
  const begin = Date.now();
  await makeAll();
  if (check) for (const vni of await expectOneOfEach()) vnis.add(vni);
  await removeAll();
  await untilNothingIsLeft(lab, ROUND_DEADLINE_MS);
  return Date.now() - begin;
}

describe(`${NETWORKS} networks at once, with a task on each node`, () => {
  it(`leave nothing behind and double nothing, ${ROUNDS} times`, async () => {
    const vnis = new Set<number>();
    const times: number[] = [];
    for (let n = 0; n < ROUNDS; n += 1) times.push(await round(vnis, n % 5 === 0));
    process.stderr.write(`   a round of ${NETWORKS} networks: ${times.map((ms) => (ms / 1000).toFixed(1)).join(" ")} s\n`);
    // What was given back is given again: a VNI that leaked would make the numbers climb.
    expect(vnis.size).toBeLessThanOrEqual(2 * NETWORKS);
    await untilNothingIsLeft(lab);
  }, ROUNDS * ROUND_DEADLINE_MS);
});
