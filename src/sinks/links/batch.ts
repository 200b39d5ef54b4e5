/**
 * `ip -force -batch`: many changes in one process, judged line by line.
 *
 * In:  lines, each with what may be said against it without harm.  Out: the lines that failed for other reasons.
 * Rule: a failing line never keeps later lines from being tried: one broken endpoint must not hold up the others.
 */
import { OperatorError, type ErrorCode } from "../../core/errors.ts";
import { expectSuccess, isDenied, NEEDS_NET_ADMIN, type Exec } from "../exec.ts";

/** One line for `ip -batch`; an error text that matches `harmless` means the wanted state was there before. */
export interface BatchLine { readonly text: string; readonly harmless?: RegExp }
export interface BatchFailure { readonly text: string; readonly reason: string }

/** Longest time one batch may take; 1,000 veth pairs take about a second. */
const TIMEOUT_MS = 20_000;

/** iproute2 6.1: errors of the kernel and its own, each followed by `Command failed -:LINE`, lines counted from 1. */
export function parseFailures(stderr: string, lines: readonly BatchLine[]): BatchFailure[] {
  const failures: BatchFailure[] = [];
  let said: string[] = [];
  for (const line of stderr.split("\n")) {
    const number = /^Command failed -:(\d+)$/.exec(line)?.[1];
    if (number === undefined) {
      if (line.trim() !== "") said.push(line.replace(/^(Error|RTNETLINK answers): /, "").trim());
      continue;
    }
    const failed = lines[Number(number) - 1];
    const reason = said.join("; ");
    said = [];
    if (failed !== undefined && failed.harmless?.test(reason) !== true) failures.push({ text: failed.text, reason });
  }
  return failures;
}

/** Runs the lines and rejects if any failed, after all were tried; the other failures are in the error's context. */
export async function runBatch(exec: Exec, lines: readonly BatchLine[], signal: AbortSignal): Promise<void> {
  if (lines.length === 0) return;
  const failures = await tryBatch(exec, lines, signal);
  const [first] = failures;
  if (first === undefined) return;
  throw failed(first, failures);
}

async function tryBatch(exec: Exec, lines: readonly BatchLine[], signal: AbortSignal): Promise<readonly BatchFailure[]> {
  const stdin = lines.map(({ text }) => `${text}\n`).join("");
  const output = await exec({ file: "ip", args: ["-force", "-batch", "-"], stdin, timeoutMs: TIMEOUT_MS }, signal);
  const understood = /^Command failed -:\d+$/m.test(output.stderr);
  if (output.exitCode !== 0 && !understood) expectSuccess(output, "change links and routes");
  return parseFailures(output.stderr, lines);
}

const failed = (first: BatchFailure, failures: readonly BatchFailure[]): OperatorError =>
  new OperatorError(codeOf(first), `Cannot do \`ip ${first.text}\`: ${first.reason}`, { context: { failures }, ...(isDenied(first.reason) ? { cure: NEEDS_NET_ADMIN } : {}) });

/** Texts of Linux 6.x through iproute2 6.1. */
function codeOf({ reason }: BatchFailure): ErrorCode {
  if (isDenied(reason)) return "denied";
  if (/Cannot find device/.test(reason)) return "not-found";
  if (/File exists/.test(reason)) return "exists";
  return "unavailable";
}

/** `show` lines in one process: one JSON document per line that worked; a line whose error is harmless has none. */
export async function showBatch(exec: Exec, lines: readonly BatchLine[], signal: AbortSignal): Promise<readonly unknown[]> {
  const stdin = lines.map(({ text }) => `${text}\n`).join("");
  const output = await exec({ file: "ip", args: ["-json", "-force", "-batch", "-"], stdin, timeoutMs: TIMEOUT_MS }, signal);
  const [failure] = parseFailures(output.stderr, lines);
  if (failure !== undefined) throw failed(failure, [failure]);
  if (output.exitCode !== 0 && !/^Command failed -:\d+$/m.test(output.stderr)) expectSuccess(output, "look at links and routes");
  return output.stdout.split("\n").filter((line) => line.trim() !== "").map(parseDocument);
}

function parseDocument(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (error) {
    throw new OperatorError("unavailable", `Cannot read the output of ip: ${line.slice(0, 80)} is not JSON`, { cause: error });
  }
}
