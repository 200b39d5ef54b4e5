/**
 * Names while a node is cut off: from etcd alone, and from everything.
 *
 * Must hold: no wrong answer meanwhile: names that did not change are answered as before, on both sides, and never with NXDOMAIN or an
 * address that nobody has; afterwards both nodes answer alike, with what changed meanwhile, without a restart.
 */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { addresses, answers, dropServices, noerror, nodesOf, runService, serveNames, tasksOf, untilAnswers, vipOf, watch, type Seen } from "./names-bed.ts";

const NET = "parted";
/** Far longer than a node's lease of 10 s. */
const CUT_MS = 60_000;
const HEAL_MS = 60_000;
const ETCD = "10.99.0.250/32";

let lab: Lab;
let server: ChildProcess;
let askers: readonly [Box, Box];
let stays: readonly [Box, Box];
let vip: string;
const boxes: Box[] = [];

beforeAll(async () => {
  lab = await openedLab();
  server = await serveNames(lab, lab.outside);
  await makeNetwork(lab.node("node1"), NET);
  const [one, two] = nodesOf(lab);
  const made = (node: Node, name: string): Promise<Box> => runBox(node, NET, name);
  [askers, stays] = [[await made(one, "part1"), await made(two, "part2")], [await made(one, "stays1"), await made(two, "stays2")]];
  boxes.push(...askers, ...stays);
  await runService(lab, "held", 1, "--network", NET, "--constraint", "node.hostname==node1");
  vip = await vipOf(lab, "held", NET);
  await untilAnswers(askers, { held: noerror(vip), stays1: noerror(stays[0].address), stays2: noerror(stays[1].address) });
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await lab.node("node2").linkUp();
  await lab.node("node2").exec(["ip", "route", "del", "blackhole", ETCD]);
  await dropServices(lab, "held", "came0", "came1");
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(lab.node("node1"), NET);
});

const CUTS: readonly (readonly [what: string, cut: (node: Node) => Promise<unknown>, heal: (node: Node) => Promise<unknown>])[] = [
  ["etcd", (node) => must(node, ["ip", "route", "add", "blackhole", ETCD]), (node) => must(node, ["ip", "route", "del", "blackhole", ETCD])],
  ["everything", (node) => node.linkDown(), (node) => node.linkUp()],
];

/** Answers of every question on both nodes over a time. */
async function watchedAll(questions: readonly string[], during: () => Promise<void>): Promise<readonly (readonly Seen[])[]> {
  const watches = await Promise.all(askers.flatMap((asker) => questions.map((question) => watch(asker, question))));
  try { await during(); } finally { await Promise.resolve(); }
  return Promise.all(watches.map((one) => one.stop()));
}

describe.each(CUTS.map(([what, cut, heal], n) => [what, cut, heal, n] as const))("node2 cut off from %s", (what, cut, heal, n) => {
  it(`for ${CUT_MS / 1000} s: every answer right meanwhile; alike and up to date afterwards`, async () => {
    const [one, two] = nodesOf(lab);
    const leaves = await runBox(one, NET, `leaves${n}`);
    boxes.push(leaves);
    await untilAnswers(askers, { [leaves.name]: noerror(leaves.address) });
    const right: Readonly<Record<string, string>> = { held: noerror(vip), stays1: noerror(stays[0].address), stays2: noerror(stays[1].address) };
    const seen = await watchedAll(Object.keys(right), async () => {
      await cut(two);
      try {
        const since = Date.now();
        await removeBox(leaves);
        await until("the cut to be long enough", () => Promise.resolve(Date.now() - since > CUT_MS), 2 * CUT_MS);
      } finally { await heal(two); }
    });
    // Whoever is cut off from everything counts as dead after lease and probes: then its container's name is nobody's, asked on the
    // other side, and the question goes upstream. Never is there another address.
    const upstream = (answer: string): boolean => what === "everything" && /^(SERVFAIL|NXDOMAIN|TIMEOUT)$/.test(answer);
    const heard = seen.map((lines) => [...new Set(lines.map(({ answer }) => answer))]);
    const wanted = askers.flatMap((asker) => Object.entries(right).map(([question, answer]) => ({ answer, far: question === (asker.node.name === one.name ? "stays2" : "stays1") })));
    expect(heard.map((answers, n) => (wanted[n]?.far === true ? answers.filter((answer) => !upstream(answer)) : answers))).toEqual(wanted.map(({ answer }) => [answer]));
    await runService(lab, `came${n}`, 2, "--network", NET);
    const came = noerror(await vipOf(lab, `came${n}`, NET));
    await untilAnswers(askers, { ...right, [`came${n}`]: came }, HEAL_MS);
    await until(`${leaves.name} to be nobody's and the tasks of came${n} to be listed`, async () => {
      const tasks = noerror(...addresses(await tasksOf(lab, `came${n}`, NET)));
      const now = await Promise.all(askers.map((asker) => answers(asker, [leaves.name, `tasks.came${n}`])));
      const good = now.every((answer) => !/\d/.test(answer[leaves.name] ?? "1") && answer[`tasks.came${n}`] === tasks);
      if (!good) throw new Error(`${JSON.stringify(now)} after a cut from ${what}, instead of ${tasks}`);
      return true;
    }, HEAL_MS);
  }, 600_000);
});
