/** The state file on real parts: a full disk, and a writer that is killed in the middle. Needs root. */
import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeState, stateFile } from "../../src/sinks/state-file.ts";
import type { EventName } from "../../src/core/events.ts";

let folder: string;
let disk: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "state-"));
  disk = mkdtempSync(join(tmpdir(), "state-disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk]);
});
afterAll(() => {
  execFileSync("umount", [disk]);
  for (const path of [folder, disk]) rmSync(path, { recursive: true, force: true });
});

it("keeps the old state on a full disk, says so once, and writes again when there is room", async () => {
  const said: EventName[] = [];
  const path = join(disk, "state.json");
  const file = stateFile({ path, emit: (event) => { said.push(event); } });
  await file.write({ n: 1 });
  const big = "x".repeat(300_000);
  await file.write({ n: 2, big });
  await file.write({ n: 3, big });
  expect(file.counters).toEqual({ written: 1, unwritten: 2 });
  expect(said).toEqual(["state.unwritten"]);
  expect(readdirSync(disk)).toEqual(["state.json"]);
  expect(file.read()).toEqual({ n: 1 });
  await file.write({ n: 4 });
  expect(file.read()).toEqual({ n: 4 });
});

it("is whole whenever its writer is killed", async () => {
  const path = join(folder, "state.json");
  const program = join(folder, "writer.mts");
  const sink = new URL("../../src/sinks/state-file.ts", import.meta.url).pathname;
  writeFileSync(program, `import { stateFile } from ${JSON.stringify(sink)};
    const file = stateFile({ path: ${JSON.stringify(path)}, emit: () => undefined });
    for (let n = 0; ; n++) await file.write({ n, fill: "x".repeat(n % 50_000) });`);
  for (let round = 0; round < 8; round++) {
    rmSync(path, { force: true });
    const writer = spawn(process.execPath, ["--import", "tsx", program], { stdio: "ignore" });
    const ended = new Promise((resolve) => writer.once("exit", resolve));
    for (const end = Date.now() + 20_000; !existsSync(path) && Date.now() < end;) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 5 * round));
    writer.kill("SIGKILL");
    await ended;
    expect(decodeState(readFileSync(path, "utf8"))).toHaveProperty("state");
  }
}, 120_000);
