/**
 * `flannel-np dns` against the live plugin: who answers a container, what its table holds, its questions as they come, what is forgotten.
 *
 * Must hold: what `dns query` shows is what dig inside the container gets; looking changes nothing; a log ends with its reader.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { debug, LAB_ID, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box } from "./bed.ts";
import { answers, dropServices, noerror, nodesOf, runService, serveNames, tasksOf, untilAnswers, UPSTREAM, vipOf } from "./names-bed.ts";

const NET = "verbs";
const CLI = fileURLToPath(new URL("../../flannel-np", import.meta.url));

let lab: Lab;
let server: ChildProcess;
let boxes: readonly [Box, Box];
let vip: string;

beforeAll(async () => {
  lab = await openedLab();
  server = await serveNames(lab, lab.outside);
  await makeNetwork(lab.node("node1"), NET);
  const [one, two] = nodesOf(lab);
  const dns = ["--dns", lab.outside.address];
  boxes = [await runBox(one, NET, "front1", ...dns), await runBox(two, NET, "front2", ...dns)];
  await runService(lab, "shop", 2, "--network", NET, "--publish", "18091:80");
  vip = await vipOf(lab, "shop", NET);
  await untilAnswers(boxes, { shop: noerror(vip), front1: noerror(boxes[0].address), front2: noerror(boxes[1].address) });
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await dropServices(lab, "shop");
  await Promise.all((boxes ?? []).map(removeBox));
  await removeNetwork(lab.node("node1"), NET);
});

interface Said { readonly exit: number; readonly out: string; readonly err: string }
const verb = (node: string, ...words: readonly string[]): Promise<Said> => new Promise((resolve) => {
  execFile(CLI, ["dns", ...words, "--node", node, "--lab", LAB_ID], (error, out, err) => { resolve({ exit: error === null ? 0 : Number(error.code), out, err }); });
});
interface Answered { readonly by: string; readonly code: string; readonly records: readonly { readonly type: string; readonly data: string }[] }
async function query(box: Box, ...words: readonly string[]): Promise<Answered> {
  const { out, err } = await verb(box.node.name, "query", ...words, "--as", box.name, "-o", "json");
  if (out === "") throw new Error(err);
  return JSON.parse(out) as Answered;
}

describe.each([0, 1] as const)("as a container on node %#", (at) => {
  it("query: what dig gets, and who said so", async () => {
    const box = boxes[at];
    for (const [question, by] of [["shop", "zone"], ["tasks.shop", "zone"], [`front1.${NET}`, "zone"], ["shop TXT", "zone"], ["_80._tcp.shop SRV", "zone"], ["shop AAAA", "zone"], [UPSTREAM.name, "forward"], ["nobody", "forward"]] as const) {
      await verb(box.node.name, "flush", "--as", box.name);
      const { by: who, code, records } = await query(box, ...question.split(" "));
      const dug = (await answers(box, [question]))[question];
      expect([code, ...records.map(({ data }) => data).sort()].map((word) => word.replace(/\.$/, "")).join(" ")).toBe(dug?.replace(/\.$/, ""));
      expect(`${question} by ${who}`).toBe(`${question} by ${by}`);
    }
    expect(await query(box, box.address)).toMatchObject({ by: "zone", code: "NOERROR", records: [{ type: "PTR", data: `${box.name}.${NET}` }] });
  });

  it("query: an answer of Docker's resolver is kept, until it is flushed", async () => {
    const box = boxes[at];
    await verb(box.node.name, "flush");
    const who = async (): Promise<string> => (await query(box, UPSTREAM.name)).by;
    expect([await who(), await who()]).toEqual(["forward", "cached"]);
    expect(await verb(box.node.name, "flush", "--as", box.name)).toEqual({ exit: 0, out: "forgotten for 1 container\n", err: "" });
    expect(await who()).toBe("forward");
  });

  it("query: shown to people, exit 0 with a record and 1 without", async () => {
    const box = boxes[at];
    const { exit, out } = await verb(box.node.name, "query", "shop", "--as", box.name);
    expect(out).toMatch(new RegExp(`^shop A, asked as ${box.name}: NOERROR, [\\d.]+ ms\nanswered by flannel-np, from the container's table\n\nANSWER\nNAME +TTL +TYPE +DATA\nshop +5 +A +${vip}\n$`));
    expect(exit).toBe(0);
    expect((await verb(box.node.name, "query", "nobody", "--as", box.name)).exit).toBe(1);
  });

  it("table: every name of the network, by the container's short id as well", async () => {
    const box = boxes[at];
    const id = (await must(box.node, ["docker", "inspect", "-f", "{{.Id}}", box.name])).slice(0, 12);
    const { networks } = JSON.parse((await verb(box.node.name, "table", "--as", id, "-o", "json")).out) as { networks: readonly { network: string; names: readonly { name: string; addresses: readonly string[] }[] }[] };
    expect(networks.map(({ network }) => network)).toEqual([NET]);
    const held = new Map(networks[0]?.names.map(({ name, addresses }) => [name, addresses]));
    const tasks = (await tasksOf(lab, "shop", NET)).map(({ address }) => address).sort();
    expect({ shop: held.get("shop"), tasks: held.get("tasks.shop"), one: held.get("front1"), two: held.get("front2") }).toEqual({ shop: [vip], tasks, one: [boxes[0].address], two: [boxes[1].address] });
    expect((await verb(box.node.name, "table", "--as", box.name)).out).toContain(`NETWORK ${NET}, asked first, TTL 5 s\n`);
  });
});

describe("a wrong call", () => {
  it("names the containers that are known, and the node of one that runs elsewhere", async () => {
    const nobody = await verb("node1", "query", "shop", "--as", "nobody");
    expect(nobody).toMatchObject({ exit: 2, out: "" });
    expect(nobody.err).toMatch(/^Cannot look as "nobody": no container on a network of ours is called so here\.\nThere are: .*front1/);
    expect((await verb("node1", "table", "--as", "front2")).err).toMatch(/runs on another node.*\nAsk there/);
  });

  it.each([
    [["query", "shop"], /--as <container>/], [["query", "a..b", "--as", "front1"], /it is no name/], [["query", "shop", "NONSENSE", "--as", "front1"], /there is no such type\.\nGive A, AAAA/],
  ] as const)("%j is refused", async (words, says) => {
    const { exit, err } = await verb("node1", ...words);
    expect(err).toMatch(says);
    expect(exit).toBe(2);
  });

  it("help shows every verb with an example", async () => {
    const { out } = await verb("node1", "--help");
    for (const word of ["query", "table", "log", "flush", "stats", "flannel-np dns query web --as"]) expect(out).toContain(word);
  });
});

it("log: the questions of that container alone, from when it is read until the reader goes", async () => {
  const [box, other] = [boxes[0], await runBox(boxes[0].node, NET, "front3", "--dns", lab.outside.address)];
  try {
    await untilAnswers([other], { shop: noerror(vip) });
    const reader = spawn(CLI, ["dns", "log", "--as", box.name, "--node", box.node.name, "--lab", LAB_ID]);
    let text = "";
    reader.stdout.on("data", (part) => { text += String(part); });
    await until("the log to begin", async () => { await answers(box, ["shop"]); return text.includes(" shop A answered by zone"); });
    await answers(other, ["tasks.shop"]);
    await answers(box, [`front2.${NET} AAAA`, UPSTREAM.name, "+tcp nobody"]);
    await until("all to be told", () => Promise.resolve(/ tcp nobody A nxdomain by forward\n/.test(text)));
    expect(text).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z udp shop A answered by zone$/m);
    expect(text).toContain(` udp front2.${NET} AAAA nodata by zone\n`);
    expect(text).toMatch(new RegExp(` udp ${UPSTREAM.name} A answered by (forward|cached)\n`));
    expect(text).not.toContain("tasks.shop");
    reader.kill("SIGINT");
    await new Promise((resolve) => { reader.once("exit", resolve); });
  } finally {
    await removeBox(other);
  }
});

it("log: ends with its container", async () => {
  const box = await runBox(boxes[0].node, NET, "front4");
  const reader = verb(box.node.name, "log", "--as", box.name);
  await until("the log to be read", async () => (await answers(box, ["shop"]))["shop"] === noerror(vip));
  await removeBox(box);
  const { exit } = await reader;
  expect(exit === 0 || exit === 2).toBe(true);
});

it("stats and /metrics count what is asked", async () => {
  const [box] = boxes;
  const counted = async (): Promise<{ sandboxes: number; names: number; counters: Record<string, number> }> => JSON.parse((await verb(box.node.name, "stats", "-o", "json")).out) as never;
  const before = await counted();
  await answers(box, ["shop", "shop AAAA", "+tcp shop"]);
  const after = await counted();
  const grown = (counter: string): number => (after.counters[counter] ?? 0) - (before.counters[counter] ?? 0);
  expect({ udp: grown("udp") >= 2, tcp: grown("tcp") >= 1, answered: grown("answered") >= 2, nodata: grown("nodata") >= 1 }).toEqual({ udp: true, tcp: true, answered: true, nodata: true });
  expect(after.sandboxes).toBeGreaterThan(0);
  expect(after.names).toBeGreaterThan(2);
  const metrics = await must(box.node, ["curl", "-s", "--unix-socket", "/run/flannel-np/debug.sock", "http://debug/metrics"]);
  expect(metrics).toMatch(/^flannel_np_dns_queries_total\{transport="udp"\} [1-9]/m);
  expect((await debug(box.node, "GET", "/dns/stats")).status).toBe(200);
});
