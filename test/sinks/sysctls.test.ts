/** Settings of the kernel: absent ones are undefined, unwritable ones are denied with a cure. */
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { sysctlsBelow } from "../../src/sinks/sysctls.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "sysctls-"));
  mkdirSync(join(root, "net"));
  writeFileSync(join(root, "net", "forward"), "0\n");
});
afterEach(() => { rmSync(root, { recursive: true }); });

it("are read in order, an absent one is undefined", async () => {
  expect(await sysctlsBelow(root).read(["net/absent", "net/forward"])).toEqual([undefined, "0"]);
});
it("are written; an absent one is not made", async () => {
  await sysctlsBelow(root).write([["net/forward", "1"], ["net/absent", "1"]]);
  expect(await sysctlsBelow(root).read(["net/forward", "net/absent"])).toEqual(["1", undefined]);
  expect(readFileSync(join(root, "net", "forward"), "utf8")).toMatch(/^1/);
});
it("that cannot be read are unavailable, not absent", async () => {
  await expect(sysctlsBelow(root).read(["net"])).rejects.toThrow(/^Cannot read .*: EISDIR$/);
});
it("that cannot be written are an error", async () => {
  await expect(sysctlsBelow(root).write([["net", "1"]])).rejects.toMatchObject({ code: "unavailable" });
});
