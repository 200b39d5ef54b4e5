/**
 * Runs other programs: the only importer of execa.
 *
 * In:  `Command` values.  Out: `Output`, lines, or a running process.
 * Rule: no shell, ever; C locale and a fixed PATH, because adapters read what the tools print; nothing of our own environment
 *       reaches a child. An exit code is an answer, not an error: the adapter that knows the tool judges it.
 */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { execa, type Result } from "execa";
import { OperatorError } from "../core/errors.ts";
import type { NetnsPath } from "../core/ids.ts";

/** One call of a program; printing it shows exactly what would run. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly stdin?: string;
  /** Run inside this network namespace. */
  readonly netns?: NetnsPath;
  readonly timeoutMs: number;
}

export interface Output { readonly exitCode: number; readonly stdout: string; readonly stderr: string }

/**
 * Rejects with `unsupported` when the program is not installed, `timeout` when it took too long or the signal fired,
 * `not-found` when the namespace is gone, `unavailable` when it was killed. Any exit code resolves.
 */
export type Exec = (command: Command, signal: AbortSignal) => Promise<Output>;

const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };

/** nsenter's own words (util-linux 2.38), told apart from those of the program it starts. */
const NSENTER_NO_PROGRAM = /^nsenter: failed to execute /;
const NSENTER_NO_NAMESPACE = /^nsenter: (cannot open|reassociate to namespace) /;

export const runCommand: Exec = async (command, signal) => {
  const { file, args } = placed(command);
  // Starting a program holds this thread up for milliseconds: answers that are ready leave first.
  await new Promise((go) => { setImmediate(go); });
  const result = await execa(file, args, {
    reject: false, extendEnv: false, env: ENVIRONMENT, stripFinalNewline: false, cancelSignal: signal,
    timeout: command.timeoutMs, killSignal: "SIGKILL", ...stdinOf(command),
  });
  return judge(command, result);
};

const stdinOf = ({ stdin }: Command): { stdin: "ignore" } | { input: string } => (stdin === undefined ? { stdin: "ignore" } : { input: stdin });

/** The argument list to start: with a namespace, nsenter goes in front. */
function placed({ file, args, netns }: Command): { file: string; args: readonly string[] } {
  return netns === undefined ? { file, args } : { file: "nsenter", args: [`--net=${netns}`, "--", file, ...args] };
}

type Ended = Pick<Result, "timedOut" | "isCanceled" | "exitCode" | "code" | "signal"> & { readonly stdout?: unknown; readonly stderr?: unknown };

function judge(command: Command, result: Ended): Output {
  const { file } = command;
  const fail = (code: "unsupported" | "timeout" | "not-found" | "unavailable", reason: string, cure?: string): never => {
    throw new OperatorError(code, `Cannot run ${file}: ${reason}`, { context: { args: command.args }, ...(cure === undefined ? {} : { cure }) });
  };
  const stderr = text(result.stderr);
  if (result.timedOut) return fail("timeout", `no end after ${command.timeoutMs} ms`);
  if (result.isCanceled) return fail("timeout", "its caller gave up waiting");
  if (result.code === "ENOENT" || NSENTER_NO_PROGRAM.test(stderr)) return fail("unsupported", "it is not installed", installCure(file));
  if (command.netns !== undefined && NSENTER_NO_NAMESPACE.test(stderr)) return fail("not-found", `no network namespace at ${command.netns}`);
  if (result.exitCode === undefined) return fail("unavailable", result.signal === undefined ? `it did not start (${result.code ?? "no reason given"})` : `killed by ${result.signal}`);
  return { exitCode: result.exitCode, stdout: text(result.stdout), stderr };
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** Debian's package of each program an adapter calls. */
const PACKAGES: Readonly<Record<string, string>> = {
  "ip": "iproute2", "nft": "nftables", "conntrack": "conntrack", "ipvsadm": "ipvsadm", "nsenter": "util-linux",
};

function installCure(file: string): string {
  const name = file.slice(file.lastIndexOf("/") + 1);
  const owner = PACKAGES[name] ?? (name.startsWith("iptables") ? "iptables" : name);
  return `Install the package ${owner}`;
}

/** The output of a call that must have succeeded; rejects with `unavailable` or `denied` and what the program said. `doing`: "list the table fnp". */
export function expectSuccess(output: Output, doing: string): Output {
  if (output.exitCode === 0) return output;
  const reason = firstLine(output);
  throw new OperatorError(isDenied(reason) ? "denied" : "unavailable", `Cannot ${doing}: ${reason}`, {
    context: { exitCode: output.exitCode, stderr: output.stderr }, ...(isDenied(reason) ? { cure: NEEDS_NET_ADMIN } : {}),
  });
}

/** EPERM, as iproute2, nft and iptables spell it. */
export const isDenied = (reason: string): boolean => reason.includes("Operation not permitted");
export const NEEDS_NET_ADMIN = "Give the plugin CAP_NET_ADMIN: install it again with all it asks for";

function firstLine({ stderr, exitCode }: Output): string {
  const line = stderr.split("\n").find((candidate) => candidate.trim() !== "");
  return line === undefined ? `exit code ${exitCode}, no message` : line.trim();
}

/** What a long-lived child is started with; its environment is exactly `env` beside PATH and the C locale. */
export interface ProcessSpec {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly netns?: NetnsPath;
  /** True: the child reads what `write` sends. */
  readonly input?: boolean;
  /** One call per line, without its end. */
  readonly onStdout?: (line: string) => void;
  readonly onStderr?: (line: string) => void;
}

/** `error` is set when the program could not be started at all; then there never was a pid. */
export interface Exit { readonly exitCode?: number; readonly signal?: string; readonly error?: OperatorError }

export interface RunningProcess {
  /** Undefined when it could not be started; `exited` then says why. */
  readonly pid: number | undefined;
  /** Never rejects; resolves after the last line was handed over. */
  readonly exited: Promise<Exit>;
  /** To its standard input; of a child that has gone or has none nothing is said: `exited` tells. */
  write(text: string): void;
  /** Default SIGTERM, and SIGKILL 5 s later if it lives on. */
  kill(signal?: NodeJS.Signals): void;
}

export type StartProcess = (spec: ProcessSpec) => RunningProcess;

export const startProcess: StartProcess = (spec) => {
  const { file, args } = placed({ ...spec, timeoutMs: 0 });
  const child = execa(file, args, {
    reject: false, extendEnv: false, env: { ...ENVIRONMENT, ...spec.env }, stdin: spec.input === true ? "pipe" : "ignore", buffer: false,
  });
  child.stdin?.on("error", () => undefined);
  const drained = [eachLine(child.stdout, spec.onStdout), eachLine(child.stderr, spec.onStderr)];
  const exited = Promise.all([child, ...drained]).then(([result]) => exitOf(spec, result));
  return { pid: child.pid, exited, write: (text) => void child.stdin?.write(text), kill: (signal = "SIGTERM") => void child.kill(signal) };
};

/** Resolves at the end of the stream; without a callback the lines are read and dropped, so that the child never blocks. */
function eachLine(stream: Readable, onLine: ((line: string) => void) | undefined): Promise<void> {
  const lines = createInterface({ input: stream, crlfDelay: Infinity });
  if (onLine !== undefined) lines.on("line", onLine);
  else lines.resume();
  return new Promise((resolve) => lines.once("close", () => resolve()));
}

function exitOf(spec: ProcessSpec, result: Ended): Exit {
  if (result.exitCode !== undefined) return { exitCode: result.exitCode };
  if (result.signal !== undefined) return { signal: result.signal };
  const reason = result.code === "ENOENT" ? "it is not installed" : `it did not start (${result.code ?? "no reason given"})`;
  return { error: new OperatorError("unsupported", `Cannot run ${spec.file}: ${reason}`, { cure: installCure(spec.file) }) };
}

/** The part of an rxjs Subscriber that a stream of lines needs, so that one can be handed in as it is. */
export interface LineObserver { next(line: string): void; error(error: OperatorError): void }

/**
 * Lines of a program that never ends by itself (`ip monitor`, `nft monitor`), warnings too. Its end is an error: `unavailable`, or
 * `unsupported` when it is not installed. The returned function ends the child and the calls:
 * `new Observable<string>((subscriber) => spawnLines("ip", ["monitor"], subscriber))`.
 */
export function spawnLines(file: string, args: readonly string[], observer: LineObserver, netns?: NetnsPath): () => void {
  let wanted = true;
  let complaint = "";
  const child = startProcess({
    file, args, ...(netns === undefined ? {} : { netns }),
    onStdout: (line) => { if (wanted) observer.next(line); },
    onStderr: (line) => {
      if (complaint === "") complaint = line;
      if (wanted) observer.next(line);
    },
  });
  void child.exited.then((exit) => {
    if (!wanted) return;
    const reason = complaint === "" ? `it ended with ${exit.signal ?? `exit code ${exit.exitCode ?? "unknown"}`}` : complaint;
    observer.error(exit.error ?? new OperatorError("unavailable", `Cannot follow ${file} ${args.join(" ")}: ${reason}`));
  });
  return () => { wanted = false; child.kill(); };
}
