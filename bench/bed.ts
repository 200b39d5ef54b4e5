/**
 * Keeps true: every benchmark works on the same lab through Docker's API and leaves nothing of its own there.
 * In: a lab of two nodes. Out: networks and containers, by the engine's socket: the CLI's own time is in no figure.
 * Rule: a benchmark removes what it made; names begin with "bench-".
 */
import { askDocker, callDocker } from "../lab/docker-api.ts";
import { LabError } from "../lab/errors.ts";
import type { Lab } from "../lab/lab.ts";
import { ALIAS } from "../lab/plugin.ts";
import { until } from "../lab/wait.ts";

export type Node = Lab["nodes"][number];

export interface Bed {
  readonly lab: Lab;
  /** Swarm's manager and a worker of another engine. */
  readonly manager: Node;
  readonly worker: Node;
  readonly progress: (line: string) => void;
}

/** ours: this plugin; overlay: Docker's own driver between nodes. */
export type Driver = "ours" | "overlay";

export interface Container { readonly node: Node; readonly id: string }

const IMAGE = "lab/box";
const DEADLINE_MS = 60_000;

/** One field of a decoded JSON object, undefined when there is none; dots lead deeper. */
export function field(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((at, name) =>
    (typeof at === "object" && at !== null && name in at ? (at as Readonly<Record<string, unknown>>)[name] : undefined), value);
}

/** An attachable network of the whole swarm. */
export async function createNetwork({ manager }: Bed, driver: Driver, name: string): Promise<void> {
  const ours = { Driver: ALIAS, IPAM: { Driver: ALIAS } };
  await askDocker(`create network ${name}`, {
    socket: manager.socket, method: "POST", path: "/networks/create",
    json: { Name: name, Attachable: true, CheckDuplicate: true, ...(driver === "ours" ? ours : { Driver: "overlay" }) },
  });
}

export async function removeNetwork({ manager }: Bed, name: string): Promise<void> {
  await until({ what: `remove network ${name}`, timeoutMs: DEADLINE_MS, cure: "see what still uses it: docker network inspect" }, async () => {
    const { status, body } = await callDocker({ socket: manager.socket, method: "DELETE", path: `/networks/${name}` });
    if (status === 204 || status === 404) return true;
    throw new Error(body);
  });
}

/** Creates and starts a container, as `docker run -d`: resolves when it has started. */
export async function runContainer(node: Node, network: string, command: readonly string[] = []): Promise<Container> {
  const made = await askDocker(`create a container on ${node.name}`, {
    socket: node.socket, method: "POST", path: "/containers/create", timeoutMs: DEADLINE_MS,
    json: { Image: IMAGE, ...(command.length === 0 ? {} : { Cmd: command }), HostConfig: { NetworkMode: network } },
  });
  const id = String(field(made, "Id"));
  try {
    await askDocker(`start a container on ${node.name}`, { socket: node.socket, method: "POST", path: `/containers/${id}/start`, timeoutMs: DEADLINE_MS });
  } catch (error) {
    await removeContainer({ node, id });
    throw error;
  }
  return { node, id };
}

/** The same on a network that this node may not have heard of yet, or is only learning about. */
export function runContainerSoon(node: Node, network: string): Promise<Container> {
  return until({ what: `run a container on ${network} of ${node.name}`, timeoutMs: DEADLINE_MS, everyMs: 20, cure: "look at './flannel-np lab logs NODE plugin'" },
    () => runContainer(node, network));
}

export async function removeContainer({ node, id }: Container): Promise<void> {
  await callDocker({ socket: node.socket, method: "DELETE", path: `/containers/${id}?force=1&v=1`, timeoutMs: DEADLINE_MS });
}

export async function addressOf({ node, id }: Container, network: string): Promise<string> {
  const found = field(await askDocker(`inspect a container on ${node.name}`, { socket: node.socket, method: "GET", path: `/containers/${id}/json` }), `NetworkSettings.Networks.${network}.IPAddress`);
  if (typeof found === "string" && found !== "") return found;
  throw new LabError(`Cannot measure network ${network}: a container on ${node.name} has no address there`, "look at './flannel-np lab logs NODE plugin'");
}

/** The host's pid of a container's first process. */
export async function pidOf({ node, id }: Container): Promise<number> {
  const { stdout } = await node.exec(["docker", "inspect", "-f", "{{.State.Pid}}", id]);
  return Number(stdout.trim());
}

/** Networks that live as long as `work`, each with a container on both nodes, so that nothing of it is the first of its kind. */
export async function withNetworks<T>(bed: Bed, wanted: Readonly<Record<string, Driver>>, work: (residents: ReadonlyMap<string, readonly Container[]>) => Promise<T>): Promise<T> {
  const residents = new Map<string, readonly Container[]>();
  try {
    for (const [name, driver] of Object.entries(wanted)) {
      await createNetwork(bed, driver, name);
      residents.set(name, []);
      residents.set(name, [await runContainerSoon(bed.manager, name), await runContainerSoon(bed.worker, name)]);
    }
    return await work(residents);
  } finally {
    for (const [name, containers] of residents) {
      for (const container of containers) await removeContainer(container);
      await removeNetwork(bed, name);
    }
  }
}
