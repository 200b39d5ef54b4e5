/**
 * Services with one task on every node, as containers that a test can look into.
 *
 * In:  lab, network, name.  Out: one Box per node, in the order of the lab's nodes.
 */
import type { Lab } from "../../lab/lab.ts";
import { addressOf, DEADLINE_MS, must, until, type Box, type Node } from "./bed.ts";

/** Resolves when every node of the lab runs its task. */
export async function runGlobalService(lab: Lab, network: string, name: string, ...options: readonly string[]): Promise<Box[]> {
  await must(lab.node("node1"), ["docker", "service", "create", "--detach", "--no-resolve-image", "--mode", "global", "--name", name,
    "--network", network, "--hostname", "{{.Service.Name}}-{{.Node.Hostname}}", ...options, "lab/box"]);
  return Promise.all(lab.nodes.map((node) => taskOn(node, network, name)));
}

const taskOn = (node: Node, network: string, service: string): Promise<Box> =>
  until(`the task of ${service} on ${node.name}`, async () => {
    const names = await must(node, ["docker", "ps", "--filter", `label=com.docker.swarm.service.name=${service}`, "--format", "{{.Names}}"]);
    const [name = ""] = names.split("\n");
    return name !== "" && { node, name, address: await addressOf(node, name, network) };
  }, 2 * DEADLINE_MS);

/** Resolves when its containers are gone from every node, so that its network can go. */
export async function removeService(lab: Lab, name: string): Promise<void> {
  await lab.node("node1").exec(["docker", "service", "rm", name]);
  for (const node of lab.nodes) {
    await until(`the task of ${name} to leave ${node.name}`, async () =>
      (await must(node, ["docker", "ps", "-aq", "--filter", `label=com.docker.swarm.service.name=${name}`])) === "");
  }
}
