/**
 * What only a machine with a kernel of its own can do: reboot, lose power with all that was not written, balance by IPVS, and run
 * Docker's own ingress (IPVS too) beside our network.
 *
 * Must hold: both ways into a service work at every node, and Docker's tables stay as Docker made them; IPVS emptied by hand is filled
 * again; a node without power is in no balancer, and in all of them when it is back.
 * Rule: on nodes in namespaces the reason is printed; a power cut there is the business of the chaos suites.
 */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { DEADLINE_MS, KIND, makeNetwork, must, openedLab, removeNetwork, until, type Box, type Node } from "./bed.ts";
import { both, inside, reached } from "./reach.ts";
import { removeService, runGlobalService } from "./tasks.ts";
import { floodFrom, untilAnswering, vipOf } from "./vip-bed.ts";

const NETWORK = "machines";
const SERVICE = "everywhere";
const PORT = 8080;
/** Published through Docker's ingress alone, before any network of ours. */
const [PLAIN, PLAIN_PORT] = ["plain", 8081];
const STEP_MS = 10 * DEADLINE_MS;
/** Goal 5 s, times twenty. */
const REPAIR_MS = 100_000;

let lab: Lab;
let vip: string;

/** Who answers at a node's published port, asked from the LAN until all its tasks have. */
async function published(port: number, names: readonly string[]): Promise<void> {
  const lan = await lab.addHost("lan");
  for (const node of lab.nodes) {
    const seen = new Set<string>();
    await until(`${names.join(", ")} to answer at ${node.name}:${port}`, async () => {
      const { exitCode, stdout } = await lan.exec(["curl", "-s", "-m", "5", `http://${node.address}:${port}/`]);
      if (exitCode === 0) seen.add(stdout.split(" ")[0] ?? "");
      return [...seen].sort().join() === [...names].sort().join();
    });
  }
}

/** Rules of Docker's for ingress and docker_gwbridge in the host, and all that there is in the ingress sandbox. */
async function dockers(node: Node): Promise<readonly string[]> {
  const inSandbox = "nsenter --net=/run/docker/netns/ingress_sbox";
  const text = `for t in nat filter mangle; do iptables-save -t $t | grep -E 'INGRESS|gwbridge'; done; ${inSandbox} iptables-save; ${inSandbox} ipvsadm --save -n`;
  const lines = (await must(node, ["sh", "-c", text])).split("\n").map((line) => line.replace(/ *\[\d+:\d+\]/, "").trim());
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

/** Addresses that take new connections to the VIP, as IPVS has them, by the mark of its TCP and of its UDP packets. */
async function servers(node: Node): Promise<readonly string[]> {
  const text = `for map in vips datagrams; do mark=$(nft list map ip fnp-vips $map | grep -oE '${vip} : 0x[0-9a-f]+' | sed 's/.* //')
    ipvsadm --save -n | sed -nE "s/^-a -f $((mark)) -r ([0-9.]+):0 .*-w 1$/$map \\1/p"; done`;
  return (await must(node, ["sh", "-c", text])).split("\n").sort();
}
const balancedOver = (boxes: readonly Box[]): readonly string[] => ["vips", "datagrams"].flatMap((map) => boxes.map(({ address }) => `${map} ${address}`)).sort();
const untilBalanced = (node: Node, boxes: readonly Box[], deadlineMs?: number): Promise<boolean> => until(`IPVS of ${node.name} to have ${balancedOver(boxes).join(", ")}`, async () => {
  const now = await servers(node);
  if (now.join() !== balancedOver(boxes).join()) throw new Error(`it has ${now.join(", ")}`);
  return true;
}, deadlineMs);

const named = (service: string, nodes: readonly Pick<Node, "name">[]): readonly string[] => nodes.map(({ name }) => `${service}-${name}`).sort();

/** From every task to the VIP: exactly these answer, over TCP and UDP. */
async function served(boxes: readonly Box[]): Promise<void> {
  for (const { node } of boxes) await untilBalanced(node, boxes);
  for (const box of boxes) for (const kind of ["http", "udp"] as const) await untilAnswering(inside(box), vip, named(SERVICE, boxes.map(({ node }) => node)), kind);
}

/** One task on each node; each reaches the other, by ping and HTTP. */
async function meet(boxes: readonly Box[]): Promise<void> {
  for (const box of boxes) {
    const others = boxes.filter((other) => other !== box).map(({ address }) => address);
    await until(`${box.name} to reach ${others.join(", ")}`, async () => (await reached(inside(box), others)).join() === both(...others).join());
  }
}

/** The other node is off: its tasks leave the balancer, and no connection is lost to them. */
async function alone(boxes: readonly Box[]): Promise<void> {
  const since = Date.now();
  for (const { node } of boxes) await untilBalanced(node, boxes);
  process.stdout.write(`96-machines: tasks of the node without power out of the balancer after ${((Date.now() - since) / 1000).toFixed(1)} s\n`);
  for (const box of boxes) for (const kind of ["http", "udp"] as const) expect(await floodFrom(box, kind, vip, 10)).toMatchObject({ failed: 0, by: { [`${SERVICE}-${box.node.name}`]: 10 } });
}

/** The tasks that run now; after a loss the swarm makes new ones in its own time. */
const tasks = (known: readonly Box[] = []): Promise<Box[]> => until("a task on every node", async () => {
  const found = await Promise.all(lab.nodes.map(async (node): Promise<Box | undefined> => {
    const names = (await must(node, ["docker", "ps", "--filter", `label=com.docker.swarm.service.name=${SERVICE}`, "--format", "{{.Names}}"])).split("\n");
    const name = names.find((one) => one !== "" && !known.some((box) => box.name === one));
    return name === undefined ? undefined : { node, name, address: await must(node, ["docker", "inspect", "-f", `{{.NetworkSettings.Networks.${NETWORK}.IPAddress}}`, name]) };
  }));
  const boxes = found.filter((box) => box !== undefined);
  return boxes.length === lab.nodes.length && boxes.every(({ address }) => address !== "") && boxes;
});

if (KIND !== "vm") {
  test("machines", () => { process.stdout.write("96-machines: nodes in namespaces share this machine's kernel; './flannel-np test --only vm' runs it\n"); });
} else {
  describe("machines", () => {
    let before: Box[];
    let pictures: readonly (readonly string[])[];
    beforeAll(async () => {
      lab = await openedLab();
      const manager = lab.node("node1");
      await must(manager, ["docker", "service", "create", "--detach", "--no-resolve-image", "--mode", "global", "--name", PLAIN,
        "--hostname", "{{.Service.Name}}-{{.Node.Hostname}}", "--publish", `${PLAIN_PORT}:80`, "lab/box"]);
      await published(PLAIN_PORT, named(PLAIN, lab.nodes));
      pictures = await Promise.all(lab.nodes.map(dockers));
      await makeNetwork(manager, NETWORK);
      before = await runGlobalService(lab, NETWORK, SERVICE, "--publish", `${PORT}:80`);
      vip = await vipOf(manager, SERVICE, NETWORK);
    }, STEP_MS);
    afterAll(async () => {
      for (const service of [SERVICE, PLAIN]) await removeService(lab, service);
      await removeNetwork(lab.node("node1"), NETWORK);
    }, STEP_MS);

    test("a service published through Docker's ingress and on our network is reached both ways, at every node", async () => {
      await published(PORT, named(SERVICE, lab.nodes));
      for (const node of lab.nodes) expect(await must(node, ["nsenter", "--net=/run/docker/netns/ingress_sbox", "ipvsadm", "-Ln"])).toMatch(/FWM .*(\n +-> .*){2}/);
      await meet(before);
      await served(before);
    }, STEP_MS);

    test("all services of IPVS removed by hand are there again, and Docker's in its sandbox were never touched", async () => {
      for (const node of lab.nodes) {
        await must(node, ["ipvsadm", "-C"]);
        const since = Date.now();
        await untilBalanced(node, before, REPAIR_MS);
        process.stdout.write(`96-machines: IPVS of ${node.name} filled again after ${((Date.now() - since) / 1000).toFixed(1)} s\n`);
      }
      await served(before);
      for (const [index, node] of lab.nodes.entries()) {
        const [was = [], now] = [pictures[index], await dockers(node)];
        expect(was.some((line) => line.includes(`${PLAIN_PORT}`))).toBe(true);
        expect(now.filter((line) => was.includes(line))).toEqual(was);
        expect(now.filter((line) => /fnp/i.test(line) || line.includes(vip))).toEqual([]);
      }
      await published(PLAIN_PORT, named(PLAIN, lab.nodes));
    }, STEP_MS);

    test.each(["reboot", "powerCut"] as const)("%s of the worker: it comes back with plugin, network and task", async (how) => {
      const node = lab.node("node2");
      const known = await tasks();
      const kernel = await must(node, ["cat", "/proc/sys/kernel/random/boot_id"]);
      await node[how]();
      if (how === "powerCut") await alone(known.filter((box) => box.node !== node));
      await node.start();
      expect(await must(node, ["cat", "/proc/sys/kernel/random/boot_id"])).not.toBe(kernel);
      await until("the plugin on node2", async () => (await node.pluginPid()) !== undefined);
      const now = await until("a new task on node2", async () => {
        const boxes = await tasks();
        return !known.some(({ name }) => name === boxes[1]?.name) && boxes;
      });
      await meet(now);
      await served(now);
    }, STEP_MS);
  });
}
