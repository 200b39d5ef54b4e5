/**
 * Before the first suite: a fresh lab of a manager (engine 28), a worker (engine 20.10) and a bare LAN host, and a picture of
 * both kernels before any network of ours, but after all that Docker itself makes at first use (docker_gwbridge with the swarm,
 * chains with the first container). FNP_E2E_KEEP=1 keeps a lab that stands and leaves it standing.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { findLab, openLab, type Lab } from "../../lab/lab.ts";
import { BALANCER, kernelDump, KIND, LAB_ID, must, until, type Node } from "./bed.ts";

export const BASELINE = `/run/flannel-np-lab/${LAB_ID}-baseline`;

export default async function setup(): Promise<void> {
  const lab = await standing() ?? await fresh();
  await lab.addHost("lan");
}

async function standing(): Promise<Lab | undefined> {
  return process.env["FNP_E2E_KEEP"] === "1" ? findLab(LAB_ID) : undefined;
}

async function fresh(): Promise<Lab> {
  const progress = (line: string): void => { process.stderr.write(`   ${line}\n`); };
  const kernels = process.env["FNP_E2E_KERNEL"] === undefined ? ["6.1", "6.12"] : [process.env["FNP_E2E_KERNEL"]];
  const plugin = { settings: BALANCER === undefined ? {} : { BALANCER } };
  const nodes = [["node1", "28"], ["node2", "20.10"]].map(([name = "", engine = ""], index) => {
    const kernel = kernels[index % kernels.length] ?? "";
    return { name, engine, plugin, kind: KIND, ...(KIND === "vm" ? { kernel } : {}) };
  });
  const lab = await openLab({ id: LAB_ID, nodes, progress });
  // 99-leftovers, which needs the picture, does not run there.
  if (KIND === "vm") return lab;
  await mkdir(BASELINE, { recursive: true });
  await Promise.all(lab.nodes.map(async (node) => writeFile(`${BASELINE}/${node.name}`, await settled(node))));
  return lab;
}

/** The picture once it has stopped changing: swarm's ingress network and docker_gwbridge come some time after the join. */
async function settled(node: Node): Promise<string> {
  await must(node, ["docker", "run", "--rm", "-p", "127.0.0.1:65000:80", "lab/box", "true"]);
  let before = "";
  return until(`the kernel of ${node.name} to be at rest`, async () => {
    const now = await kernelDump(node);
    const rests = now === before && now.includes("docker_gwbridge") && now.includes("veth*");
    before = now;
    return rests && now;
  });
}
