/**
 * Words for suites about what is refused: where a user looks, and nodes of their own whose settings may be wrong.
 *
 * In:  the shared lab.  Out: nodes with their own swarm and etcd prefix; status, event log and dockerd's log as a user sees them.
 * Rule: "the user sees it" means all of dockerd's log (or the command's own error), `flannel-np status` and the event log.
 */
import { mkdtemp, readFile, rm, stat, symlink } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { callDocker } from "../../lab/docker-api.ts";
import { findLab, type Lab, type LabSpec } from "../../lab/lab.ts";
import { pluginBuild } from "../../lab/plugin.ts";
import { run } from "../../lab/run.ts";
import type { StateAnswer } from "../../src/core/state-answer.ts";
import { debug, LAB_ID, must, until, type Node } from "./bed.ts";

export const ALIAS = "flannel-np:latest";
const CLI = fileURLToPath(new URL("../../build/plugin/rootfs/opt/flannel-np/cli.js", import.meta.url));

/** The shared lab, able to add nodes with the plugin of a folder (default build/plugin). */
export async function labWithBuild(folder?: string): Promise<Lab> {
  const lab = await findLab(LAB_ID, () => undefined, await pluginBuild(folder));
  if (lab === undefined) throw new Error(`Cannot find lab ${LAB_ID}: setup.ts makes it`);
  return lab;
}

/** A node in a swarm of its own; what an earlier run left of it goes first. */
export async function ownNode(lab: Lab, name: string, plugin: LabSpec["nodes"][number]["plugin"]): Promise<Node> {
  if (lab.nodes.some((node) => node.name === name)) await lab.removeNode(name);
  const node = await lab.addNode({ name, swarm: false, ...(plugin === undefined ? {} : { plugin }) });
  await node.docker("swarm", "init", "--advertise-addr", node.address);
  return node;
}

/** Disables, sets, enables; answers the milliseconds that enabling took. Settings not named keep what they were. */
export async function reconfigure(node: Node, settings: Readonly<Record<string, string>>, alias = ALIAS): Promise<number> {
  await node.exec(["docker", "plugin", "disable", "-f", alias]);
  await node.docker("plugin", "set", alias, ...Object.entries(settings).map(([name, value]) => `${name}=${value}`));
  const since = Date.now();
  await node.docker("plugin", "enable", alias);
  return Date.now() - since;
}

export interface Status { readonly exitCode: number; readonly text: string }

/** `flannel-np status`, as somebody on the node calls it. */
export async function status(node: Node): Promise<Status> {
  const { exitCode, stdout, stderr } = await run(process.execPath, [CLI, "status", "--socket", `${node.root}/run/flannel-np/debug.sock`]);
  return { exitCode, text: stdout + stderr };
}

/** `flannel-np ipam check` likewise. */
export async function ipamCheck(node: Node): Promise<Status> {
  const { exitCode, stdout, stderr } = await run(process.execPath, [CLI, "ipam", "check", "--socket", `${node.root}/run/flannel-np/debug.sock`]);
  return { exitCode, text: stdout + stderr };
}

export const stateOf = async (node: Node): Promise<StateAnswer> => (await debug(node, "GET", "/state")).body as StateAnswer;

/** Polls until status ends with this exit code and shows these words; answers its text. */
export const statusShows = (node: Node, exitCode: number, ...words: readonly string[]): Promise<string> =>
  until(`status ${exitCode} with ${words.join(" … ")}`, async () => {
    const seen = await status(node);
    const missing = words.filter((word) => !seen.text.includes(word));
    if (seen.exitCode === exitCode && missing.length === 0) return seen.text;
    throw new Error(`exit ${seen.exitCode}, without ${missing.join(" | ")}:\n${seen.text}`);
  }, 30_000);

export interface Logs { read(): Promise<string> }

/** What dockerd writes from now on. */
export async function dockerdLog(node: Node): Promise<Logs> {
  const path = `${node.logFolder}/dockerd.log`;
  const { size } = await stat(path);
  return { read: async () => (await readFile(path)).subarray(size).toString("utf8").replaceAll('\\"', '"') };
}

export const logShows = (log: Logs, ...words: readonly string[]): Promise<true> =>
  until(`${words.join(" … ")} in dockerd's log`, async () => {
    const text = await log.read();
    return words.every((word) => text.includes(word)) || undefined;
  }, 30_000);

/** Lines of the event log on the node's disk. */
export async function eventLines(node: Node): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const text = await readFile(`${node.root}/var/lib/flannel-np/events/events.ndjson`, "utf8");
  return text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}

/** Polls until an event of this name has the words in its fields. */
export const eventTells = (node: Node, event: string, ...words: readonly string[]): Promise<Readonly<Record<string, unknown>>> =>
  until(`event ${event} with ${words.join(" … ")}`, async () =>
    (await eventLines(node)).findLast((line) => line["event"] === event && words.every((word) => JSON.stringify(Object.values(line)).replaceAll('\\"', '"').includes(word))), 30_000);

/** The plugin's process; the same answer later means that it never ended. */
export async function life(node: Node, alias = ALIAS): Promise<{ readonly pid: number; readonly boot: string }> {
  const pid = await node.pluginPid(alias);
  const boot = /boot (\S+)/.exec((await status(node)).text)?.[1];
  if (pid === undefined || boot === undefined) throw new Error(`${node.name}: the plugin does not run`);
  return { pid, boot };
}

export interface Answer { readonly status: number; readonly body: string }

/** Speaks to the live plugin socket of a node as dockerd does. */
export class PluginSocket {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #folder: string;

  private constructor(folder: string) { this.#folder = folder; }

  static async of(node: Node, alias = ALIAS): Promise<PluginSocket> {
    const { body } = await callDocker({ socket: node.socket, method: "GET", path: `/plugins/${alias}/json` });
    const id = /"Id":"([0-9a-f]{64})"/.exec(body)?.[1];
    if (id === undefined) throw new Error(`${node.name} has no plugin ${alias}`);
    // A socket's path has at most 107 bytes (unix(7)); seen from here it has more.
    const folder = await mkdtemp(join(tmpdir(), "fnp-"));
    await symlink(`${node.root}/run/docker/plugins/${id}`, `${folder}/plugin`);
    return new PluginSocket(folder);
  }

  post(method: string, body: string | Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request({ agent: this.#agent, socketPath: `${this.#folder}/plugin/flannel-np.sock`, path: `/${method}`, method: "POST", headers: { "Host": "", "Content-Length": Buffer.byteLength(body) } }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => { text += chunk; });
        response.once("error", reject).once("end", () => { resolve({ status: response.statusCode ?? 0, body: text }); });
      });
      call.once("error", reject);
      call.end(body);
    });
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await rm(this.#folder, { recursive: true });
  }
}

/** Keys and values below a prefix of etcd. */
export async function keysBelow(lab: Lab, prefix: string): Promise<ReadonlyMap<string, string>> {
  const { kvs = [] } = JSON.parse((await lab.etcd.ctl(["get", "--prefix", `${prefix}/`, "-w", "json"])).stdout) as { kvs?: readonly { key: string; value?: string }[] };
  return new Map(kvs.map(({ key, value = "" }) => [Buffer.from(key, "base64").toString(), Buffer.from(value, "base64").toString()]));
}

export const dropKeys = async (lab: Lab, prefix: string): Promise<void> => { await lab.etcd.ctl(["del", "--prefix", `${prefix}/`]); };

/** A network whose plugin may refuse it: Docker takes the command either way. */
export const askForNetwork = (node: Node, name: string, ...options: readonly string[]): Promise<string> =>
  must(node, ["docker", "network", "create", "-d", ALIAS, "--ipam-driver", ALIAS, "--attachable", ...options, name]);
