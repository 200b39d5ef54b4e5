/**
 * Keeps true: the plugin is asked as dockerd asks it, on its own socket.
 * In: method and request. Out: the decoded answer and the milliseconds it took, a new connection included.
 */
import { open } from "node:fs/promises";
import { callDocker } from "../lab/docker-api.ts";
import { LabError } from "../lab/errors.ts";
import { ALIAS } from "../lab/plugin.ts";
import type { Node } from "./bed.ts";

export interface Timed { readonly answer: unknown; readonly ms: number }
export type PluginCall = (method: string, request: unknown) => Promise<Timed>;

export async function withPluginSocket<T>(node: Node, work: (call: PluginCall) => Promise<T>): Promise<T> {
  const id = await node.docker("plugin", "inspect", "-f", "{{.Id}}", ALIAS);
  // A socket's whole path would be longer than the 107 bytes that unix(7) allows.
  const folder = await open(`${node.root}/run/docker/plugins/${id}`, "r");
  const socket = `/proc/self/fd/${folder.fd}/flannel-np.sock`;
  try {
    return await work(async (method, request) => {
      const since = performance.now();
      const { status, body } = await callDocker({ socket, method: "POST", path: `/${method}`, json: request });
      const ms = performance.now() - since;
      if (status !== 200) throw new LabError(`Cannot call ${method} on ${node.name}: ${body}`, "look at './flannel-np lab logs NODE plugin'");
      return { answer: JSON.parse(body), ms };
    });
  } finally {
    await folder.close();
  }
}

const DEBUG = "/run/flannel-np/debug.sock";

/** Asks the debug endpoint; the body as text. */
export async function askDebug(node: Node, method: "GET" | "POST", path: string): Promise<string> {
  const { status, body } = await callDocker({ socket: `${node.root}${DEBUG}`, method, path });
  if (status < 400) return body;
  throw new LabError(`Cannot ask ${node.name} for ${path}: ${body}`, "look at './flannel-np lab logs NODE plugin'");
}

/** One answered driver call as the event log tells it (docs/events.md). */
export interface LoggedCall { readonly seq: number; readonly method: string; readonly durationMs: number }

/** Driver calls of the log after line `after`; needs LOG_LEVEL=debug. */
export async function loggedCalls(node: Node, after: number): Promise<readonly LoggedCall[]> {
  return (await logLines(node, after)).filter((line) => line["event"] === "plugin.request")
    .map((line) => ({ seq: Number(line["seq"]), method: String(line["method"]), durationMs: Number(line["durationMs"]) }));
}

/** Number of the newest line. */
export async function logEnd(node: Node): Promise<number> {
  return Number((await logLines(node, 0)).at(-1)?.["seq"] ?? 0);
}

async function logLines(node: Node, after: number): Promise<readonly Readonly<Record<string, unknown>>[]> {
  return (await askDebug(node, "GET", `/events?after=${after}&level=debug`)).split("\n").filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}
