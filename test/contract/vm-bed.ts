/**
 * A small virtual machine with Debian's kernel for adapters whose kernel half this machine may lack (IPVS), and their commands run in it.
 *
 * In:  FNP_VM_KERNEL ("6.1", default, or "6.12").  Out: an `Exec`, and network namespaces inside the machine.
 * Rule: as in the sinks' own `Exec`: any exit code is an answer; a missing program is `unsupported`. It ends with its test at the latest.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { prepareHost } from "../../lab/host.ts";
import { engineNamed } from "../../lab/plan.ts";
import { rootfsOf } from "../../lab/rootfs/cache.ts";
import { kernelFiles, rootDisk } from "../../lab/vm/images.ts";
import { Machine } from "../../lab/vm/machine.ts";
import { kernelNamed } from "../../lab/vm/plan.ts";
import { OperatorError } from "../../src/core/errors.ts";
import { runCommand, type Command, type Exec } from "../../src/sinks/exec.ts";
import { Namespace } from "./namespace.ts";

const MEMORY_MB = 512;
/** A step of an emulated machine, with first use of the caches. */
export const VM_START_MS = 600_000;
/** An emulated processor on a busy machine takes this many times as long. */
const EMULATED = 4;
/** Words of lab/vm/wire and of nsenter. */
const OFF = /^wire: the machine (is|went) off/m;
const NO_PROGRAM = /^wire: cannot start .*(not found|no such file)|^nsenter: failed to execute /m;
/** An exit code above 128 + this is the program's own: ipvsadm says -1. */
const LAST_SIGNAL = 64;
const NO_NAMESPACE = /^nsenter: (cannot open|reassociate to namespace) /m;

export class VmBed {
  readonly #machine: Machine;
  readonly #folder: string;

  constructor(machine: Machine, folder: string) { [this.#machine, this.#folder] = [machine, folder]; }

  static async start(kernel = process.env["FNP_VM_KERNEL"] ?? "6.1"): Promise<VmBed> {
    const progress = (line: string): void => { process.stderr.write(`   ${line}\n`); };
    await prepareHost(progress);
    const rootfs = await rootfsOf(engineNamed("28"), progress);
    const files = await kernelFiles(kernelNamed(kernel), `${rootfs.folder}/bin/busybox`, progress);
    const folder = await mkdtemp("/run/fnp-vm-");
    const drives = [await rootDisk(rootfs, progress), "/dev/null", files.modules].map((file) => ({ file, readonly: true }));
    const machine = new Machine({
      name: folder, memoryMb: MEMORY_MB, kernel: files, drives, folder, logs: folder, env: { LAB_MODE: "bare", LAB_OWN: "memory" }, programs: {},
      launch: () => Promise.resolve([]), detached: false,
    }, progress);
    await machine.start();
    return new VmBed(machine, folder);
  }

  /** Runs a command in the machine, in the namespace it names. */
  readonly exec: Exec = async (command, signal) => {
    const [file = "", ...args] = this.#machine.inside(placed(command), { LC_ALL: "C" });
    const output = await runCommand({ file, args, timeoutMs: EMULATED * command.timeoutMs, ...(command.stdin === undefined ? {} : { stdin: command.stdin }) }, signal);
    const fail = (code: "unsupported" | "not-found" | "unavailable", reason: string): never => {
      throw new OperatorError(code, `Cannot run ${command.file}: ${reason}`, { context: { args: command.args } });
    };
    if (OFF.test(output.stderr)) return fail("unavailable", "the machine is off");
    if (NO_PROGRAM.test(output.stderr)) return fail("unsupported", "it is not installed");
    if (command.netns !== undefined && NO_NAMESPACE.test(output.stderr)) return fail("not-found", `no network namespace at ${command.netns}`);
    const signalled = output.exitCode - 128;
    return signalled > 0 && signalled <= LAST_SIGNAL ? fail("unavailable", `killed by signal ${signalled}`) : output;
  };

  /** A fresh network namespace in the machine, with IPVS and connection tracking of its own. */
  namespace(): Promise<Namespace> { return Namespace.make(this.exec); }

  /** What the machine's kernel says of its own failure: must be empty after every test. */
  failures(): Promise<readonly string[]> { return this.#machine.failures(); }

  async close(): Promise<void> {
    await this.#machine.cut();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

const placed = ({ file, args, netns }: Command): readonly string[] => (netns === undefined ? [file, ...args] : ["nsenter", `--net=${netns}`, "--", file, ...args]);
