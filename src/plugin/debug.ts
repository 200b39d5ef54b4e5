/**
 * The debug endpoint (design D18): look at the operator, and make it look.
 *
 * In:  POST /reconcile[?only=a,b], /ipam/fix; GET /plan[?only=], /state, /ipam, /vips, /vips/all[?service=], /events[?after=&follow=&level=], /healthz, /readyz, /metrics;
 *      /dns/… as in debug/names.ts.
 * Out: JSON (lines of it for events, text for metrics); errors as {"error":{code,message,cure}}.
 * Rule: POST /reconcile answers after the repair, /ipam/fix lets leaked addresses rest, /dns/flush forgets what others answered,
 *       /vips/all leaves a question in etcd for the time it takes; nothing else here changes anything. No secret leaves through it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { asOperatorError, OperatorError, type ErrorCode } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import type { PlanReport, RunReport } from "../core/run.ts";
import type { IpamAnswer, PlanAnswer, PlannedChange, PlanState, ReadyAnswer, ReconcileAnswer, RefusedAnswer, SwarmVipAnswer, VipAnswer } from "../core/state-answer.ts";
import type { Change } from "../core/plan.ts";
import { errorState, reconcilerState } from "../core/status.ts";
import { toJson } from "./debug/json.ts";
import { flush, log, lookUp, nameTable, type NamesDebug } from "./debug/names.ts";
import { chosen, eventsQuery, onlyKnown } from "./debug/query.ts";
import { listenOnLoopback, listenPrivately } from "./debug/socket.ts";
import { streamEvents, type EventReader } from "./debug/stream.ts";
import { renderMetrics, type Family } from "./metrics.ts";
import { stopServing } from "./socket.ts";

/** The part of the engine that is asked. */
export interface DebugEngine {
  readonly names: readonly string[];
  run(names: readonly string[], signal: AbortSignal): Promise<readonly RunReport[]>;
  plan(names: readonly string[], signal: AbortSignal): Promise<readonly PlanReport[]>;
}

export interface DebugOptions {
  readonly socketPath: string;
  /** `127.0.0.1:9799`; empty or absent: unix socket only. */
  readonly listen?: string;
  readonly engine: DebugEngine;
  readonly events: EventReader;
  /** GET /state as it is; maps are rendered as objects. */
  readonly state: () => unknown;
  /** Revision of the newest snapshot, 0 before the first. */
  readonly revision: () => number;
  readonly readiness: () => ReadyAnswer;
  readonly ipam: { report(): IpamAnswer; fix(): Promise<IpamAnswer> };
  readonly names: NamesDebug;
  /** Asks the kernel. */
  readonly vips: (signal: AbortSignal) => Promise<VipAnswer>;
  /** Asks all nodes through etcd. */
  readonly vipsOfSwarm: (service: string | undefined, signal: AbortSignal) => Promise<SwarmVipAnswer>;
  readonly metrics: () => readonly Family[];
  readonly emit: Emit;
  /** Longest wait for a run or a dry run, ms; the run itself goes on. Default 120,000. */
  readonly waitMs?: number;
}

export interface DebugServer {
  /** Why `listen` was not obeyed; the unix socket is there all the same (design D13). */
  readonly refused?: OperatorError;
  /** Ends streams at once, other calls after their answer. */
  close(): Promise<void>;
}

const WAIT_MS = 120_000;
const CLOSE_GRACE_MS = 2_000;

/** Listens when it resolves; rejects with `unavailable` when the socket cannot be had. */
export async function debugServer(options: DebugOptions): Promise<DebugServer> {
  const stopping = new AbortController();
  const onUnix = createServer(serve(options, stopping.signal, () => undefined));
  await listenPrivately(onUnix, options.socketPath);
  const servers: Server[] = [onUnix];
  let refused: OperatorError | undefined;
  if (options.listen !== undefined && options.listen !== "") {
    const onTcp = createServer(serve(options, stopping.signal, refuseBrowsers));
    await listenOnLoopback(onTcp, options.listen).then(() => servers.push(onTcp), (error: unknown) => { refused = asOperatorError(error); });
    if (refused !== undefined) options.emit("config.invalid", { variable: "DEBUG_LISTEN", reason: refused.message, cure: refused.cure ?? "" });
  }
  return {
    ...(refused === undefined ? {} : { refused }),
    close: async () => {
      stopping.abort();
      await Promise.all(servers.map((server) => stopServing(server, CLOSE_GRACE_MS)));
    },
  };
}

/** A web page in a browser of this host must not reach the endpoint through loopback. */
function refuseBrowsers({ headers }: IncomingMessage): void {
  if (headers.origin === undefined && /^(127(\.\d+){3}|localhost|\[::1\])(:\d+)?$/.test(headers.host ?? "")) return;
  throw new OperatorError("denied", "Cannot answer: the call comes from a web page or under a foreign host name", { cure: "Ask with curl or flannel-np" });
}

type Answer = (call: Call) => Promise<void>;
interface Call { readonly options: DebugOptions; readonly query: URLSearchParams; readonly response: ServerResponse; readonly signal: AbortSignal }
interface Route { readonly method: "GET" | "POST"; readonly parameters: readonly string[]; readonly answer: Answer }

const ROUTES: Readonly<Record<string, Route>> = {
  "/reconcile": { method: "POST", parameters: ["only"], answer: reconcile },
  "/plan": { method: "GET", parameters: ["only"], answer: plan },
  "/state": { method: "GET", parameters: [], answer: async ({ options, response }) => send(response, 200, options.state()) },
  "/ipam": { method: "GET", parameters: [], answer: async ({ options, response }) => send(response, 200, options.ipam.report()) },
  "/ipam/fix": { method: "POST", parameters: [], answer: async ({ options, response }) => send(response, 200, await options.ipam.fix()) },
  "/dns/query": { method: "GET", parameters: ["as", "name", "type"], answer: async ({ options, query, response, signal }) => send(response, 200, await lookUp(options.names, query, signal)) },
  "/dns/table": { method: "GET", parameters: ["as"], answer: async ({ options, query, response }) => send(response, 200, nameTable(options.names, query)) },
  "/dns/flush": { method: "POST", parameters: ["as"], answer: async ({ options, query, response }) => send(response, 200, await flush(options.names, query)) },
  "/dns/stats": { method: "GET", parameters: [], answer: async ({ options, response }) => send(response, 200, options.names.stats()) },
  "/dns/log": { method: "GET", parameters: ["as"], answer: ({ options, query, response, signal }) => log(options.names, query, response, signal) },
  "/vips": { method: "GET", parameters: [], answer: async ({ options, response, signal }) => send(response, 200, await options.vips(signal)) },
  "/vips/all": { method: "GET", parameters: ["service"], answer: async ({ options, query, response, signal }) => send(response, 200, await options.vipsOfSwarm(query.get("service") ?? undefined, signal)) },
  "/events": { method: "GET", parameters: ["after", "follow", "level"], answer: ({ options, query, response, signal }) => streamEvents(options.events, eventsQuery(query), response, signal) },
  "/healthz": { method: "GET", parameters: [], answer: async ({ response }) => send(response, 200, { healthy: true }) },
  "/readyz": { method: "GET", parameters: [], answer: ready },
  "/metrics": { method: "GET", parameters: [], answer: metrics },
};

function serve(options: DebugOptions, stopping: AbortSignal, admit: (request: IncomingMessage) => void) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    request.resume();
    respond({ options, response, signal: AbortSignal.any([gone.signal, stopping]) }, request, admit).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else refuse(response, asOperatorError(error));
    });
  };
}

async function respond(call: Omit<Call, "query">, request: IncomingMessage, admit: (request: IncomingMessage) => void): Promise<void> {
  admit(request);
  const [path = "", search = ""] = (request.url ?? "").split("?", 2);
  const route = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (route === undefined) throw new OperatorError("not-found", `Cannot answer ${path}: there is no such page`, { cure: `There are: ${Object.keys(ROUTES).join(", ")}` });
  if (request.method !== route.method) {
    call.response.setHeader("Allow", route.method);
    throw new OperatorError("unsupported", `Cannot answer ${request.method ?? "?"} ${path}: only ${route.method} is`, { cure: `Use ${route.method}` });
  }
  const query = new URLSearchParams(search);
  onlyKnown(query, route.parameters);
  await route.answer({ ...call, query });
}

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  "invalid": 400, "denied": 403, "not-found": 404, "unsupported": 405, "unavailable": 503, "timeout": 504,
};

function refuse(response: ServerResponse, error: OperatorError): void {
  send(response, STATUS[error.code] ?? 500, { error: errorState(error) } satisfies RefusedAnswer);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = toJson(body);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text), "Cache-Control": "no-store" }).end(text);
}

async function reconcile({ options, query, response, signal }: Call): Promise<void> {
  const names = chosen(query, options.engine.names);
  options.emit("reconcile.requested", { reconcilers: names });
  const reports = await options.engine.run(names, within(options, signal));
  send(response, 200, {
    revision: Math.max(options.revision(), ...reports.map(({ revision }) => revision)),
    reports: reports.map((report) => reconcilerState(report.reconciler, report)),
  } satisfies ReconcileAnswer);
}

async function plan({ options, query, response, signal }: Call): Promise<void> {
  const plans = await options.engine.plan(chosen(query, options.engine.names), within(options, signal));
  send(response, 200, { revision: options.revision(), plans: plans.map(planState) } satisfies PlanAnswer);
}

const within = ({ waitMs = WAIT_MS }: DebugOptions, signal: AbortSignal): AbortSignal => AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);

function planState(report: PlanReport): PlanState {
  const { reconciler } = report;
  if ("error" in report) return { reconciler, changes: [], held: [], blocked: [], error: errorState(report.error) };
  return { reconciler, changes: report.plan.changes.map(planned), held: report.plan.held.map(planned), blocked: report.desiredBlocked };
}

/** Reasons only: what else a change carries may be secret. */
const planned = ({ op, key, why }: Change): PlannedChange => ({ op, key, why });

async function ready({ options, response }: Call): Promise<void> {
  const answer = options.readiness();
  send(response, answer.ready ? 200 : 503, answer);
}

async function metrics({ options, response }: Call): Promise<void> {
  response.writeHead(200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" }).end(renderMetrics(options.metrics()));
}
