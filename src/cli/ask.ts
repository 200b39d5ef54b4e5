/**
 * Asks the debug endpoint: one HTTP call on its unix socket.
 *
 * In:  socket, method, path.  Out: the JSON it answers, or its lines as they come.
 * Rule: whatever goes wrong ends as a CliError that says what to do next.
 */
import { request, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import type { RefusedAnswer } from "../core/state-answer.ts";
import { CliError } from "./failure.ts";

export interface Question {
  readonly socket: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Empty values are left out. */
  readonly query?: Readonly<Record<string, string>>;
  /** Longest silence of the endpoint; absent for a stream that may rest for hours. */
  readonly timeoutMs?: number;
  /** Statuses whose body is an answer too. Default: below 400 only. */
  readonly alsoFine?: readonly number[];
}

/** The answer's JSON. The endpoint and this program are of one build, so its shape is taken on trust. */
export async function ask<T>(question: Question): Promise<T> {
  const response = await open(question);
  const text = await textOf(response, question);
  if (isFine(response, question)) return parsed(text, question.path) as T;
  throw refusalOf(text, response.statusCode ?? 0, question.path);
}

/** The answer's lines as they arrive; ends when the endpoint ends it. */
export async function* askLines(question: Question): AsyncGenerator<string> {
  const response = await open(question);
  if (!isFine(response, question)) throw refusalOf(await textOf(response, question), response.statusCode ?? 0, question.path);
  try {
    for await (const line of createInterface({ input: response })) if (line !== "") yield line;
  } finally {
    response.destroy();
  }
}

const isFine = ({ statusCode = 0 }: IncomingMessage, { alsoFine = [] }: Question): boolean =>
  (statusCode >= 200 && statusCode < 400) || alsoFine.includes(statusCode);

function open({ socket, method, path, query = {}, timeoutMs }: Question): Promise<IncomingMessage> {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString();
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socket, method, path: search === "" ? path : `${path}?${search}`, headers: { Host: "flannel-np" } }, resolve);
    call.on("error", (error) => { reject(error instanceof CliError ? error : unreachable(socket, error)); });
    if (timeoutMs !== undefined) {
      call.setTimeout(timeoutMs, () => {
        call.destroy(new CliError(`Cannot ask the operator at ${socket}: no answer within ${timeoutMs / 1_000} s`,
          "Look at its log in dockerd's: journalctl -u docker"));
      });
    }
    call.end();
  });
}

async function textOf(response: IncomingMessage, { socket }: Question): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  try {
    for await (const chunk of response) text += String(chunk);
  } catch (cause) {
    throw cause instanceof CliError ? cause : unreachable(socket, cause);
  }
  return text;
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CliError(`Cannot read the answer to ${path}: it is not JSON`, "Make sure the socket is flannel-np's", cause);
  }
}

function refusalOf(text: string, status: number, path: string): CliError {
  try {
    const { error } = JSON.parse(text) as Partial<RefusedAnswer>;
    if (typeof error?.message === "string") return new CliError(error.message, error.cure ?? "See what the operator says: flannel-np status");
  } catch {
    // Not our format: told by its status below.
  }
  return new CliError(`Cannot get ${path}: the operator answered ${status}`, "Make sure plugin and command line are of one version");
}

const ENABLE = "Is the plugin enabled? `docker plugin ls` shows it, `docker plugin enable flannel-np` starts it";
const RESTARTING = `It may be restarting; repeat the command. ${ENABLE}`;
const NEXT: Readonly<Record<string, readonly [reason: string, cure: string]>> = {
  ENOENT: ["there is no such socket", `${ENABLE}; a lab's node is asked with --node NAME`],
  ENOTDIR: ["there is no such socket", `${ENABLE}; a lab's node is asked with --node NAME`],
  ECONNREFUSED: ["nobody listens there any more", ENABLE],
  ECONNRESET: ["it ended the connection", RESTARTING],
  EPIPE: ["it ended the connection", RESTARTING],
  EACCES: ["permission denied", "Run this as root, e.g. with sudo"],
  ENOTSOCK: ["it is no socket", "Give the path of a debug socket: --socket /run/flannel-np/debug.sock"],
};

function unreachable(socket: string, error: unknown): CliError {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const [reason, cure] = NEXT[code] ?? [message, ENABLE];
  return new CliError(`Cannot ask the operator at ${socket}: ${reason}`, cure, error);
}
