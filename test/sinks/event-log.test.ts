/** The event log: gapless, replayable across rotation and restarts, never in anybody's way. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventLog, type EventLog, type EventLogOptions, type LogLine } from "../../src/sinks/event-log.ts";

let dir: string;
let open: EventLog[];
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), "events-")); open = []; });
afterEach(() => {
  for (const log of open) log.close();
  rmSync(dir, { recursive: true, force: true });
});

function start(over: Partial<EventLogOptions> = {}): EventLog {
  const log = eventLog({ dir, boot: "b1", maxBytes: 1_000_000, level: "info", now: () => 1_800_000_000_000, ...over });
  open.push(log);
  return log;
}
const emit = (log: EventLog, count: number, from = 1): void => {
  for (let n = from; n < from + count; n++) log.emit("kernel.drift", { facility: `f${n}` });
};
async function all(lines: AsyncIterable<LogLine>, count = Infinity): Promise<LogLine[]> {
  const found: LogLine[] = [];
  for await (const line of lines) if (found.push(line) >= count) break;
  return found;
}
const places = (lines: readonly LogLine[]): string[] => lines.map(({ boot, seq }) => `${boot}:${seq}`);
const range = (boot: string, from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, n) => `${boot}:${from + n}`);
const lossesIn = (lines: readonly LogLine[]): number =>
  lines.map(({ text }) => JSON.parse(text) as { event: string; lost?: number }).filter(({ event }) => event === "events.lost").reduce((sum, { lost }) => sum + (lost ?? 0), 0);
const forever = new AbortController().signal;

describe("event log", () => {
  it("writes one object per line, in the shape of the catalogue", () => {
    const log = start();
    log.emit("operator.started", { version: "1", pid: 7 });
    expect(readFileSync(join(dir, "events.ndjson"), "utf8")).toBe(
      '{"schema":1,"boot":"b1","seq":1,"at":"2027-01-15T08:00:00.000Z","level":"info","event":"operator.started","version":"1","pid":7}\n');
    expect(log.lastSeq).toBe(1);
  });

  it("counts only what is logged", async () => {
    const log = start({ level: "warn" });
    emit(log, 3);
    log.emit("source.lost", { source: "etcd", reason: "gone" });
    log.emit("plugin.request", { method: "x", durationMs: 1, outcome: "ok" });
    expect(places(await all(log.replay()))).toEqual(["b1:1"]);
    expect(log.counters.logged).toEqual({ error: 0, warn: 1, info: 0, debug: 0 });
  });

  it("replays after a cursor, across rotated files and former lives, without gaps", async () => {
    emit(start(), 500);
    const log = start({ boot: "b2" });
    emit(log, 300);
    expect(places(await all(log.replay()))).toEqual([...range("b1", 1, 500), ...range("b2", 1, 300)]);
    expect(places(await all(log.replay({ boot: "b1", seq: 498 })))).toEqual([...range("b1", 499, 500), ...range("b2", 1, 300)]);
    expect(places(await all(log.replay({ seq: 298 })))).toEqual(range("b2", 299, 300));
    expect(places(await all(log.replay({ seq: 300 })))).toEqual([]);
    expect(places(await all(log.replay({ seq: 7_000 })))).toEqual(range("b2", 1, 300));
    expect(places(await all(log.replay({ seq: 497 })))).toEqual([...range("b1", 498, 500), ...range("b2", 1, 300)]);
  });

  it("replays from files what memory no longer holds", async () => {
    const log = start({ ringLines: 10 });
    emit(log, 500);
    expect(places(await all(log.replay({ seq: 0 })))).toEqual(range("b1", 1, 500));
    expect(places(await all(log.replay({ seq: 495 })))).toEqual(range("b1", 496, 500));
  });

  it("stays below its limit and tells a reader what rotation took", async () => {
    const log = start({ maxBytes: 50_000, ringLines: 10 });
    emit(log, 3_000);
    const bytes = readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
    expect(readdirSync(dir).sort()).toEqual(["events.1.ndjson", "events.2.ndjson", "events.3.ndjson", "events.4.ndjson", "events.ndjson"]);
    expect(bytes).toBeLessThanOrEqual(50_000);
    expect(bytes).toBeGreaterThan(39_000);
    const lines = await all(log.replay({ seq: 5 }));
    expect(lossesIn(lines)).toBe(3_000 - 5 - (lines.length - 1));
    expect(lines[0]?.seq).toBe(5 + lossesIn(lines));
    expect(lines.at(-1)?.seq).toBe(3_000);
    const foreign = await all(log.replay({ boot: "elsewhere", seq: 5 }));
    expect(foreign[0]?.text).toContain("how many is not known");
    expect(foreign).toHaveLength(lines.length);
  });

  it("goes on where a power cut left a part of a line", async () => {
    emit(start(), 3);
    appendFileSync(join(dir, "events.ndjson"), '{"schema":1,"boot":"b1","se');
    const log = start({ boot: "b2" });
    emit(log, 1);
    expect(places(await all(log.replay()))).toEqual(["b1:1", "b1:2", "b1:3", "b2:1"]);
  });

  it("skips what is no line of ours", async () => {
    writeFileSync(join(dir, "events.ndjson"), "hello\n{}\n");
    const log = start();
    emit(log, 1);
    expect(places(await all(log.replay()))).toEqual(["b1:1"]);
  });

  it("goes on in a new file when somebody deletes it or cuts it short", async () => {
    const log = start();
    emit(log, 2);
    rmSync(join(dir, "events.ndjson"));
    emit(log, 2);
    expect(readFileSync(join(dir, "events.ndjson"), "utf8").split("\n")).toHaveLength(3);
    writeFileSync(join(dir, "events.ndjson"), "");
    emit(log, 1);
    expect(readFileSync(join(dir, "events.ndjson"), "utf8").split("\n")).toHaveLength(2);
  });
});

describe("follower", () => {
  it("gets history, then each new line at once", async () => {
    const log = start();
    emit(log, 5);
    const got = all(log.follow({ seq: 2 }, forever), 6);
    await new Promise(setImmediate);
    emit(log, 3);
    expect(places(await got)).toEqual(range("b1", 3, 8));
  });

  it("starts from now without a cursor", async () => {
    const log = start();
    emit(log, 5);
    const got = all(log.follow(undefined, forever), 1);
    await new Promise(setImmediate);
    emit(log, 1);
    expect(places(await got)).toEqual(["b1:6"]);
  });

  it("loses nothing between history and now, whoever writes meanwhile", async () => {
    const log = start({ ringLines: 100 });
    emit(log, 400);
    const got = all(log.follow({ seq: 0 }, forever), 700);
    for (let n = 0; n < 30; n++) {
      emit(log, 10);
      await new Promise(setImmediate);
    }
    expect(places(await got)).toEqual(range("b1", 1, 700));
  });

  it("is told what it lost when it falls behind, and goes on from now", async () => {
    const log = start();
    const lines = log.follow(undefined, forever)[Symbol.asyncIterator]();
    const first = lines.next();
    emit(log, 1);
    expect((await first).value?.seq).toBe(1);
    emit(log, 10_000);
    const told = (await lines.next()).value as LogLine;
    expect(JSON.parse(told.text)).toMatchObject({ event: "events.lost", level: "warn", boot: "b1", seq: 10_001, lost: 10_000 });
    emit(log, 1);
    expect((await lines.next()).value?.seq).toBe(10_002);
    expect(log.counters.lostByFollowers).toBe(10_000);
    await lines.return?.();
  });

  it("ends with its signal, also while it waits", async () => {
    const abort = new AbortController();
    const got = all(start().follow(undefined, abort.signal));
    await new Promise(setImmediate);
    abort.abort();
    expect(await got).toEqual([]);
  });
});

describe("a disk that takes nothing", () => {
  it("keeps lines in memory, serves followers, and writes all when it takes again", async () => {
    let nowMs = 0;
    writeFileSync(join(dir, "blocked"), "");
    const log = start({ dir: join(dir, "blocked"), now: () => nowMs });
    const got = all(log.follow(undefined, forever), 50);
    await new Promise(setImmediate);
    emit(log, 50);
    expect(places(await got)).toEqual(range("b1", 1, 50));
    expect(log.counters.failedWrites).toBe(1);
    rmSync(join(dir, "blocked"));
    nowMs = 5_000;
    emit(log, 1, 51);
    expect(readFileSync(join(dir, "blocked", "events.ndjson"), "utf8").trim().split("\n")).toHaveLength(51);
    expect(log.counters.lost).toBe(0);
  });

  it("counts what memory cannot keep, and says so once it can", async () => {
    let nowMs = 0;
    writeFileSync(join(dir, "blocked"), "");
    const log = start({ dir: join(dir, "blocked"), now: () => nowMs, ringLines: 20 });
    emit(log, 100);
    rmSync(join(dir, "blocked"));
    nowMs = 5_000;
    emit(log, 1);
    const lines = readFileSync(join(dir, "blocked", "events.ndjson"), "utf8").trim().split("\n").map((text) => JSON.parse(text) as { seq: number; event: string; lost?: number });
    expect(lines).toHaveLength(21);
    expect(lines[0]?.seq).toBe(82);
    expect(lines.at(-1)).toMatchObject({ event: "events.lost", lost: 81, seq: 102 });
    expect(log.counters.lost).toBe(81);
  });

  it("tries again by itself", async () => {
    writeFileSync(join(dir, "blocked"), "");
    const log = start({ dir: join(dir, "blocked"), now: Date.now });
    emit(log, 1);
    rmSync(join(dir, "blocked"));
    const file = join(dir, "blocked", "events.ndjson");
    for (const end = Date.now() + 20_000; !readdirSync(dir).includes("blocked") && Date.now() < end;) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(readFileSync(file, "utf8")).toContain('"seq":1');
  }, 30_000);
});
