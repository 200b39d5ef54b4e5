/**
 * Keeps true: the lab starts programs in one place, without a shell, in the C locale.
 * In: program, arguments, options. Out: exit code and texts, or a LabError that quotes stderr.
 * Rule: `run` never throws over an exit code, `must` always does.
 */
import { execa } from "execa";
import { LabError } from "./errors.ts";

export interface Output {
  /** 128 + n when signal n ended the program; 127 when it could not be started; 124 when it took longer than timeoutMs. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  /** Default 120,000. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** True: the program shares this process' stdin, stdout and stderr, and nothing is returned of them. */
  readonly interactive?: boolean;
}

const SIGNALS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGTERM: 15 };

/** Runs a program to its end. */
export async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
  const stdio = options.interactive ? "inherit" : "pipe";
  const result = await execa(file, [...args], {
    reject: false, stripFinalNewline: false, env: { LC_ALL: "C", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? { stdin: options.interactive ? "inherit" as const : "ignore" as const } : { input: options.input }),
    stdout: stdio, stderr: stdio,
    ...(options.interactive ? {} : { timeout: options.timeoutMs ?? 120_000, killSignal: "SIGKILL" as const }),
  });
  const exitCode = result.timedOut ? 124 : result.exitCode ?? (result.signal === undefined ? 127 : 128 + (SIGNALS[result.signal] ?? 0));
  const stderr = result.stderr ?? "";
  return { exitCode, stdout: result.stdout ?? "", stderr: exitCode === 127 && stderr === "" ? result.shortMessage ?? "" : stderr };
}

/** Runs a program that has to succeed; `what` completes "Cannot …". Returns its stdout. */
export async function must(what: string, file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const output = await run(file, args, options);
  if (output.exitCode === 0) return output.stdout;
  const reason = output.stderr.trim().split("\n").slice(-6).join("\n") || `${file} ended with exit code ${output.exitCode}`;
  throw new LabError(`Cannot ${what}: ${reason}`, `the command was: ${[file, ...args].join(" ")}`);
}
