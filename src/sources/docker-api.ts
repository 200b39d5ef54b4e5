/**
 * A typed face on dockerode: the reads we need, and the event stream.
 *
 * In:  Docker's unix socket.  Out: decoded records; OperatorErrors (`unavailable`, `timeout`, `denied`, `unsupported`, `invalid`).
 * Rule: every call ends after 5 s, since dockerd accepts connections long before it answers; unversioned paths, so each
 *       engine speaks its newest version; never an agent (docker-modem then prints it in full for every request).
 */
import Docker from "dockerode";
import type { IncomingMessage } from "node:http";
import { Observable } from "rxjs";
import { OperatorError, type ErrorCode } from "../core/errors.ts";
import type { ContainerId } from "../core/ids.ts";
import type { Service } from "../core/model.ts";
import {
  containerOf, infoOf, networksOf, nodesOf, servicesOf, summariesOf, tasksOf,
  type ContainerSummary, type DockerContainer, type SwarmStanding, type DockerNetwork, type DockerNode, type DockerTask, type Found,
} from "./docker-decode.ts";

export interface DockerEvent {
  readonly scope: string;
  readonly type: string;
  readonly action: string;
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
}
/** `connected` comes first; `unreadable` means anything may have happened. */
export type DockerSignal = { readonly kind: "connected" | "unreadable" } | { readonly kind: "event"; readonly event: DockerEvent };

export interface DockerApi {
  info(signal: AbortSignal): Promise<SwarmStanding>;
  /** Managers only; elsewhere `unsupported`, as services and tasks. */
  nodes(signal: AbortSignal): Promise<Found<DockerNode>>;
  networks(signal: AbortSignal): Promise<Found<DockerNetwork>>;
  services(signal: AbortSignal): Promise<Found<Service>>;
  tasks(signal: AbortSignal): Promise<Found<DockerTask>>;
  /** All of them, running or not. */
  containers(signal: AbortSignal): Promise<Found<ContainerSummary>>;
  /** Undefined when there is none of that id. */
  container(id: ContainerId, signal: AbortSignal): Promise<DockerContainer | undefined>;
  /** Errors with an OperatorError when the stream ends. */
  events(): Observable<DockerSignal>;
}

interface Dial { readonly path: string; readonly method: "GET"; readonly isStream: boolean; readonly abortSignal: AbortSignal; readonly statusCodes: Readonly<Record<number, true | string>> }
interface Modem { dial(call: Dial, done: (error: Error | null, body: unknown) => void): void }

const TIMEOUT_MS = 5_000;

export function connectDocker({ socketPath, timeoutMs = TIMEOUT_MS }: { readonly socketPath: string; readonly timeoutMs?: number }): DockerApi {
  const modem = new Docker({ socketPath }).modem as Modem;
  const get = <T>(path: string, read: (body: unknown) => T, signal: AbortSignal): Promise<T> =>
    within(timeoutMs, signal, async (abortSignal) => decode(path, read, await dial(modem, path, false, abortSignal)), path);
  return {
    info: (signal) => get("/info", infoOf, signal),
    nodes: (signal) => get("/nodes", nodesOf, signal),
    networks: (signal) => get("/networks", networksOf, signal),
    services: (signal) => get("/services", servicesOf, signal),
    tasks: (signal) => get("/tasks", tasksOf, signal),
    containers: (signal) => get("/containers/json?all=1&", summariesOf, signal),
    async container(id, signal) {
      try { return await get(`/containers/${encodeURIComponent(id)}/json`, containerOf, signal); }
      catch (error) {
        if (error instanceof OperatorError && error.code === "not-found") return undefined;
        throw error;
      }
    },
    events: () => eventStream(modem, timeoutMs),
  };
}

function dial(modem: Modem, path: string, isStream: boolean, abortSignal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    modem.dial({ path, method: "GET", isStream, abortSignal, statusCodes: { 200: true, 404: "not found", 500: "server error", 503: "unavailable" } },
      (error, body) => { if (error === null) resolve(body); else reject(error); });
  });
}

/** Aborts after the time or with the outer signal, and lets go of both. (AbortSignal.any leaks in Node 20: nodejs/node 54614.) */
async function within<T>(timeoutMs: number, outer: AbortSignal, ask: (signal: AbortSignal) => Promise<T>, path: string): Promise<T> {
  const inner = new AbortController();
  const stop = (): void => inner.abort();
  const timer = setTimeout(stop, timeoutMs);
  outer.addEventListener("abort", stop, { once: true });
  // docker-modem never comes back from an answer that is cut off in the middle, whatever is aborted then.
  const over = new Promise<never>((_, reject) => { inner.signal.addEventListener("abort", () => { reject(new Error("aborted")); }, { once: true }); });
  if (outer.aborted) stop();
  try { return await Promise.race([ask(inner.signal), over]); }
  catch (error) { throw dockerError(error, path, inner.signal.aborted); }
  finally {
    clearTimeout(timer);
    outer.removeEventListener("abort", stop);
  }
}

function decode<T>(path: string, read: (body: unknown) => T, body: unknown): T {
  try { return read(body); }
  catch (cause) {
    throw new OperatorError("invalid", `Cannot read Docker's answer to ${bare(path)}: its shape is unknown`, { cause, cure: "Use a Docker engine from 20.10 on, or report this" });
  }
}

const bare = (path: string): string => path.split("?", 1).join("");

const BY_STATUS: Readonly<Record<number, ErrorCode>> = { 400: "unsupported", 403: "denied", 404: "not-found", 409: "conflict" };
const BY_ERRNO: Readonly<Record<string, ErrorCode>> = { EACCES: "denied", EPERM: "denied" };

function dockerError(error: unknown, path: string, aborted: boolean): OperatorError {
  if (error instanceof OperatorError) return error;
  const doing = `Cannot ask Docker for ${bare(path)}`;
  if (aborted) return new OperatorError("timeout", `${doing}: no answer in time`, { cure: "Check that dockerd runs; while it starts this passes by itself" });
  const reason = error instanceof Error ? error.message.trim().replace(/\.$/, "") : String(error);
  const status: unknown = error instanceof Error ? Reflect.get(error, "statusCode") : undefined;
  const errno: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  // daemon/cluster/errors.go (20.10 … 29): a worker, or a node outside any swarm, answers 503 with these words.
  if (/not a swarm manager/.test(reason)) return new OperatorError("unsupported", `${doing}: ${reason}`, { cause: error });
  const code = (typeof status === "number" ? BY_STATUS[status] : undefined) ?? (typeof errno === "string" ? BY_ERRNO[errno] : undefined) ?? "unavailable";
  return new OperatorError(code, `${doing}: ${reason}`, { cause: error, cure: "Check that dockerd runs and that its socket is where the plugin looks" });
}

/** Of the events only those that can concern us; a health check's exec events alone would be most of the stream. */
const FILTERS = encodeURIComponent(JSON.stringify({ type: ["container", "network", "service", "node"] }));

function eventStream(modem: Modem, timeoutMs: number): Observable<DockerSignal> {
  return new Observable((out) => {
    const life = new AbortController();
    const fail = (error: unknown): void => out.error(dockerError(error, "/events", false));
    // Once the headers are here the stream may be silent for ever.
    const timer = setTimeout(() => {
      out.error(new OperatorError("timeout", "Cannot ask Docker for /events: no answer in time", { cure: "Check that dockerd runs; while it starts this passes by itself" }));
    }, timeoutMs);
    const begin = (stream: IncomingMessage): void => {
      clearTimeout(timer);
      let rest = "";
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (line.trim() !== "") out.next(signalOf(line));
      });
      stream.on("error", fail);
      stream.on("close", () => fail(new Error("the stream ended")));
      out.next({ kind: "connected" });
    };
    dial(modem, `/events?filters=${FILTERS}&`, true, life.signal).then((stream) => begin(stream as IncomingMessage)).catch(fail);
    return () => {
      clearTimeout(timer);
      life.abort();
    };
  });
}

function signalOf(line: string): DockerSignal {
  try {
    const { scope, Type, Action, Actor } = JSON.parse(line) as { scope?: unknown; Type?: unknown; Action?: unknown; Actor?: { ID?: unknown; Attributes?: unknown } | null };
    const attributes = typeof Actor?.Attributes === "object" && Actor.Attributes !== null ? Object.entries(Actor.Attributes) : [];
    if (typeof Type !== "string" || typeof Action !== "string" || typeof Actor?.ID !== "string") return { kind: "unreadable" };
    return { kind: "event", event: {
      scope: typeof scope === "string" ? scope : "local", type: Type, action: Action, id: Actor.ID,
      attributes: Object.fromEntries(attributes.map(([key, value]) => [key, String(value)])),
    } };
  } catch { return { kind: "unreadable" }; }
}
