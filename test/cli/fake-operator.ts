/**
 * A debug endpoint that answers what a test says, and a terminal that keeps what was written.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../src/cli/program.ts";
import type { NetworkState, StateAnswer } from "../../src/core/state-answer.ts";

/** An answer by "METHOD /path?query"; a function writes its own. */
export type Answers = Readonly<Record<string, unknown>>;
type Writer = (response: ServerResponse) => void;

export interface FakeOperator {
  readonly socket: string;
  readonly folder: string;
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export async function fakeOperator(answers: Answers): Promise<FakeOperator> {
  const folder = await mkdtemp(join(tmpdir(), "fnp-cli-"));
  const socket = join(folder, "debug.sock");
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const key = `${String(request.method)} ${String(request.url)}`;
    asked.push(key);
    const answer = answers[key];
    if (typeof answer === "function") { (answer as Writer)(response); return; }
    response.writeHead(answer === undefined ? 404 : 200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(answer ?? { error: { code: "not-found", message: `Cannot answer ${key}: no such route` } }));
  });
  await new Promise<void>((resolve) => { server.listen(socket, resolve); });
  return {
    socket, folder, asked,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface Said { readonly exit: number; readonly out: string; readonly err: string }

/** Runs the command line; `folder` stands in for the machine's places. */
export async function flannelNp(args: readonly string[], folder = "/nonexistent", nowMs = 1_000_000): Promise<Said> {
  const said = { out: "", err: "" };
  const exit = await run(args, {
    out: (text) => { said.out += text; },
    err: (text) => { said.err += text; },
    now: () => nowMs,
    places: { labs: join(folder, "labs"), proc: join(folder, "proc"), socket: join(folder, "debug.sock") },
  });
  return { exit, ...said };
}

export const READY = { ready: true, reasons: [] } as const;

const network = {
  id: "2tul1rqmkl4w79s0s71gj94v2", name: "web", cidr: "10.1.0.0/20", flannelId: "u1", vni: 6_514, subnet: "10.1.4.0/25", state: "ready", containers: 3,
} as unknown as NetworkState;

export const STATE: StateAnswer = {
  node: { hostname: "node1", role: "manager", leader: true, address: "10.99.0.11", underlay: { link: "eth0", address: "10.99.0.11" as never, mtuBytes: 1_500 } },
  revision: 12, version: "0.1.0", boot: "b1", balancer: { engine: "nftables", why: "BALANCER=auto" }, problems: [],
  sources: { docker: { networks: "complete", services: "complete", containers: "partial" }, etcd: { networks: "unknown" }, memory: {} },
  nodes: [{ id: "n2" as never, hostname: "box-b", publicIp: "172.16.0.2", state: "doubtful", containers: 2 }],
  networks: [network],
  engine: [
    { reconciler: "leases", result: "converged", atMs: 997_000, changes: 2, held: 0, blocked: [] },
    { reconciler: "dns", result: "never", changes: 0, held: 1, blocked: ["container c1 has no sandbox"] },
  ],
};

export const REFUSED: NetworkState = { ...network, name: "v6", state: "refused", problem: "IPv6 is not carried", cure: "Create it without --ipv6" };
