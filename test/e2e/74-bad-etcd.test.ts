/**
 * An etcd that refuses: a wrong password, a certificate nobody trusts, one that is full, one without a majority. One clear message
 * each, named by status with the cure; traffic goes on, known networks take containers. In a lab of its own, whose etcd has three
 * members, TLS on the server's side alone (which works) and a password (which is seen nowhere).
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { openLab, type Lab } from "../../lab/lab.ts";
import { makeNetwork, must, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { EtcdCluster } from "./etcd-cluster.ts";
import { untilModelHolds } from "./flow.ts";
import { eventTells, reconfigure, status, statusShows } from "./refusal-bed.ts";

const NETWORK = "vaulted";
const [PASSWORD, WRONG] = ["s3cret-Rk4uTz8Bn1", "s3cret-Wm6yHc2Dq5"];
const TLS = "/var/lib/etcd-tls";
const SLOW_MS = 300_000;

let lab: Lab;
let etcd: EtcdCluster;
let nodes: readonly [Node, Node];
let boxes: readonly [Box, Box];

const good = (): Readonly<Record<string, string>> => ({
  ETCD_ENDPOINTS: etcd.endpoints, ETCD_USER: "root", ETCD_PASSWORD_FILE: `${TLS}/password`, ETCD_CA_FILE: `${TLS}/ca.pem`,
});

beforeAll(async () => {
  const plugin = { settings: { ETCD_ENDPOINTS: "http://10.99.0.250:9", LOG_LEVEL: "debug" } };
  lab = await openLab({ id: "badetcd", nodes: [{ engine: "28", plugin }, { engine: "20.10", plugin }] });
  nodes = [lab.node("node1"), lab.node("node2")];
  etcd = await EtcdCluster.start(lab, PASSWORD);
  for (const node of nodes) {
    await mkdir(`${node.root}${TLS}`, { recursive: true });
    for (const name of ["ca.pem", "other.pem"]) await copyFile(`${etcd.folder}/${name}`, `${node.root}${TLS}/${name}`);
    for (const [name, text] of [["password", PASSWORD], ["wrong", WRONG]]) await writeFile(`${node.root}${TLS}/${name}`, text ?? "");
    await reconfigure(node, good());
  }
  await makeNetwork(nodes[0], NETWORK);
  boxes = [await runBox(nodes[0], NETWORK, "vaulted-a"), await runBox(nodes[1], NETWORK, "vaulted-b")];
}, SLOW_MS);

afterAll(async () => {
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(nodes[0], NETWORK);
  await etcd.remove();
  await lab.down();
}, SLOW_MS);

const untilWell = (node: Node): Promise<unknown> => until(`${node.name} to be well`, async () => {
  const { exitCode, text } = await status(node);
  if (exitCode !== 0) throw new Error(text);
  return true;
});

/** What runs talks both ways; what starts now on the node gets an address and talks, too. */
async function goesOn(node: Node): Promise<void> {
  const [a, b] = boxes;
  expect([await pings(a, b.address), await pings(b, a.address)]).toEqual([true, true]);
  const fresh = await runBox(node, NETWORK, `fresh-${node.name}`);
  await until("the newcomer's pings", () => pings(fresh, (node === a.node ? b : a).address));
  await removeBox(fresh);
}

/** Where a secret might have gone; the word is put together inside, so that it is not its own find. */
async function placesOf(node: Node, secret: string): Promise<readonly string[]> {
  const script = `word="$1$2"; mkdir -p /tmp/looked; cat /proc/[0-9]*/cmdline >/tmp/looked/arguments 2>/dev/null || true
    for page in /state /plan /metrics /events /healthz /readyz; do curl -s --unix-socket /run/flannel-np/debug.sock "http://debug$page"; done >/tmp/looked/answers
    test $(wc -c </tmp/looked/answers) -gt 2000; grep -rl -- "$word" /var/lib/flannel-np /var/log/lab /run/flannel-np /tmp/looked || true`;
  return (await must(node, ["sh", "-ec", script, "-", secret.slice(0, 6), secret.slice(6)])).split("\n").filter((line) => line !== "");
}

it("server-only TLS and a password work; the password is seen nowhere", async () => {
  for (const node of nodes) {
    await untilWell(node);
    await goesOn(node);
    expect(await placesOf(node, PASSWORD)).toEqual([]);
  }
  expect((await etcd.ctl("get", "--prefix", "--keys-only", "/flannel/networks/")).stdout).toMatch(/\/subnets\/10\./);
}, SLOW_MS);

describe("a node that etcd refuses, or that refuses etcd", () => {
  afterEach(async () => { await reconfigure(nodes[1], good()); await untilWell(nodes[1]); }, SLOW_MS);

  const TRUST = "Check that the etcd CA setting signed the server's certificate";
  const CREDENTIALS = "Check the etcd user and password settings";
  it.each<readonly [string, () => Readonly<Record<string, string>>, string]>([
    ["a wrong password", () => ({ ETCD_PASSWORD_FILE: `${TLS}/wrong` }), CREDENTIALS],
    ["a user that etcd has not", () => ({ ETCD_USER: "stranger" }), CREDENTIALS],
    ["no user where one is asked for", () => ({ ETCD_USER: "", ETCD_PASSWORD_FILE: "" }), "This etcd asks for a user: set the etcd user and password"],
    ["another authority", () => ({ ETCD_CA_FILE: `${TLS}/other.pem` }), TRUST],
    ["no authority", () => ({ ETCD_CA_FILE: "" }), TRUST],
    ["http:// where TLS is spoken", () => ({ ETCD_ENDPOINTS: etcd.endpoints.replaceAll("https:", "http:"), ETCD_CA_FILE: "" }), "https://"],
    ["no certificate where one is wanted", () => ({ ETCD_ENDPOINTS: etcd.strictEndpoint }), "This etcd wants a client certificate that its CA signed"],
  ])("%s: named with the cure, traffic goes on", async (_what, bad, cure) => {
    const [, node] = nodes;
    await reconfigure(node, { ...good(), ...bad() });
    await statusShows(node, 1, "NOT READY", cure);
    await eventTells(node, "source.lost", cure);
    await goesOn(node);
    for (const secret of [PASSWORD, WRONG]) expect(await placesOf(node, secret)).toEqual([]);
  }, SLOW_MS);
});

describe("an etcd that answers and cannot write", () => {
  it("over its quota: status names the alarm, traffic goes on, what waited is written once it is cured", async () => {
    await etcd.fill();
    const waiting = await runBox(nodes[1], NETWORK, "waiting");
    await statusShows(nodes[1], 1, "database space exceeded", "Compact and defragment etcd or raise its quota, then disarm its NOSPACE alarm");
    for (const node of nodes) await goesOn(node);
    await etcd.clear();
    for (const node of nodes) await untilWell(node);
    await until("the container in etcd", async () => (await etcd.ctl("get", "--prefix", "/flannel/nodes/")).stdout.includes(`"${waiting.address}"`));
    await removeBox(waiting);
  }, SLOW_MS);

  it("without a majority: status names it, traffic goes on, and it is well again by itself", async () => {
    await etcd.loseMajority();
    for (const node of nodes) await statusShows(node, 1, "NOT READY", "majority");
    for (const node of nodes) await goesOn(node);
    await etcd.raise();
    for (const node of nodes) await untilWell(node);
    await untilModelHolds(nodes, NETWORK);
  }, SLOW_MS);
});
