/** The state file: whole or set aside, coalescing, never in the way. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventName } from "../../src/core/events.ts";
import { decodeState, encodeState, stateFile, type StateFile } from "../../src/sinks/state-file.ts";

let folder: string;
let said: { readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> }[];
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), "state-")); said = []; });
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const path = (): string => join(folder, "sub", "state.json");
const open = (): StateFile => stateFile({ path: path(), emit: (event, fields) => { said.push({ event, fields }); } });
const STATE = { leases: [{ subnet: "10.1.0.0/24" }], text: "ü\n}\u2028" };

describe("state file", () => {
  it("reads nothing from nothing, without an event", () => {
    expect(open().read()).toBeUndefined();
    expect(said).toEqual([]);
  });

  it("reads what the last life wrote, mode 0600, no temporary file left", async () => {
    await open().write(STATE);
    expect(open().read()).toEqual(STATE);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(folder, "sub"))).toEqual(["state.json"]);
    expect(JSON.parse(readFileSync(path(), "utf8"))).toMatchObject({ version: 1, state: STATE });
  });

  it("sets aside whatever is not whole, at every length of a cut", () => {
    const whole = encodeState(STATE);
    for (let length = 0; length < whole.length; length++) expect(decodeState(whole.slice(0, length))).toHaveProperty("reason");
    for (let at = 0; at < whole.length; at++) {
      const flipped = `${whole.slice(0, at)}${whole[at] === "0" ? "1" : "0"}${whole.slice(at + 1)}`;
      expect(decodeState(flipped)).toHaveProperty("reason");
    }
    expect(decodeState(whole)).toEqual({ state: STATE });
  });

  it.each([
    ["cut off", '{"version":1,"chec', "it is cut off or not a state file"],
    ["foreign", "hello\n", "it is cut off or not a state file"],
    ["empty", "", "it is empty"],
    ["newer", '{"version":2,"checksum":"ab","state":{}}\n', "its version is 2, this program reads 1"],
  ])("reports a %s file and goes on without it", (_, text, reason) => {
    mkdirSync(join(folder, "sub"));
    writeFileSync(path(), text);
    expect(open().read()).toBeUndefined();
    expect(said).toEqual([{ event: "state.damaged", fields: { path: path(), aside: `${path()}.damaged-1`, reason } }]);
    expect(readFileSync(`${path()}.damaged-1`, "utf8")).toBe(text);
    expect(open().read()).toBeUndefined();
    expect(said).toHaveLength(1);
  });

  it("keeps the last three damaged files", () => {
    mkdirSync(join(folder, "sub"));
    for (let n = 1; n <= 5; n++) {
      writeFileSync(path(), `damaged ${n}`);
      open().read();
    }
    expect(readdirSync(join(folder, "sub")).sort()).toEqual([3, 4, 5].map((n) => `state.json.damaged-${n}`));
    expect(said.at(-1)?.fields["aside"]).toBe(`${path()}.damaged-5`);
  });

  it("writes a burst twice: the first state and the newest", async () => {
    const file = open();
    await Promise.all(Array.from({ length: 100 }, (_, n) => file.write({ n })));
    expect(file.counters).toEqual({ written: 2, unwritten: 0 });
    expect(open().read()).toEqual({ n: 99 });
  });

  it("promises only what is on the disk: a write during a write waits for its own", async () => {
    const file = open();
    void file.write({ n: 1 });
    await file.write({ n: 2 });
    expect(open().read()).toEqual({ n: 2 });
    void file.write({ n: 3 });
    await file.flush();
    expect(open().read()).toEqual({ n: 3 });
    await file.flush();
  });

  it("answers the first caller although others never stop asking", async () => {
    const file = open();
    let asking = true;
    const others = (async () => { while (asking) await Promise.race([file.write({}), new Promise(setImmediate)]); })();
    await file.write({ n: 1 });
    asking = false;
    await others;
    await file.flush();
  });

  it("counts a state that is no JSON as unwritten", async () => {
    const file = open();
    await file.write({ n: 1n });
    expect(file.counters).toEqual({ written: 0, unwritten: 1 });
    expect(said.map(({ event }) => event)).toEqual(["state.unwritten"]);
  });

  it("never rejects: says once per reason, counts each, and recovers", async () => {
    writeFileSync(join(folder, "sub"), "a file where the directory should be");
    const file = open();
    await file.write({ n: 1 });
    await file.write({ n: 2 });
    expect(file.counters).toEqual({ written: 0, unwritten: 2 });
    expect(said.map(({ event }) => event)).toEqual(["state.unwritten"]);
    rmSync(join(folder, "sub"));
    await file.write({ n: 3 });
    expect(open().read()).toEqual({ n: 3 });
    rmSync(join(folder, "sub"), { recursive: true });
    writeFileSync(join(folder, "sub"), "again");
    await file.write({ n: 4 });
    expect(said.map(({ event }) => event)).toEqual(["state.unwritten", "state.unwritten"]);
  });

  it("survives a path that is a directory", async () => {
    mkdirSync(path(), { recursive: true });
    chmodSync(path(), 0o700);
    expect(open().read()).toBeUndefined();
    expect(said.map(({ event }) => event)).toEqual(["state.damaged"]);
    await open().write({ n: 1 });
    expect(open().read()).toEqual({ n: 1 });
  });
});

describe("a note", () => {
  const notePath = (): string => join(folder, "memory", "state.json");
  const withNotes = (): StateFile => stateFile({ path: path(), notePath: notePath(), emit: (event, fields) => { said.push({ event, fields }); } });

  it("is what the next life reads, until a write that is newer is on the disk", async () => {
    const file = withNotes();
    await file.write({ n: 1 });
    await file.note({ n: 2 });
    expect([withNotes().read(), open().read()]).toEqual([{ n: 2 }, { n: 1 }]);
    await file.write({ n: 3 });
    expect(withNotes().read()).toEqual({ n: 3 });
    expect(existsSync(notePath())).toBe(false);
  });

  it("that came after a write had begun stays", async () => {
    const file = withNotes();
    const writing = file.write({ n: 1 });
    await file.note({ n: 2 });
    await writing;
    expect(withNotes().read()).toEqual({ n: 2 });
    await file.write({ n: 3 });
    expect(existsSync(notePath())).toBe(false);
  });

  it("that is torn is passed over: the file stands", async () => {
    await withNotes().write({ n: 1 });
    mkdirSync(join(folder, "memory"));
    writeFileSync(notePath(), encodeState({ n: 2 }).slice(0, -5));
    expect(withNotes().read()).toEqual({ n: 1 });
    expect(said).toEqual([]);
  });

  it("that cannot be taken is a write, and leaves no older note", async () => {
    const file = withNotes();
    await file.note({ n: 1 });
    mkdirSync(`${notePath()}.new`);
    await file.note({ n: 2 });
    expect([existsSync(notePath()), withNotes().read()]).toEqual([false, { n: 2 }]);
  });

  it("without a place for it is a write", async () => {
    await open().note({ n: 1 });
    expect(open().read()).toEqual({ n: 1 });
  });
});
