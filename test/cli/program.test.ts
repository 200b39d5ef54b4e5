/** The face of the command line: help that names everything, mistakes that say what to do. */
import { describe, expect, test } from "@jest/globals";
import { table, span } from "../../src/cli/table.ts";
import { flannelNp } from "./fake-operator.ts";

describe("help", () => {
  test("names every verb", async () => {
    const { exit, out } = await flannelNp(["--help"]);
    for (const verb of ["status", "reconcile", "plan", "events", "build", "lab", "test", "bench"]) expect(out).toMatch(new RegExp(`^  ${verb} `, "m"));
    expect(exit).toBe(0);
  });

  test.each(["status", "reconcile", "plan", "events"])("%s --help names its options and exit status", async (verb) => {
    const { exit, out } = await flannelNp([verb, "--help"]);
    for (const option of ["--socket", "--node", "--lab", "--output", "Exit status"]) expect(out).toContain(option);
    expect(exit).toBe(0);
  });
});

describe("mistakes", () => {
  test("an unknown verb, option or choice: exit 2 and a way on", async () => {
    for (const args of [["nonsense"], ["status", "--nonsense"], ["status", "-o", "xml"], ["events", "--level", "loud"]]) {
      const { exit, out, err } = await flannelNp(args);
      expect({ exit, out }).toEqual({ exit: 2, out: "" });
      expect(err).toContain("--help");
    }
  });

  test("a verb of the launcher says where it is", async () => {
    expect(await flannelNp(["lab", "up", "--nodes", "2"])).toMatchObject({ exit: 2, err: expect.stringContaining("./flannel-np lab --help") });
  });
});

describe("tables", () => {
  test("columns line up; no cell breaks a line or is empty", () => {
    expect(table(["A", "LONG"], [["x\ny", ""], ["longer", "z"]])).toBe("A       LONG\nx y     -\nlonger  z\n");
  });

  test("spans of time", () => {
    expect([0, 3_000, 119_000, 180_000, 7_200_000, 200_000_000, -5].map(span)).toEqual(["0 s", "3 s", "119 s", "3 min", "2 h", "2 d", "0 s"]);
  });
});
