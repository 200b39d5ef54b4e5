/**
 * Programs as they come: glibc's getent, Python, Node, Go, busybox; confined containers; containers that serve names themselves;
 * name servers of the user's; a container on our network and on a bridge.
 */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { addressOf, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, type Box } from "./bed.ts";
import { askedBy, BOX, CLIENTS, dropClients, GLIBC, importClients } from "./clients-bed.ts";
import { answers, dropServices, noerror, nodesOf, runService, serveNames, untilAnswers, UPSTREAM, vipOf } from "./names-bed.ts";

const [NET, BRIDGE, CLOSED] = ["clients", "clients-bridge", "clients-closed"];
const NODES = ["node1", "node2"] as const;
const LAN_NAME = { name: "only.lan.example", address: "203.0.113.8" } as const;

let lab: Lab;
let lan: Awaited<ReturnType<Lab["addHost"]>>;
const servers: ChildProcess[] = [];
const boxes: Box[] = [];
let peer: Box;
let vip: string;

const started = async (...box: Parameters<typeof runBox>): Promise<Box> => {
  const made = await runBox(...box);
  boxes.push(made);
  return made;
};
const dns = (): readonly string[] => ["--dns", lab.outside.address];

beforeAll(async () => {
  lab = await openedLab();
  lan = await lab.addHost("lan");
  servers.push(await serveNames(lab, lab.outside), await serveNames(lab, lan, `${LAN_NAME.name}=${LAN_NAME.address}`));
  await makeNetwork(lab.node("node1"), NET);
  peer = await started(lab.node("node1"), NET, "peer");
  await Promise.all([importClients(lab), runService(lab, "shop", 2, "--network", `name=${NET},alias=store`)]);
  vip = await vipOf(lab, "shop", NET);
  const ready = await Promise.all(nodesOf(lab).map((node) => started(node, NET, `ready-${node.name}`)));
  await untilAnswers(ready, { shop: noerror(vip), peer: noerror(peer.address) });
});

afterAll(async () => {
  servers.forEach((server) => server.kill("SIGKILL"));
  await dropServices(lab, "shop");
  await Promise.all(boxes.map(removeBox));
  await dropClients(lab);
  for (const node of lab.nodes) await node.exec(["docker", "network", "rm", BRIDGE]);
  for (const network of [NET, CLOSED]) await removeNetwork(lab.node("node1"), network);
});

type Confined = readonly [what: string, options: readonly string[]];
const CONFINED: readonly [Confined, Confined, Confined, Confined, Confined] = [
  ["as it comes", []], ["--read-only", ["--read-only"]], ["not root", ["--user", "65534:65534"]], ["--cap-drop ALL", ["--cap-drop", "ALL"]],
  ["all of that", ["--read-only", "--user", "65534:65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]],
];

describe.each(NODES)("on %s", (nodeName) => {
  // Each way by itself on one node is enough; the loosest and the tightest on both.
  it.each(nodeName === "node1" ? CONFINED : [CONFINED[0], CONFINED[4]])("getent, Python, Node, Go and nslookup in a container %s", async (_what, options) => {
    const right: Readonly<Record<string, string>> = { shop: vip, [`store.${NET}`]: vip, peer: peer.address, PEER: peer.address, [UPSTREAM.name]: UPSTREAM.address };
    const names = Object.keys(right);
    for (const [programs, image] of [[GLIBC, CLIENTS], [BOX, "lab/box"]] as const) {
      const seen = await askedBy(lab, nodeName, programs, image, NET, names, [...dns(), ...options]);
      expect(seen).toEqual(Object.fromEntries(Object.keys(programs).flatMap((program) => names.map((name) => [`${program}: ${name}`, right[name]]))));
    }
  });

  it("a container that serves names on 0.0.0.0:53 starts, serves others, and resolves ours itself", async () => {
    const node = lab.node(nodeName);
    const own = { node, name: `own-${nodeName}` };
    boxes.push({ ...own, address: "" });
    await must(node, ["docker", "run", "-d", "--name", own.name, "--network", NET, ...dns(), "lab/box", "box", "dns-serve", "own.example=203.0.113.9"]);
    const address = await addressOf(node, own.name, NET);
    await untilAnswers([peer, own], { [`@${address} own.example`]: noerror("203.0.113.9"), [`+tcp @${address} own.example`]: noerror("203.0.113.9"), [`@${address} shop`]: "NXDOMAIN" });
    await untilAnswers([own], { shop: noerror(vip), "+tcp shop": noerror(vip), peer: noerror(peer.address), [UPSTREAM.name]: noerror(UPSTREAM.address), "@127.0.0.1 own.example": noerror("203.0.113.9") });
  });

  it("--dns and --dns-search are honoured, beside our names", async () => {
    const node = lab.node(nodeName);
    const far = await started(node, NET, `far-${nodeName}`, ...dns());
    const near = await started(node, NET, `near-${nodeName}`, "--dns", lan.address, "--dns-search", "lan.example");
    expect(await answers(far, [LAN_NAME.name, "shop"])).toEqual({ [LAN_NAME.name]: "NXDOMAIN", shop: noerror(vip) });
    expect(await answers(near, [LAN_NAME.name, "shop"])).toEqual({ [LAN_NAME.name]: noerror(LAN_NAME.address), shop: noerror(vip) });
    // Node's resolve4 searches nowhere, by its manual.
    const { "Node's resolve4": _exact, ...searching } = GLIBC;
    const searched = await askedBy(lab, nodeName, searching, CLIENTS, NET, ["only"], ["--dns", lan.address, "--dns-search", "lan.example"]);
    expect(searched).toEqual(Object.fromEntries(Object.keys(searching).map((program) => [`${program}: only`, LAN_NAME.address])));
  });

  it("a container on ours and on a bridge network resolves the names of both", async () => {
    const node = lab.node(nodeName);
    await must(node, ["docker", "network", "create", BRIDGE]);
    const local = await started(node, BRIDGE, `local-${nodeName}`, "--network-alias", "cellar", ...dns());
    const oursFirst = await started(node, NET, `first-${nodeName}`, ...dns());
    await must(node, ["docker", "network", "connect", BRIDGE, oursFirst.name]);
    const oursLater = await started(node, BRIDGE, `later-${nodeName}`, ...dns());
    // Asked before it is ours: the same socket's answers change hands with the connection.
    await untilAnswers([oursLater], { cellar: noerror(local.address), shop: "NXDOMAIN" });
    await must(node, ["docker", "network", "connect", NET, oursLater.name]);
    await untilAnswers([oursFirst, oursLater], {
      cellar: noerror(local.address), [local.name]: noerror(local.address), [`-x ${local.address}`]: noerror(`${local.name}.${BRIDGE}.`), shop: noerror(vip), peer: noerror(peer.address), [UPSTREAM.name]: noerror(UPSTREAM.address),
    });
    await untilAnswers([local], { cellar: noerror(local.address), shop: "NXDOMAIN" });
  });
});

describe("names as compose gives them", () => {
  it("one alias in two projects: each sees its own", async () => {
    const [one, two] = nodesOf(lab);
    await makeNetwork(one, CLOSED, "--internal");
    const alias = ["--network-alias", "db", "--network-alias", "db-1"];
    const open = await started(two, NET, "project-a-db-1", ...alias);
    const closed = await started(one, CLOSED, "project-b-db-1", ...alias);
    const closedAsker = await started(two, CLOSED, "project-b-web-1");
    await untilAnswers([peer, open], { db: noerror(open.address), "db-1": noerror(open.address), [`db.${NET}`]: noerror(open.address) });
    await untilAnswers([closedAsker, closed], { db: noerror(closed.address), "project-b-db-1": noerror(closed.address) });
    expect((await answers(closedAsker, ["project-a-db-1", "shop"]))["shop"]).not.toMatch(/\d/);
  });
});
