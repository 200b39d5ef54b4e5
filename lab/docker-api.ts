/**
 * Keeps true: the lab speaks to a node's engine through the node's own socket, in a few milliseconds and without the engine's CLI.
 * In: socket path, method, path, body. Out: status and JSON, or a LabError that quotes the engine.
 * Rule: no API version in the path: each engine answers in its own.
 */
import { request } from "node:http";
import { pipeline } from "node:stream/promises";
import type { Readable } from "node:stream";
import { LabError } from "./errors.ts";

export interface Call {
  readonly socket: string;
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly json?: unknown;
  /** A tar archive. */
  readonly archive?: Readable;
  /** Default 30,000. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One call; rejects when there is no answer in time, resolves whatever its status is. */
export async function callDocker(call: Call): Promise<Answer> {
  const type = call.archive ? "application/x-tar" : "application/json";
  const signal = AbortSignal.timeout(call.timeoutMs ?? 30_000);
  const outgoing = request({ socketPath: call.socket, method: call.method, path: call.path, headers: { "Content-Type": type, Host: "docker" }, signal });
  const answer = new Promise<Answer>((resolve, reject) => {
    outgoing.once("error", reject);
    outgoing.once("response", (incoming) => {
      let body = "";
      incoming.setEncoding("utf8").on("data", (chunk: string) => { body += chunk; });
      incoming.once("error", reject).once("end", () => resolve({ status: incoming.statusCode ?? 0, body }));
    });
  });
  if (call.archive) await Promise.race([pipeline(call.archive, outgoing).catch(() => undefined), answer]);
  else outgoing.end(call.json === undefined ? undefined : JSON.stringify(call.json));
  return answer;
}

/** A call that has to succeed; `what` completes "Cannot …". Returns the decoded body, or undefined when it is empty or no JSON. */
export async function askDocker(what: string, call: Call): Promise<unknown> {
  let answer: Answer;
  try {
    answer = await callDocker(call);
  } catch (error) {
    throw new LabError(`Cannot ${what}: the engine does not answer (${String(error)})`, "look at './flannel-np lab logs NODE dockerd'", error);
  }
  const body = parsed(answer.body);
  if (answer.status < 400) return body;
  const reason = typeof body === "object" && body !== null && "message" in body ? String(body.message) : answer.body.trim();
  throw new LabError(`Cannot ${what}: ${reason}`, "look at './flannel-np lab logs NODE dockerd'");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
