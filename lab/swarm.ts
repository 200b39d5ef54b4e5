/**
 * Keeps true: the nodes of a lab form one swarm with the roles their records name.
 * In: nodes whose engines answer. Out: a swarm whose managers see every member ready.
 * Rule: a member is left as it is; only a node outside any swarm is brought in.
 */
import { z } from "zod";
import { askDocker } from "./docker-api.ts";
import type { LabNode } from "./node.ts";
import { VM_SCALE } from "./node.ts";
import { until } from "./wait.ts";

const info = z.object({ Swarm: z.object({ LocalNodeState: z.string(), ControlAvailable: z.boolean().nullish(), NodeID: z.string().nullish() }) });

async function swarmState(node: LabNode): Promise<string> {
  return info.parse(await askDocker(`ask ${node.name} for its swarm`, { socket: node.socket, method: "GET", path: "/info" })).Swarm.LocalNodeState;
}

/** Members in list order; the first manager founds the swarm when it is in none. */
export async function ensureSwarm(nodes: readonly LabNode[]): Promise<void> {
  const members = nodes.filter((node) => node.record.swarm !== "none");
  const first = members.find((node) => node.record.swarm === "manager");
  if (first === undefined) return;
  if (await swarmState(first) === "inactive") await first.docker("swarm", "init", "--advertise-addr", first.address);
  for (const node of members.filter((member) => member !== first)) {
    if (await swarmState(node) !== "inactive") continue;
    const token = await first.docker("swarm", "join-token", "-q", node.record.swarm);
    await node.docker("swarm", "join", "--advertise-addr", node.address, "--token", token, `${first.address}:2377`);
  }
  await until({ what: "bring all nodes into the swarm", timeoutMs: 90_000 * (members.some((node) => node.record.kind === "vm") ? VM_SCALE : 1), everyMs: 100, cure: `look at 'docker node ls' on ${first.name}` }, async () => {
    const ready = (await first.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}")).split("\n");
    const late = members.filter((node) => !ready.includes(`${node.name} Ready`));
    if (late.length > 0) throw new Error(`${late.map((node) => node.name).join(", ")} not ready`);
    return true;
  });
}
