/**
 * Keeps true: a virtual machine is two processes of this one, the emulator and its end of the wire; both begin and end together.
 * In: hardware, files for /lab. Out: its life, commands run in it, what its console says.
 * Rule: what runs is asked of the kernel: a noted pid counts only while its command line names this machine.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createConnection } from "node:net";
import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { LabError } from "../errors.ts";
import { run } from "../run.ts";
import type { Output, RunOptions } from "../run.ts";
import { until } from "../wait.ts";
import { FILE, FOLDER, PROGRAM, cpio } from "./cpio.ts";
import { emulatorRoot, programOf, wireTool } from "./images.ts";
import type { KernelFiles } from "./images.ts";
import { emulatorArguments } from "./plan.ts";
import type { Drive, Hardware } from "./plan.ts";

const MACHINE = fileURLToPath(new URL("inside/machine", import.meta.url));
/** A console that holds one of these belongs to a kernel that failed. */
export const FAILURES = /Kernel panic|Oops:|BUG:|Dead loop|rcu: INFO: rcu_sched self-detected stall|soft lockup/;

export interface MachineSpec {
  readonly name: string;
  readonly memoryMb: number;
  readonly kernel: KernelFiles;
  readonly drives: readonly Drive[];
  readonly tap?: Hardware["tap"];
  /** Sockets, pid files. */
  readonly folder: string;
  readonly logs: string;
  /** Variables of /lab/env. */
  readonly env: Readonly<Record<string, string>>;
  /** Programs for /lab beside `machine` and `wire`. */
  readonly programs: Readonly<Record<string, string>>;
  /** Sockets in the guest → their names below `folder` here. */
  readonly sockets?: Readonly<Record<string, string>>;
  /** Put in front of both processes: where they stand. */
  readonly launch: () => Promise<readonly string[]>;
  /** False: they end with their caller at the latest. */
  readonly detached: boolean;
}

export class Machine {
  readonly #spec: MachineSpec;
  readonly #progress: (line: string) => void;
  #wire = "";

  constructor(spec: MachineSpec, progress: (line: string) => void = () => undefined) { [this.#spec, this.#progress] = [spec, progress]; }

  get console(): string { return `${this.#spec.logs}/console.log`; }
  socket(name: string): string { return `${this.#spec.folder}/${name}`; }

  /** The emulator's pid, undefined while the machine is off. */
  async pid(): Promise<number | undefined> {
    const pid = Number((await readFile(`${this.#spec.folder}/emulator.pid`, "utf8").catch(() => "")).trim());
    if (!(pid > 1)) return undefined;
    const words = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
    return words[words.indexOf("-name") + 1] === this.#spec.name ? pid : undefined;
  }

  /** Finds the tools that an earlier process used. */
  async attach(): Promise<boolean> {
    this.#wire = await wireTool(this.#progress);
    return await this.pid() !== undefined;
  }

  /** Switches it on; resolves when commands run in it. */
  async start(timeoutMs = 120_000): Promise<void> {
    const { folder, logs } = this.#spec;
    await Promise.all([mkdir(folder, { recursive: true }), mkdir(logs, { recursive: true })]);
    for (const name of ["emulator.pid", "wire.sock", "monitor.sock", "exec.sock"]) await rm(`${folder}/${name}`, { force: true });
    const root = await emulatorRoot(this.#progress);
    this.#wire = await wireTool(this.#progress);
    const initrd = await this.#initrd();
    const emulator = [...programOf(root, "qemu-system-x86_64", "/usr/bin/qemu-system-x86_64"), "-L", `${root}/usr/share/qemu`, "-L", `${root}/usr/share/seabios`,
      ...emulatorArguments({ ...this.#spec, kernel: this.#spec.kernel.vmlinuz, initrd }), "-pidfile", `${folder}/emulator.pid`];
    const child = await this.#launch(emulator);
    const sockets = Object.entries(this.#spec.sockets ?? {}).map(([guest, name]) => `${guest}=${folder}/${name}`);
    await this.#launch([this.#wire, "host", `${folder}/wire.sock`, `exec=${folder}/exec.sock`, ...sockets]);
    await until({ what: `boot ${this.#spec.name}`, timeoutMs, cure: `look at ${this.console} and ${logs}/boot.log` }, async () => {
      if (child.exitCode !== null) throw new Error((await readFile(`${logs}/boot.log`, "utf8")).trim().split("\n").slice(-3).join("; "));
      return (await this.exec(["true"], { timeoutMs: 5_000 })).exitCode === 0 ? true : undefined;
    });
  }

  /** The kernel's own initrd, and behind it what this machine is told at this boot. */
  async #initrd(): Promise<string> {
    const { kernel, env, programs, folder } = this.#spec;
    const lines = Object.entries(env).map(([name, value]) => `${name}='${value.replaceAll("'", "'\\''")}'\n`);
    const files = Object.entries({ machine: await readFile(MACHINE), wire: await readFile(this.#wire), ...programs });
    const own = cpio([{ name: "lab", mode: FOLDER }, { name: "lab/env", mode: FILE, content: lines.join("") },
      ...files.map(([name, content]) => ({ name: `lab/${name}`, mode: PROGRAM, content }))]);
    await writeFile(`${folder}/initrd`, Buffer.concat([await readFile(kernel.initrd), own]));
    return `${folder}/initrd`;
  }

  async #launch(argv: readonly string[]): Promise<ChildProcess> {
    const log = await open(`${this.#spec.logs}/boot.log`, "a");
    const [file = "", ...args] = [...await this.#spec.launch(), ...(this.#spec.detached ? [] : ["setpriv", "--pdeathsig", "KILL"]), ...argv];
    const child = spawn(file, args, { detached: this.#spec.detached, stdio: ["ignore", log.fd, log.fd] });
    await log.close();
    if (this.#spec.detached) child.unref();
    child.once("error", () => undefined);
    return child;
  }

  /** The argument list that runs a command in the machine: for a shell here or a child of ours. */
  inside(argv: readonly string[], env: Readonly<Record<string, string>> = {}): readonly string[] {
    return [this.#wire, "exec", this.socket("exec.sock"), ...Object.entries(env).map(([name, value]) => `${name}=${value}`), "--", ...argv];
  }

  async exec(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
    const [file = "", ...args] = this.inside(argv, options.env);
    return run(file, args, { ...options, env: {} });
  }

  /** Tells the emulator's monitor one command; resolves when it has been carried out. */
  async monitor(command: string): Promise<void> {
    const socket = createConnection(this.socket("monitor.sock"));
    let seen = "";
    await new Promise<void>((resolve, reject) => {
      socket.setTimeout(20_000, () => reject(new LabError(`Cannot tell ${this.#spec.name} "${command}": its monitor does not answer`, "repeat the command")));
      socket.once("error", reject).once("close", () => resolve());
      socket.on("data", (bytes) => {
        const before = seen.split("(qemu)").length;
        seen += String(bytes);
        const prompts = seen.split("(qemu)").length;
        if (before === 1 && prompts > 1) socket.write(`${command}\n`);
        if (prompts > 2) socket.end();
      });
    }).finally(() => socket.destroy());
  }

  /** Off in the same instant; what the guest has not written is lost. */
  async cut(): Promise<void> {
    const pid = await this.pid();
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    await this.off(20_000);
  }

  /** Resolves when it is off. */
  async off(timeoutMs: number): Promise<void> {
    await until({ what: `switch ${this.#spec.name} off`, timeoutMs, everyMs: 20, cure: `look at ${this.console}` },
      async () => (await this.pid() === undefined ? true : undefined));
  }

  /** Lines of the console that only a failing kernel writes. */
  async failures(): Promise<readonly string[]> {
    const text = await readFile(this.console, "latin1").catch(() => "");
    return text.split("\n").filter((line) => FAILURES.test(line));
  }
}
