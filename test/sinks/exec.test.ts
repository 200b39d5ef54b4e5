/** Running programs: what is an answer, what is an error, and that nothing is left running. */
import { existsSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import type { NetnsPath } from "../../src/core/ids.ts";
import { expectSuccess, runCommand, spawnLines, startProcess, type Command } from "../../src/sinks/exec.ts";

const never = new AbortController().signal;
const run = (file: string, args: readonly string[], more: Partial<Command> = {}): ReturnType<typeof runCommand> =>
  runCommand({ file, args, timeoutMs: 30_000, ...more }, never);
const failure = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => "no failure", (error: unknown) => error);

describe("a command", () => {
  it("answers with exit code and both streams, byte for byte", async () => {
    expect(await run("sh", ["-c", "cat; echo no >&2; exit 3"], { stdin: "a\n\n" })).toEqual({ exitCode: 3, stdout: "a\n\n", stderr: "no\n" });
  });
  it("gets C locale and PATH, and nothing of our own environment", async () => {
    const { stdout } = await run("env", []);
    expect(stdout.split("\n").map((line) => line.split("=")[0]).filter((name) => name !== "").sort()).toEqual(["LC_ALL", "PATH"]);
    expect(stdout).toContain("LC_ALL=C\n");
  });
  it("takes its arguments as they are: there is no shell", async () => {
    expect((await run("printf", ["%s|", "$HOME", "; false", "a b"])).stdout).toBe("$HOME|; false|a b|");
  });
  it("may end before it has read its input", async () => {
    expect(await run("true", [], { stdin: "x".repeat(1_000_000) })).toMatchObject({ exitCode: 0 });
  });
  it("that is not installed is unsupported, and the cure names the package", async () => {
    expect(await failure(run("iptables-absent-save", []))).toMatchObject({ code: "unsupported", message: "Cannot run iptables-absent-save: it is not installed", cure: "Install the package iptables" });
  });
  it("that takes too long is ended", async () => {
    expect(await failure(run("sleep", ["600"], { timeoutMs: 50 }))).toMatchObject({ code: "timeout", message: "Cannot run sleep: no end after 50 ms" });
  });
  it("ends when its caller gives up", async () => {
    expect(await failure(runCommand({ file: "sleep", args: ["600"], timeoutMs: 600_000 }, AbortSignal.timeout(50)))).toMatchObject({ code: "timeout" });
    expect(await failure(runCommand({ file: "sleep", args: ["600"], timeoutMs: 600_000 }, AbortSignal.abort()))).toMatchObject({ code: "timeout" });
  });
  it("that somebody kills is unavailable", async () => {
    expect(await failure(run("sh", ["-c", "kill -9 $$"]))).toMatchObject({ code: "unavailable", message: "Cannot run sh: killed by SIGKILL" });
  });
  it("in a namespace that is gone is not found", async () => {
    expect(await failure(run("true", [], { netns: "/run/netns/is-not-there" as NetnsPath }))).toMatchObject({ code: "not-found" });
  });
  it("whose success is needed says what went wrong", () => {
    const output = { exitCode: 2, stdout: "", stderr: "\nError: it is Monday\nmore\n" };
    expect(() => expectSuccess(output, "list the table")).toThrow(new OperatorError("unavailable", "Cannot list the table: Error: it is Monday"));
    expect(() => expectSuccess({ ...output, stderr: "" }, "list the table")).toThrow("Cannot list the table: exit code 2, no message");
    expect(expectSuccess({ ...output, exitCode: 0 }, "list the table")).toMatchObject({ exitCode: 0 });
  });
});

describe("a process", () => {
  it("hands over its lines before its end is told", async () => {
    const lines: string[] = [];
    const child = startProcess({
      file: "sh", args: ["-c", "echo one; echo $WORD; printf three; echo err >&2; exit 4"], env: { WORD: "two" },
      onStdout: (line) => lines.push(line), onStderr: (line) => lines.push(`! ${line}`),
    });
    expect(child.pid).toBeGreaterThan(1);
    expect(await child.exited).toEqual({ exitCode: 4 });
    expect(lines.sort()).toEqual(["! err", "one", "three", "two"]);
  });
  it("can be ended", async () => {
    const child = startProcess({ file: "sleep", args: ["600"] });
    child.kill();
    expect(await child.exited).toEqual({ signal: "SIGTERM" });
  });
  it("that is not installed has no pid and says so at its end", async () => {
    const child = startProcess({ file: "flanneld-absent", args: [] });
    expect(child.pid).toBeUndefined();
    expect((await child.exited).error).toMatchObject({ code: "unsupported" });
  });
});

describe("followed lines", () => {
  it("come one by one until nobody wants them; then the program is gone", async () => {
    const got: string[] = [];
    const pid = await new Promise<string>((resolve, reject) => {
      const stop = spawnLines("sh", ["-c", "echo $$; while :; do echo more; sleep 0.01; done"], {
        error: reject,
        next: (line) => {
          got.push(line);
          if (got.length === 3) { stop(); resolve(got[0] ?? ""); }
        },
      });
    });
    for (const deadline = Date.now() + 30_000; existsSync(`/proc/${pid}`) && Date.now() < deadline;) await new Promise((resolve) => { setTimeout(resolve, 10); });
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(got).toEqual([pid, "more", "more"]);
  });
  it("that end by themselves are an error with the program's first words", async () => {
    const error = await new Promise((resolve) => { spawnLines("sh", ["-c", "echo first >&2; echo second >&2; exit 1"], { next: () => undefined, error: resolve }); });
    expect(error).toMatchObject({ code: "unavailable", message: expect.stringMatching(/^Cannot follow sh -c .*: first$/) });
  });
});
