/**
 * Keeps true: after `removeLab` nothing of the lab is left: no process, namespace, cgroup, mount or file; and nothing else is missing.
 * In: a lab's id. Out: nothing. Rule: what belongs to the lab is told by its cgroups and network namespaces, never by a process' name.
 */
import { rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { LabError } from "./errors.ts";
import { cgroupPids, removeCgroups } from "./netns/cgroups.ts";
import { namespacePids, namespaces, removeNamespaces } from "./netns/network.ts";
import { kill } from "./netns/node.ts";
import { must } from "./run.ts";
import { runFolder, stateFolder } from "./state.ts";
import { until } from "./wait.ts";

/** Safe to repeat, on a half-made lab, after any crash. */
export async function removeLab(lab: string): Promise<void> {
  await until({ what: `end the processes of lab ${lab}`, timeoutMs: 30_000, everyMs: 20, cure: "repeat the command" }, async () => {
    const left = new Set([...await cgroupPids(lab), ...await namespacePids(lab)]);
    for (const pid of left) kill(pid, "SIGKILL");
    if (left.size > 0) throw new Error(`still alive: ${[...left].join(", ")}`);
    return true;
  });
  await removeNamespaces(lab);
  await until({ what: `remove the cgroups of lab ${lab}`, timeoutMs: 20_000, cure: "repeat the command" }, async () => (await removeCgroups(lab) ? true : undefined));
  // All mounts went with the nodes' mount namespaces; one that did not must not be followed.
  await must(`remove the files of lab ${lab}`, "rm", ["-rf", "--one-file-system", stateFolder(lab), runFolder(lab)]);
  // The folders all labs share go with the last of them.
  for (const folder of [stateFolder(lab), runFolder(lab)]) await rmdir(dirname(folder)).catch(() => undefined);
  const left = await namespaces(lab);
  if (left.length > 0) throw new LabError(`Cannot remove lab ${lab}: namespaces ${left.join(", ")} are still there`, "repeat the command");
}
