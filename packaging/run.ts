/**
 * Keeps true: every foreign command of the build is started here, with an argument list and never through a shell line,
 * and its failure carries what it printed last.
 * In: a command, its arguments. Out: its standard output. Rule: the only importer of execa below packaging/.
 */
import { execa, ExecaError } from "execa";

export interface RunOptions {
  readonly cwd?: string;
  /** added to the environment of this process */
  readonly env?: Readonly<Record<string, string>>;
  /** what the person at the keyboard should do when it fails */
  readonly cure?: string;
  /** some programs answer on standard error: return both */
  readonly both?: boolean;
  /** signal that ends it when the build ends early; SIGTERM unless told */
  readonly endBy?: "SIGKILL";
}

/** Lines of output kept in an error: enough for the cause, short enough to be read. */
const KEPT_LINES = 12;

/** Runs to the end and returns standard output; rejects with "Cannot run …" and the last lines printed. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  try {
    const result = await execa(command, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { LC_ALL: "C.UTF-8", ...options.env },
      stdin: "ignore",
      all: true,
      ...(options.endBy === undefined ? {} : { killSignal: options.endBy }),
    });
    return options.both === true ? result.all : result.stdout;
  } catch (cause) {
    throw new Error(failure(command, args, cause, options.cure), { cause });
  }
}

/** True when the program can be found in PATH. */
export async function hasProgram(name: string): Promise<boolean> {
  const result = await execa("sh", ["-c", 'command -v "$1"', "sh", name], { reject: false });
  return result.exitCode === 0;
}

function failure(command: string, args: readonly string[], cause: unknown, cure: string | undefined): string {
  const line = [command, ...args].join(" ");
  const shown = line.length > 160 ? `${line.slice(0, 157)}...` : line;
  const printed = cause instanceof ExecaError && typeof cause.all === "string" ? cause.all : "";
  const reason = printed.trim() === "" ? reasonOf(cause) : printed.trim().split("\n").slice(-KEPT_LINES).join("\n  ");
  return `Cannot run ${shown}: ${reason}${cure === undefined ? "" : `\n  Cure: ${cure}`}`;
}

function reasonOf(cause: unknown): string {
  if (cause instanceof ExecaError) return cause.shortMessage;
  return cause instanceof Error ? cause.message : String(cause);
}
