/**
 * One `ip -json -batch` that stays: a look at links and routes costs a write to a pipe instead of the start of a program.
 *
 * In:  the commands that an adapter would run.  Out: what a program of their own would have answered.
 * Rule: only looks that name no link go to the resident: iproute2 keeps the number that a name once had (lib/ll_map.c), and a
 *       link made again under its old name would not be seen. A look with any complaint is repeated by a fresh program, the
 *       resident is renewed every minute, and one that does not answer at once is given up for as long.
 *       One job at a time. The end of a job is told on both streams: by a route to an address of loopback that only this job
 *       asks for, and by a link that does not exist (iproute2 6.1 and 6.15 flush after each line).
 */
import type { Command, Exec, Output, RunningProcess, StartProcess } from "./exec.ts";

const NO_LINK = "fnp-end-of-look";
const NO_LINK_SAID = `Device "${NO_LINK}" does not exist.`;
const MAX_AGE_MS = 60_000;
/** The kernel answers in milliseconds; whoever reads all of its input first never will. */
const PATIENCE_MS = 2_000;
/** Two streams of one program: what it wrote first may be read last. */
const GRACE_MS = 100;

interface Job { readonly end: string; readonly out: string[]; readonly complaints: string[]; outEnded: boolean; errEnded: boolean; done(): void }
interface Resident { readonly process: RunningProcess; readonly bornMs: number; job: Job | undefined }

export interface ResidentIp { readonly exec: Exec; close(): void }

/** `now`: milliseconds of any clock that only goes forward. One resident per list of options; `details`: the looks are those with -details. */
export function residentIp(start: StartProcess, exec: Exec, now: () => number, { details = false } = {}): ResidentIp {
  const options = details ? ["-json", "-details"] : ["-json"];
  let resident: Resident | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let count = 0;
  let silentUntilMs = 0;
  const retire = (): void => {
    resident?.process.kill("SIGKILL");
    resident = undefined;
  };
  const look = async (command: Command, signal: AbortSignal): Promise<Output> => {
    if (now() < silentUntilMs) return exec(command, signal);
    if (resident !== undefined && now() - resident.bornMs > MAX_AGE_MS) retire();
    resident ??= born(start, [...options, "-force", "-batch", "-"], now(), (gone) => { if (resident === gone) resident = undefined; });
    count = (count + 1) % 65_536;
    const answer = await ask(resident, command, `127.77.${count >> 8}.${count & 255}`, signal);
    if (answer === "silence" || answer === "gone") retire();
    if (answer === "silence") silentUntilMs = now() + MAX_AGE_MS;
    return typeof answer === "object" ? answer : exec(command, signal);
  };
  return {
    exec: (command, signal) => {
      if (!isLook(command, options)) return exec(command, signal);
      const answer = last.then(() => look(command, signal));
      last = answer.catch(() => undefined);
      return answer;
    },
    close: retire,
  };
}

/** With or without -force: a look with a complaint is repeated as it was asked for. */
const isLook = ({ file, args, netns, stdin = "" }: Command, options: readonly string[]): boolean =>
  !/ dev /.test(stdin) && file === "ip" && netns === undefined && args.filter((arg) => arg !== "-force").join(" ") === [...options, "-batch", "-"].join(" ");

function born(start: StartProcess, args: readonly string[], bornMs: number, gone: (resident: Resident) => void): Resident {
  const process = start({
    file: "ip", args, input: true,
    onStdout: (line) => { hear(resident.job, line, "out"); },
    onStderr: (line) => { hear(resident.job, line, "err"); },
  });
  const resident: Resident = { process, bornMs, job: undefined };
  void process.exited.then(() => {
    gone(resident);
    resident.job?.done();
  });
  return resident;
}

function hear(job: Job | undefined, line: string, stream: "out" | "err"): void {
  if (job === undefined) return;
  if (stream === "out") {
    if (line.includes(`"dst":"${job.end}"`)) job.outEnded = true;
    else job.out.push(line);
  } else if (line === NO_LINK_SAID) job.errEnded = true;
  else if (!job.errEnded) job.complaints.push(line);
  if (job.errEnded && job.outEnded) job.done();
  // Where loopback is down even the end is a complaint, and never comes on the other stream.
  else if (job.errEnded && job.complaints.length > 0) setTimeout(job.done, GRACE_MS);
}

/** `complaint`: some line failed, so its answer may be of a link that is no more. `silence`: it lives and says nothing. */
async function ask(resident: Resident, { stdin = "", timeoutMs }: Command, end: string, signal: AbortSignal): Promise<Output | "complaint" | "silence" | "gone"> {
  const job: Job = { end, out: [], complaints: [], outEnded: false, errEnded: false, done: () => undefined };
  const ended = new Promise<void>((resolve) => { job.done = resolve; });
  let late = false;
  const patience = setTimeout(() => { late = true; job.done(); }, Math.min(timeoutMs, PATIENCE_MS));
  const giveUp = (): void => job.done();
  signal.addEventListener("abort", giveUp, { once: true });
  resident.job = job;
  resident.process.write(`${stdin}route get ${end}\nlink show dev ${NO_LINK}\n`);
  await ended;
  clearTimeout(patience);
  signal.removeEventListener("abort", giveUp);
  if (!job.errEnded || !job.outEnded) return late ? "silence" : "gone";
  return job.complaints.length > 0 ? "complaint" : { exitCode: 0, stdout: job.out.map((line) => `${line}\n`).join(""), stderr: "" };
}
