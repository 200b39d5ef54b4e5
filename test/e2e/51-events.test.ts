/**
 * The event log as others read it (design D19): no gap over the operator's death, no harm from a reader who does not read,
 * every line as docs/events.schema.json says.
 *
 * Events from outside: each POST /reconcile logs one line before it runs, and calls that wait share a run, so thousands are cheap.
 */
import { afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { Agent, request, type IncomingMessage } from "node:http";
import { readdir, readFile } from "node:fs/promises";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Lab } from "../../lab/lab.ts";
import { openedLab, until, type Node } from "./bed.ts";

interface Line { readonly boot: string; readonly seq: number; readonly event: string; readonly lost?: number }
let lab: Lab;
let node: Node;
const readers: Reader[] = [];

beforeAll(async () => {
  lab = await openedLab();
  node = lab.node("node1");
});
afterEach(() => { for (const reader of readers.splice(0)) reader.end(); });

const call = (of: Node, method: string, path: string, agent?: Agent): Promise<IncomingMessage> => new Promise((resolve, reject) => {
  request({ method, path, socketPath: `${of.root}/run/flannel-np/debug.sock`, ...(agent === undefined ? {} : { agent }) }, resolve).on("error", reject).end();
});

/** Follows the log and keeps what it got; `linesPerSecond` makes it a slow one. */
class Reader {
  readonly lines: Line[] = [];
  open = false;
  readonly #node: Node;
  #response: IncomingMessage | undefined;
  #rest = "";
  #pace: NodeJS.Timeout | undefined;

  constructor(of: Node) { this.#node = of; }

  async follow(after?: string): Promise<void> {
    readers.push(this);
    this.#rest = "";
    this.#response = await call(this.#node, "GET", `/events?follow=1${after === undefined ? "" : `&after=${after}`}`);
    this.open = true;
    this.#response.setEncoding("utf8").on("close", () => { this.open = false; }).on("error", () => { this.open = false; });
  }
  fast(): this { this.#response?.on("data", (chunk: string) => this.#take(chunk)); return this; }
  /** Takes no more than a line's worth of bytes each second; the rest stays in the socket. */
  slow(): this {
    this.#pace = setInterval(() => { const chunk = this.#response?.read(200) as string | null | undefined; if (typeof chunk === "string") this.#take(chunk); }, 1_000);
    return this;
  }
  hurry(): void {
    clearInterval(this.#pace);
    this.fast();
  }
  end(): void {
    clearInterval(this.#pace);
    this.#response?.destroy();
  }
  #take(chunk: string): void {
    const parts = `${this.#rest}${chunk}`.split("\n");
    this.#rest = parts.pop() ?? "";
    this.lines.push(...parts.map((line) => JSON.parse(line) as Line));
  }
}

/** `many` requests for a run over a few connections; resolves when all are answered. */
async function requests(of: Node, many: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  await Promise.all(Array.from({ length: many }, async () => { (await call(of, "POST", "/reconcile?only=gateways", agent)).resume(); }));
  agent.destroy();
}

/** What a reader cannot account for: a seq that is not one more than the last, where events.lost stands for as many as it says. */
function gaps(lines: readonly Line[]): readonly string[] {
  const last = new Map<string, number>();
  return lines.flatMap(({ boot, seq, event, lost = 0 }) => {
    const before = last.get(boot);
    last.set(boot, seq);
    const step = event === "events.lost" && lost > 0 ? lost : 1;
    return before === undefined || seq === before + step ? [] : [`${boot}: ${before} → ${seq} (${event})`];
  });
}

describe("a reader of the log", () => {
  // One death per node: dockerd disables a plugin for good that dies again before dockerd has seen it listen (moby, plugin/manager_linux.go).
  it.each(["node1", "node2"])("misses nothing over kill -9 of the operator on %s, when it goes on after the last line it has", async (name) => {
    const victim = lab.node(name);
    const reader = new Reader(victim);
    await reader.follow();
    reader.fast();
    void requests(victim, 300).catch(() => undefined);
    await until("lines in the middle of a burst", async () => reader.lines.length > 50);
    const pid = await victim.pluginPid();
    if (pid === undefined) throw new Error(`the plugin of ${name} does not run`);
    process.kill(pid, "SIGKILL");
    await until("the stream to end", async () => !reader.open);
    const last = reader.lines.at(-1);
    await until("the operator to answer again", async () => { await reader.follow(`${last?.boot}:${last?.seq}`); return true; });
    reader.fast();
    await until("a line of the new life", async () => reader.lines.at(-1)?.boot !== last?.boot);
    await requests(victim, 50);
    const boots = [...new Set(reader.lines.map(({ boot }) => boot))];
    expect(boots).toHaveLength(2);
    expect(gaps(reader.lines)).toEqual([]);
    expect(reader.lines.find(({ boot }) => boot === boots[1])).toMatchObject({ seq: 1, event: "operator.started" });
    expect(reader.lines.filter(({ event }) => event === "events.lost")).toEqual([]);
  });

  it("who reads a line per second under 10,000 events is told what it lost, and slows nobody", async () => {
    const [slow, fast] = [new Reader(node), new Reader(node)];
    await Promise.all([slow.follow(), fast.follow()]);
    slow.slow();
    fast.fast();
    let longestMs = 0;
    let done = false;
    const probing = (async () => {
      while (!done) {
        const since = performance.now();
        (await call(node, "GET", "/healthz")).resume();
        longestMs = Math.max(longestMs, performance.now() - since);
      }
    })();
    for (let round = 0; round < 20; round++) await requests(node, 500);
    done = true;
    await probing;
    const end = fast.lines.at(-1)?.seq ?? 0;
    expect(fast.lines.length).toBeGreaterThanOrEqual(10_000);
    expect(gaps(fast.lines)).toEqual([]);
    expect(fast.lines.filter(({ event }) => event === "events.lost")).toEqual([]);
    // Goal 100 ms, times twenty; 500 calls at once wait in the same queue.
    expect(longestMs).toBeLessThan(2_000);
    expect(slow.lines.length).toBeLessThan(100);
    slow.hurry();
    await until("the slow reader to catch up", async () => (slow.lines.at(-1)?.seq ?? 0) >= end);
    expect(gaps(slow.lines)).toEqual([]);
    const lost = slow.lines.reduce((sum, { lost: some = 0, event }) => sum + (event === "events.lost" ? some : 0), 0);
    expect(lost).toBeGreaterThan(1_000);
    expect(lost + slow.lines.filter(({ event }) => event !== "events.lost").length).toBeGreaterThanOrEqual(10_000);
  });
});

describe("the whole log of every node", () => {
  const fileLines = async (of: Node): Promise<readonly string[]> => {
    const folder = `${of.root}/var/lib/flannel-np/events`;
    const texts = await Promise.all((await readdir(folder)).map((name) => readFile(`${folder}/${name}`, "utf8")));
    return texts.flatMap((text) => text.split("\n").slice(0, text.endsWith("\n") ? undefined : -1)).filter((line) => line !== "");
  };

  it("is as docs/events.schema.json says, and holds no field that is not documented", async () => {
    const schema = JSON.parse(await readFile(new URL("../../docs/events.schema.json", import.meta.url), "utf8")) as Record<string, unknown>;
    const ajv = new Ajv2020({ strict: false, formats: { "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ } });
    const valid = ajv.compile({ ...schema, unevaluatedProperties: false });
    for (const each of lab.nodes) {
      const lines = await fileLines(each);
      expect(lines.length).toBeGreaterThan(10);
      const faults = lines.filter((line) => !valid(JSON.parse(line)));
      expect(faults.slice(0, 5)).toEqual([]);
    }
    expect(valid({ schema: 1, boot: "b", seq: 1, at: "2026-01-02T03:04:05.678Z", level: "info", event: "kernel.drift" })).toBe(false);
    expect(valid({ schema: 1, boot: "b", seq: 1, at: "2026-01-02T03:04:05.678Z", level: "info", event: "kernel.drift", facility: "nft", more: 1 })).toBe(false);
  });

  it("has no gap in any life", async () => {
    for (const each of lab.nodes) {
      const lines = (await fileLines(each)).map((line) => JSON.parse(line) as Line);
      const sorted = [...lines].sort((a, b) => (a.boot === b.boot ? a.seq - b.seq : a.boot < b.boot ? -1 : 1));
      expect(gaps(sorted)).toEqual([]);
    }
  });
});
