/**
 * What each kind of name and record is answered with, asked by dig in containers on both engines.
 *
 * Must hold: every row of what Docker's own server answers on an overlay, and what ours does better: workers know services whose
 * tasks run elsewhere, VIPs have reverse names, SRV and TXT tell who serves.
 */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, type Box } from "./bed.ts";
import {
  addresses, answers, dropServices, noerror, nodesOf, runService, serveNames, shortId, tasksOf, untilAnswers, UPSTREAM, vipOf, type Answers,
} from "./names-bed.ts";

const NET = "answers";
const SERVICES = ["web", "ring", "solo"] as const;

let lab: Lab;
let server: ChildProcess;
let askers: readonly [Box, Box];
let linked: Box;
let vip: string;
let tasks: Readonly<Record<(typeof SERVICES)[number], readonly Box[]>>;

beforeAll(async () => {
  lab = await openedLab();
  const [one, two] = nodesOf(lab);
  server = await serveNames(lab, lab.outside);
  await makeNetwork(one, NET);
  const dns = ["--dns", lab.outside.address] as const;
  const asker = (node: typeof one, n: number): Promise<Box> => runBox(node, NET, `ask${n}`, "--hostname", `host${n}`, "--network-alias", `alias${n}`, "--network-alias", "pair", ...dns);
  askers = await Promise.all([asker(one, 1), asker(two, 2)]);
  linked = await runBox(one, NET, "linked", "--link", "ask1:near", ...dns);
  await Promise.all([
    runService(lab, "web", 2, "--network", `name=${NET},alias=site`, "--placement-pref", "spread=node.id", "--publish", "18090:80"),
    runService(lab, "ring", 3, "--network", `name=${NET},alias=circle`, "--endpoint-mode", "dnsrr"),
    runService(lab, "solo", 1, "--network", NET, "--constraint", "node.hostname==node1"),
  ]);
  vip = await vipOf(lab, "web", NET);
  const [web, ring, solo] = await Promise.all(SERVICES.map((name) => tasksOf(lab, name, NET)));
  tasks = { web: web ?? [], ring: ring ?? [], solo: solo ?? [] };
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await dropServices(lab, ...SERVICES);
  await Promise.all([...askers ?? [], linked].filter((box) => box !== undefined).map(removeBox));
  await removeNetwork(lab.node("node1"), NET);
});

/** Every name with and without its network. */
const bothWays = (wanted: Answers): Answers =>
  Object.fromEntries(Object.entries(wanted).flatMap(([name, answer]) => [[name, answer], [`${name}.${NET}`, answer]]));

/** From both nodes, in one round. */
async function answeredAlike(wanted: Answers): Promise<void> {
  const seen = await Promise.all(askers.map((asker) => answers(asker, Object.keys(wanted))));
  expect(seen).toEqual([wanted, wanted]);
}

describe("addresses, asked on both nodes", () => {
  it("of services and their aliases: the virtual address, or all tasks", async () => {
    const all = bothWays({
      web: noerror(vip), site: noerror(vip), "tasks.web": noerror(...addresses(tasks.web)), "tasks.site": noerror(...addresses(tasks.web)),
      ring: noerror(...addresses(tasks.ring)), circle: noerror(...addresses(tasks.ring)), "tasks.ring": noerror(...addresses(tasks.ring)),
    });
    expect(tasks.web).toHaveLength(2);
    expect(tasks.ring).toHaveLength(3);
    await untilAnswers(askers, all);
    await answeredAlike(all);
  });

  it("of containers: name, short id, hostname, alias; an alias of two is answered with both", async () => {
    const [a, b] = askers;
    const [shortA, shortB] = await Promise.all(askers.map(shortId));
    const all = bothWays({
      ask1: noerror(a.address), ask2: noerror(b.address), [shortA ?? ""]: noerror(a.address), [shortB ?? ""]: noerror(b.address),
      host1: noerror(a.address), host2: noerror(b.address), alias1: noerror(a.address), alias2: noerror(b.address), pair: noerror(a.address, b.address),
    });
    await untilAnswers(askers, all);
    await answeredAlike(all);
  });

  it("of a task's container: its own name", async () => {
    await untilAnswers(askers, bothWays(Object.fromEntries(tasks.ring.map(({ name, address }) => [name, noerror(address)]))));
  });

  it("whatever the case, and with a final dot", async () => {
    await answeredAlike({
      WEB: noerror(vip), "web.": noerror(vip), [`web.${NET}.`]: noerror(vip), ASK1: noerror(askers[0].address),
      "Tasks.Web": noerror(...addresses(tasks.web)),
    });
  });

  it("of --link aliases: in that container alone", async () => {
    await untilAnswers([linked], { near: noerror(askers[0].address) });
    expect(await answers(askers[0], ["near"])).toEqual({ near: "NXDOMAIN" });
  });

  it("over TCP as over UDP", async () => {
    await answeredAlike({ "+tcp web": noerror(vip), "+tcp tasks.ring": noerror(...addresses(tasks.ring)), [`+tcp ${UPSTREAM.name}`]: noerror(UPSTREAM.address) });
  });
});

describe("other types of a known name", () => {
  it("are there, and empty: never asked elsewhere", async () => {
    await answeredAlike({ "web AAAA": "NOERROR", "web MX": "NOERROR", "ask1 AAAA": "NOERROR", "ring AAAA": "NOERROR", [`web.${NET} AAAA`]: "NOERROR" });
  });

  it("owner, flags: the case asked, recursion available, no authority claimed", async () => {
    for (const asker of askers) {
      const text = await must(asker.node, ["docker", "exec", asker.name, "dig", "+noall", "+comments", "+answer", "WeB"]);
      expect(text).toMatch(/;; flags: qr rd ra[; ]/);
      expect(text).toMatch(/^WeB\.\s/m);
    }
  });
});

describe("the way back", () => {
  it("from a container's address to its name on the network", async () => {
    const [a, b] = askers;
    await untilAnswers(askers, { [`-x ${a.address}`]: noerror(`ask1.${NET}.`), [`-x ${b.address}`]: noerror(`ask2.${NET}.`) });
    await untilAnswers(askers, Object.fromEntries(tasks.ring.map(({ name, address }) => [`-x ${address}`, noerror(`${name}.${NET}.`)])));
  });
});

describe("what is nobody's name here", () => {
  it("is asked upstream, whose answer comes back as it is", async () => {
    await answeredAlike({ [UPSTREAM.name]: noerror(UPSTREAM.address), [`${UPSTREAM.name} AAAA`]: "NOERROR", "nobody.example.com": "NXDOMAIN", nobody: "NXDOMAIN" });
  });

  it("even when half of it is known", async () => {
    await answeredAlike({ "web.elsewhere": "NXDOMAIN", "tasks.nobody": "NXDOMAIN", [`nobody.${NET}`]: "NXDOMAIN", [`web.${NET}.example.com`]: "NXDOMAIN" });
  });
});

describe("better than Docker's", () => {
  it("a network's name has no case either", async () => {
    await answeredAlike({ "WeB.AnSwErS": noerror(vip), "ask1.ANSWERS": noerror(askers[0].address) });
  });

  it("a worker without a task of a service knows it", async () => {
    const [only] = tasks.solo;
    await untilAnswers(askers, { solo: noerror(await vipOf(lab, "solo", NET)), "tasks.solo": noerror(only?.address ?? "") });
  });

  it("a virtual address has a way back, and no other address of the network is asked upstream", async () => {
    await untilAnswers(askers, { [`-x ${vip}`]: noerror(`web.${NET}.`) });
  });

  it("other types that nobody has are empty too, and ANY is short (RFC 8482)", async () => {
    await answeredAlike({ "web NS": "NOERROR", "web CAA": "NOERROR" });
    for (const asker of askers) expect((await answers(asker, ["web ANY"]))["web ANY"]).toMatch(/^NOERROR/);
  });

  it("SRV of a published port leads to the service", async () => {
    for (const asker of askers) {
      const { "_80._tcp.web SRV": answer = "" } = await answers(asker, ["_80._tcp.web SRV"]);
      expect(answer).toMatch(/^NOERROR \d+ \d+ 80 \S+/);
      const target = answer.split(" ").at(-1) ?? "";
      expect(await answers(asker, [target])).toEqual({ [target]: noerror(vip) });
    }
  });

  it("one time to live for a whole set, 5 s unless set otherwise", async () => {
    for (const asker of askers) {
      const text = await must(asker.node, ["docker", "exec", asker.name, "dig", "+noall", "+answer", "tasks.ring"]);
      expect(text.split("\n").map((line) => line.split(/\s+/)[1])).toEqual(["5", "5", "5"]);
    }
  });

  it("addresses come in changing order", async () => {
    const script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do dig +short tasks.ring | head -1; done | sort -u";
    const firsts = await must(askers[0].node, ["docker", "exec", askers[0].name, "sh", "-c", script]);
    expect(firsts.split("\n").sort()).toEqual(addresses(tasks.ring).sort());
  });
});
