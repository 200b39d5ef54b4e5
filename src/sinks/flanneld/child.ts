/**
 * One life of one flanneld process.
 *
 * In:  a started process and its lines.  Out: is it ready, what does it complain of, how did it end.
 * Rule: exit code 0 proves nothing (a revoked lease, an unknown flag); whoever did not ask for the end calls it unexpected.
 */
import { explain } from "../../core/errors.ts";
import type { Emit } from "../../core/events.ts";
import type { Exit, ProcessSpec, RunningProcess, StartProcess } from "../exec.ts";
import { verdictOn, withoutSecrets } from "./log-lines.ts";
import type { FlanneldSpec, RunningFlanneld } from "./vocabulary.ts";

export interface ChildReports {
  readonly emit: Emit;
  readonly now: () => number;
  readonly secrets: readonly string[];
  /** Called when a restart is due: an unasked end, or a complaint. */
  readonly onTrouble: (child: Child) => void;
}

/** SIGTERM answers in 30 ms, but takes up to 50 s while a netlink call is being retried; SIGKILL leaves the same kernel state. */
const TERM_MS = 4_000;
/** Lines kept to explain an early end. */
const LAST_LINES = 3;

export class Child {
  readonly spec: FlanneldSpec;
  readonly startedAtMs: number;
  readonly #reports: ChildReports;
  readonly #lines: string[] = [];
  #process: RunningProcess | undefined;
  #ready = false;
  #complaint: string | undefined;
  #stopping = false;
  #end: Exit | undefined;
  #settled: () => void = () => undefined;
  /** Resolves when it is ready or has ended, whichever comes first. */
  readonly settled: Promise<void>;

  constructor(spec: FlanneldSpec, reports: ChildReports) {
    this.spec = spec;
    this.#reports = reports;
    this.startedAtMs = reports.now();
    this.settled = new Promise((resolve) => { this.#settled = resolve; });
  }

  start(startProcess: StartProcess, call: ProcessSpec): void {
    const onLine = (line: string): void => this.#read(line);
    const process = startProcess({ ...call, onStdout: onLine, onStderr: onLine });
    this.#process = process;
    if (process.pid !== undefined) this.#reports.emit("flanneld.started", { flannelId: this.spec.flannelId, pid: process.pid });
    void process.exited.then((end) => this.#ended(process.pid, end));
  }

  /** What `observe` shows; undefined once it has ended. */
  get running(): RunningFlanneld | undefined {
    const pid = this.#process?.pid;
    if (pid === undefined || this.#end !== undefined) return undefined;
    return {
      pid, startedAtMs: this.startedAtMs, spec: this.spec, ready: this.#ready,
      ...(this.#complaint === undefined ? {} : { complaint: this.#complaint }),
    };
  }

  /** How it ended and its last words; undefined while it lives. */
  get obituary(): string | undefined {
    if (this.#end === undefined) return undefined;
    if (this.#end.error !== undefined) return explain(this.#end.error);
    const how = this.#end.signal === undefined ? `exit code ${this.#end.exitCode ?? "unknown"}` : this.#end.signal;
    return `it ended with ${how} after saying: ${this.#lines.join(" | ") || "nothing"}`;
  }

  /** Resolves when the process has ended; nobody else may touch its device before. */
  async stop(): Promise<void> {
    const process = this.#process;
    if (process === undefined || this.#end !== undefined) return;
    this.#stopping = true;
    process.kill("SIGTERM");
    const timer = setTimeout(() => process.kill("SIGKILL"), TERM_MS);
    await process.exited;
    clearTimeout(timer);
  }

  #read(raw: string): void {
    const verdict = verdictOn(raw);
    if (verdict === "drop" || raw.trim() === "") return;
    const line = withoutSecrets(raw, this.#reports.secrets);
    const { flannelId } = this.spec;
    this.#lines.push(line);
    if (this.#lines.length > LAST_LINES) this.#lines.shift();
    const wanting = (verdict === "warn" || verdict === "restart") && !this.#stopping;
    this.#reports.emit(wanting ? "flanneld.warned" : "flanneld.log", { flannelId, line });
    if (verdict === "ready") {
      this.#ready = true;
      this.#settled();
    }
    if (verdict === "restart" && wanting && this.#complaint === undefined) {
      this.#complaint = line;
      this.#reports.onTrouble(this);
    }
  }

  #ended(pid: number | undefined, end: Exit): void {
    this.#end = end;
    const { emit, onTrouble } = this.#reports;
    const { exitCode, signal } = end;
    if (pid !== undefined) {
      emit("flanneld.exited", {
        flannelId: this.spec.flannelId, pid, expected: this.#stopping,
        ...(exitCode === undefined ? {} : { exitCode }), ...(signal === undefined ? {} : { signal }),
      });
    }
    this.#settled();
    if (!this.#stopping) onTrouble(this);
  }
}
