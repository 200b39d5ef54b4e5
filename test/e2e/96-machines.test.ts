/**
 * What only a machine with a kernel of its own can do: reboot, lose power with all that was not written, and run Docker's own
 * ingress (IPVS) beside our network.
 *
 * Rule: on nodes in namespaces the reason is printed; a power cut there is the business of the chaos suites.
 */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { DEADLINE_MS, KIND, makeNetwork, must, openedLab, removeNetwork, until, type Box } from "./bed.ts";
import { both, inside, reached } from "./reach.ts";
import { removeService, runGlobalService } from "./tasks.ts";

const NETWORK = "machines";
const SERVICE = "everywhere";
const PORT = 8080;
const STEP_MS = 10 * DEADLINE_MS;

let lab: Lab;

/** One task on each node; each reaches the other, by ping and HTTP. */
async function meet(boxes: readonly Box[]): Promise<void> {
  for (const box of boxes) {
    const others = boxes.filter((other) => other !== box).map(({ address }) => address);
    await until(`${box.name} to reach ${others.join(", ")}`, async () => (await reached(inside(box), others)).join() === both(...others).join());
  }
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
    beforeAll(async () => {
      lab = await openedLab();
      await makeNetwork(lab.node("node1"), NETWORK);
      before = await runGlobalService(lab, NETWORK, SERVICE, "--publish", `${PORT}:80`);
    }, STEP_MS);
    afterAll(async () => {
      await removeService(lab, SERVICE);
      await removeNetwork(lab.node("node1"), NETWORK);
    }, STEP_MS);

    test("a service published through Docker's ingress and on our network is reached both ways, at every node", async () => {
      const lan = await lab.addHost("lan");
      for (const node of lab.nodes) {
        const seen = new Set<string>();
        await until(`both tasks to answer at ${node.name}:${PORT}`, async () => {
          const { exitCode, stdout } = await lan.exec(["curl", "-s", "-m", "5", `http://${node.address}:${PORT}/`]);
          if (exitCode === 0) seen.add(stdout.split(" ")[0] ?? "");
          return seen.size === lab.nodes.length;
        });
        expect([...seen].sort()).toEqual(lab.nodes.map(({ name }) => `${SERVICE}-${name}`).sort());
        expect(await must(node, ["nsenter", "--net=/run/docker/netns/ingress_sbox", "ipvsadm", "-Ln"])).toMatch(/FWM .*(\n +-> .*){2}/);
      }
      await meet(before);
    }, STEP_MS);

    test.each(["reboot", "powerCut"] as const)("%s of the worker: it comes back with plugin, network and task", async (how) => {
      const node = lab.node("node2");
      const known = await tasks();
      const kernel = await must(node, ["cat", "/proc/sys/kernel/random/boot_id"]);
      await node[how]();
      await node.start();
      expect(await must(node, ["cat", "/proc/sys/kernel/random/boot_id"])).not.toBe(kernel);
      await until("the plugin on node2", async () => (await node.pluginPid()) !== undefined);
      const now = await until("a new task on node2", async () => {
        const boxes = await tasks();
        return !known.some(({ name }) => name === boxes[1]?.name) && boxes;
      });
      await meet(now);
    }, STEP_MS);
  });
}
