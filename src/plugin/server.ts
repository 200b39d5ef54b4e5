/**
 * Docker's plugin protocol on a unix socket: every call gets one JSON answer in time, whatever arrives.
 *
 * In:  HTTP calls of dockerd; the two drivers.  Out: 200 with the answer, or a status and {"Err","Error"} with reason and cure
 *      (both keys: network calls read one, IPAM calls the other; protocol §2.2); one event per call.
 * Rule: no input ends the process; a call that carries arguments is refused when its body is empty, since dockerd repeats an
 * interrupted call without its body and defaults would hand out wrong addresses (protocol §2.3).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { asOperatorError, explain, OperatorError } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import type { NetworkId } from "../core/ids.ts";
import type { Drivers } from "./drivers.ts";
import type { EarlySocket } from "./early.ts";
import { routesOf, type Call, type Route } from "./routes.ts";
import { listenOn, stopServing } from "./socket.ts";

export interface PluginServerOptions {
  readonly socketPath: string;
  readonly drivers: Drivers;
  readonly emit: Emit;
  /** Listens already on the same path. */
  readonly early?: EarlySocket | undefined;
  /** Driver calls wait for it; its rejection is the reason each of them is refused with (design D13, D24). */
  readonly ready?: Promise<unknown>;
  /** For one call, its body included; below dockerd's own 30 s, so Docker shows our reason. Default 20,000. */
  readonly deadlineMs?: number;
  /** Default 32 MiB: a container that publishes every port of TCP and UDP sends about 14 MB. */
  readonly maxBodyBytes?: number;
}

export interface PluginServer {
  /** Stops listening; calls under way get their answer, for at most 5 s. */
  close(): Promise<void>;
}

const DEADLINE_MS = 20_000;
const MAX_BODY_BYTES = 32 * 1_048_576;
const CLOSE_GRACE_MS = 5_000;
/** Longest method name repeated in an event. */
const MAX_METHOD = 100;

/** What a call comes to. A status other than 200 is never retried by dockerd. */
type Outcome =
  | { readonly status: 200; readonly body: string }
  | { readonly status: 404 | 405 | 413 | 500; readonly error: OperatorError; readonly network?: NetworkId | undefined };

/** Listens when it resolves; rejects with `unavailable` when the socket cannot be had. */
export async function pluginServer(options: PluginServerOptions): Promise<PluginServer> {
  const { socketPath, drivers, emit, ready = Promise.resolve(), deadlineMs = DEADLINE_MS, maxBodyBytes = MAX_BODY_BYTES } = options;
  // Seen by every call that waits for it; without this a rejection before the first call would end the process.
  ready.catch(() => undefined);
  const routes = new Map<string, Route>(Object.entries(routesOf(drivers, ready)));
  const server = quietServer();
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const since = performance.now();
    const method = (request.url ?? "").slice(1);
    void outcomeOf(request, routes.get(method), { deadlineMs, maxBodyBytes }).then((outcome) => {
      // A connection kept open past the end of listening would hold `close` back.
      respond(response, outcome, !server.listening || outcome.status === 413);
      tell(emit, method.slice(0, MAX_METHOD), outcome, Math.round((performance.now() - since) * 10) / 10);
    });
  });
  options.early?.passTo(server);
  await listenOn(server, socketPath);
  return { close: () => stopServing(server, CLOSE_GRACE_MS) };
}

/**
 * No timeout of Node's own: each would close, or answer 408 on, a connection that dockerd keeps for its next call (its transport
 * also keeps connections it dialled and never used); that call would then be repeated with an empty body.
 */
function quietServer(): Server {
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0, requireHostHeader: false });
  server.on("clientError", (error: Error, socket: Socket) => {
    if (!socket.writable) { socket.destroy(); return; }
    const body = refusal(new OperatorError("invalid", `Cannot read the call: ${error.message}`));
    socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  });
  return server;
}

interface Limits { readonly deadlineMs: number; readonly maxBodyBytes: number }

/** Never rejects. */
async function outcomeOf(request: IncomingMessage, route: Route | undefined, limits: Limits): Promise<Outcome> {
  if (route === undefined) return { status: 404, error: unknownMethod(request.url ?? "") };
  if (request.method !== "POST") return { status: 405, error: new OperatorError("unsupported", `Cannot answer ${String(request.method)}: plugin calls are POST`) };
  const under: { call?: Call } = {};
  try {
    return await within<Outcome>(limits.deadlineMs, async (signal) => {
      const body = route.takesBody ? await bodyOf(request, limits.maxBodyBytes) : "";
      if (body === undefined) return { status: 413, error: tooLarge(limits.maxBodyBytes) };
      under.call = route.decode(route.takesBody ? parse(body) : undefined);
      return { status: 200, body: JSON.stringify((await under.call.run(signal)) ?? {}) };
    });
  } catch (thrown) {
    return { status: 500, error: asOperatorError(thrown), network: under.call?.network };
  }
}

async function within<T>(deadlineMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new OperatorError("timeout", `Cannot answer the call: not done within ${deadlineMs / 1_000} s`, {
        cure: "See what the operator waits for: flannel-np status",
      });
      stop.abort(error);
      reject(error);
    }, deadlineMs);
  });
  try {
    return await Promise.race([work(stop.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The whole body as text; undefined when it is larger than allowed, the rest of it then flows by unread. */
function bodyOf(request: IncomingMessage, maxBytes: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) { chunks.push(chunk); return; }
      chunks.length = 0;
      resolve(undefined);
    });
    request.on("end", () => { resolve(Buffer.concat(chunks).toString("utf8")); });
    request.on("error", (cause) => {
      reject(new OperatorError("unavailable", "Cannot read the request: the connection ended before the body did", { cause }));
    });
  });
}

function parse(body: string): unknown {
  if (body.trim() === "") {
    throw new OperatorError("invalid", "Cannot read the request: the body is empty, as in Docker's repetition of an interrupted call", {
      cure: "Repeat the operation",
    });
  }
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new OperatorError("invalid", "Cannot read the request: the body is not JSON", { cause });
  }
}

const unknownMethod = (path: string): OperatorError =>
  new OperatorError("not-found", `Cannot answer ${path.slice(0, MAX_METHOD)}: the plugin has no such method`);
const tooLarge = (maxBytes: number): OperatorError =>
  new OperatorError("invalid", `Cannot read the request: the body is larger than ${maxBytes} bytes`, { cure: "Publish fewer ports" });

const refusal = (error: OperatorError): string => JSON.stringify({ Err: explain(error), Error: explain(error) });

function respond(response: ServerResponse, outcome: Outcome, last: boolean): void {
  const body = outcome.status === 200 ? outcome.body : refusal(outcome.error);
  response.writeHead(outcome.status, {
    "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), ...(last ? { Connection: "close" } : {}),
  });
  response.end(body);
}

function tell(emit: Emit, method: string, outcome: Outcome, durationMs: number): void {
  if (outcome.status === 200) { emit("plugin.request", { method, durationMs, outcome: "answered" }); return; }
  const { error: { code, message, cure }, network } = outcome;
  emit("plugin.refused", {
    method, code, reason: message, ...(cure === undefined ? {} : { cure }), ...(network === undefined ? {} : { network }),
  });
}
