/**
 * Nobody but a network's own containers and the nodes reaches a container of ours: not containers of another network, of
 * docker0, or coming through docker_gwbridge, nor the LAN, whatever routes they make and whatever the host's settings are.
 * Every list of answers holds an allowed target too, so that silence means a drop and not a broken bed.
 */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { both, echoesSeen, inside, rangeOf, reached, script, settingsOf } from "./reach.ts";

const SETTINGS = ["net.ipv4.conf.all.rp_filter", "net.bridge.bridge-nf-call-iptables"];

let lab: Lab;
let lan: Awaited<ReturnType<Lab["addHost"]>>;
let outside: string;
let outsideServer: ChildProcess;
/** Ours: a container of network iso-a on each node. */
let victims: readonly Box[] = [];
/** Theirs: a container of network iso-b on each node that routes the victims' range to its own gateway. */
let neighbours: readonly Box[] = [];
/** And one of docker0 on each node. */
let plain: readonly Box[] = [];
/** A container of the victims' network that claims addresses of others. */
let forger: Box;
let range = "";
const before = new Map<Node, readonly string[]>();

const onEachNode = (network: string, letter: string): Promise<Box[]> => Promise.all(lab.nodes.map((node) =>
  runBox(node, network, `${letter}${node.name.slice(-1)}`, "--cap-add", "NET_ADMIN")));

beforeAll(async () => {
  lab = await openedLab();
  lan = await lab.addHost("lan");
  outside = lab.outside.address;
  outsideServer = lab.outside.spawn([lab.box, "serve"]);
  for (const network of ["iso-a", "iso-b"]) await makeNetwork(lab.node("node1"), network);
  for (const node of lab.nodes) before.set(node, await settingsOf(node, SETTINGS));
  victims = await onEachNode("iso-a", "a");
  neighbours = await onEachNode("iso-b", "b");
  plain = await onEachNode("bridge", "d");
  forger = await runBox(lab.node("node1"), "iso-a", "forger", "--cap-add", "NET_ADMIN");
  ({ range } = await rangeOf(forger));
  for (const box of neighbours) await script(box, `ip route add ${range} via ${(await rangeOf(box)).gateway} dev eth0`);
});

afterAll(async () => {
  outsideServer.kill("SIGKILL");
  for (const [node, settings] of before) {
    await must(node, ["sysctl", "-w", ...settings]);
    await must(node, ["iptables", "-P", "FORWARD", "DROP"]);
  }
  await lan.exec(["ip", "route", "del", range]);
  await Promise.all([...victims, ...neighbours, ...plain, forger].map(removeBox));
  for (const network of ["iso-a", "iso-b"]) await removeNetwork(lab.node("node1"), network);
});

const addresses = (boxes: readonly Box[]): readonly string[] => boxes.map(({ address }) => address);
const set = (nfOn: number, rpFilter: number, policy: string): Promise<unknown> => Promise.all(lab.nodes.map(async (node) => {
  await must(node, ["sysctl", "-w", `net.ipv4.conf.all.rp_filter=${rpFilter}`, `net.bridge.bridge-nf-call-iptables=${nfOn}`]);
  await must(node, ["iptables", "-P", "FORWARD", policy]);
}));

/** The LAN host sends the victims' range to one node after the other: it can have one route at a time. */
async function fromLan(): Promise<string[]> {
  const seen: string[] = [];
  for (const node of lab.nodes) {
    await lan.exec(["ip", "route", "replace", range, "via", node.address]);
    seen.push(...await reached(lan, [outside, ...addresses(victims), ...addresses(neighbours)]));
  }
  await lan.exec(["ip", "route", "del", range]);
  return seen;
}

/** Who reached whom, all at once; each is asked for the victims and for something that it may reach. */
async function everybody(): Promise<Record<string, unknown>> {
  const own = addresses(victims);
  const theirs = addresses(neighbours);
  const [nodes, inA, byGateway, byGwbridge, docker0, fromTheLan] = await Promise.all([
    Promise.all(lab.nodes.map((node) => reached(node, [...own, ...theirs]))),
    Promise.all(victims.map((box) => reached(inside(box), [...own, ...theirs]))),
    Promise.all(neighbours.map((box) => reached(inside(box), [...own, ...theirs]))),
    Promise.all(neighbours.map((box) => reached(inside(box), [outside, ...own], "eth1"))),
    Promise.all(plain.map((box) => reached(inside(box), [outside, ...own, ...theirs]))),
    fromLan(),
  ]);
  return { nodes, inA, byGateway, byGwbridge, docker0, fromTheLan };
}

const isolated = (): Record<string, unknown> => {
  const twice = (...targets: readonly string[]): readonly string[][] => [both(...targets), both(...targets)];
  return {
    nodes: twice(...addresses(victims), ...addresses(neighbours)), inA: twice(...addresses(victims)), byGateway: twice(...addresses(neighbours)),
    byGwbridge: twice(outside), docker0: twice(outside), fromTheLan: twice(outside).flat(),
  };
};

/** One more ping than any other claim's sum: the count that a target sees tells which claims came through. */
const PINGS = { own: 1, peer: 2, unheld: 4, foreign: 8 };
/** Pings in the name of `as`; fails when not all of them were sent. */
async function claim(sender: Box, as: string, target: Box, count: number): Promise<void> {
  const sent = await script(sender, `ip addr add ${as}/32 dev lo; ping -q -c ${count} -i 0.05 -W 0.5 -I ${as} ${target.address}; ip addr del ${as}/32 dev lo`);
  if (!sent.some((line) => line.startsWith(`${count} packets transmitted`))) throw new Error(`Cannot ping as ${as}: ${sent.join("; ")}`);
}

/** Pings in the target's sight: its peer on the other node, an address nobody holds, and another network are claimed falsely. */
async function seenFromForgers(target: Box, peer: Box): Promise<number> {
  const start = await echoesSeen(target);
  await script(forger, `ping -q -c ${PINGS.own} -W 5 ${target.address}`);
  await Promise.all([
    claim(neighbours[0] as Box, peer.address, target, PINGS.foreign),
    claim(forger, peer.address, target, PINGS.peer).then(() => claim(forger, peer.address.replace(/\d+$/, "120"), target, PINGS.unheld)),
  ]);
  return await echoesSeen(target) - start;
}

describe.each([
  // Docker's own settings; the others with a FORWARD policy that lets everything pass, so that no drop but ours is left.
  { nfOn: 1, rpFilter: 0, policy: "DROP" }, { nfOn: 0, rpFilter: 1, policy: "ACCEPT" },
  { nfOn: 1, rpFilter: 2, policy: "ACCEPT" },
])("with bridge-nf $nfOn, rp_filter $rpFilter and FORWARD policy $policy", ({ nfOn, rpFilter, policy }) => {
  beforeAll(async () => { await set(nfOn, rpFilter, policy); });

  it("a container is reached by its network and the nodes, by nobody else, on one node and across", async () => {
    expect(await everybody()).toEqual(isolated());
  });

  it("a source address that is not the sender's own is dropped, on one node and across", async () => {
    const [near, far] = victims as [Box, Box];
    expect([await seenFromForgers(near, far), await seenFromForgers(far, near)]).toEqual([PINGS.own, PINGS.own]);
  });
});

describe("a user's drop in DOCKER-USER", () => {
  it("drops a container's traffic on its node and across, until it is taken away", async () => {
    const [near, far] = victims as [Box, Box];
    for (const [box, targets] of [[near, [far.address, forger.address]], [far, [near.address, forger.address]]] as const) {
      expect(await reached(inside(box), targets)).toEqual(both(...targets));
      await must(box.node, ["iptables", "-I", "DOCKER-USER", "-s", box.address, "-j", "DROP"]);
      try {
        expect(await reached(inside(box), targets)).toEqual([]);
        expect(await reached(inside(forger), [near.address, far.address].filter((address) => address !== box.address))).toHaveLength(2);
      } finally {
        await must(box.node, ["iptables", "-D", "DOCKER-USER", "-s", box.address, "-j", "DROP"]);
      }
      expect(await until("traffic to be back", async () => (await reached(inside(box), targets)).length === 4)).toBe(true);
    }
  });
});
