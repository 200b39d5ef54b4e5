/**
 * Keeps true: a virtual machine is a node like another: it boots, loses power, loses its cable, and comes back on the same disk.
 * In: its record. Out: its engine's socket, commands run in it, its life cycle.
 * Rule: Docker's own command line runs on this machine, out of the node's root file system: emulated it would take a second a call.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { access, mkdir, readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { LabError } from "../errors.ts";
import { cgroupPids, makeCgroups, removeCgroups } from "../netns/cgroups.ts";
import { namespacePath, plugTap } from "../netns/network.ts";
import { LabNode } from "../node.ts";
import { LAN, macOf, portName } from "../plan.ts";
import { run } from "../run.ts";
import type { Output, RunOptions } from "../run.ts";
import { nodeFolder, runFolder } from "../state.ts";
import type { NodeRecord } from "../state.ts";
import { until } from "../wait.ts";
import { kernelFiles, ownDisk, programOf, rootDisk, templateDisk } from "./images.ts";
import { Machine } from "./machine.ts";
import { kernelNamed } from "./plan.ts";
import type { Drive } from "./plan.ts";

const LAUNCH = fileURLToPath(new URL("../netns/launch.sh", import.meta.url));
const INSIDE = fileURLToPath(new URL("../netns/inside", import.meta.url));
const MEMORY_MB = 768;
const SOCKETS = { "/run/docker.sock": "docker.sock", "/run/flannel-np/debug.sock": "debug.sock" };

export class VmNode extends LabNode {
  #machine: Machine | undefined;
  #pid: number | undefined;
  readonly #progress: (line: string) => void;

  constructor(lab: string, record: NodeRecord, progress: (line: string) => void) {
    super(lab, record);
    this.#progress = progress;
  }

  get pid(): number {
    if (this.#pid !== undefined) return this.#pid;
    throw new LabError(`Cannot reach node ${this.name}: it is off`, `start it: ./flannel-np lab up --lab ${this.lab}`);
  }
  get netns(): string { return this.#hidden("network namespace"); }
  get root(): string { return this.#hidden("file system"); }
  get socket(): string { return `${this.#folder}/docker.sock`; }
  get #folder(): string { return `${runFolder(this.lab)}/${this.name}`; }

  #hidden(what: string): never {
    throw new LabError(`Cannot name the ${what} of ${this.name} on this machine: it is a virtual one`, "run a command in it: node.exec");
  }

  async find(): Promise<boolean> {
    this.#machine ??= await this.#assembled();
    const on = await this.#machine.attach();
    this.#pid = on ? await this.#machine.pid() : undefined;
    return on;
  }

  get #on(): Machine {
    if (this.#machine !== undefined) return this.#machine;
    throw new LabError(`Cannot reach node ${this.name}: nobody has looked for it yet`, "call find() or start() first");
  }

  async #assembled(): Promise<Machine> {
    const { rootfs, template, kernel, prepare } = this.record;
    const images = [await rootDisk({ key: basename(dirname(rootfs)), folder: rootfs }, this.#progress), await this.#disk()];
    const files = await kernelFiles(kernelNamed(kernel), `${rootfs}/bin/busybox`, this.#progress);
    const drives = [...images, files.modules, ...(template === "" ? [] : [await templateDisk(template, this.#progress)])]
      .map((file, index): Drive => ({ file, readonly: index !== 1 }));
    const [init, daemon] = await Promise.all([readFile(`${INSIDE}/init`, "utf8"), readFile(`${INSIDE}/daemon`, "utf8")]);
    return new Machine({
      name: `fnp-${this.lab}-${this.name}`, memoryMb: MEMORY_MB, kernel: files, drives, folder: this.#folder, logs: this.logFolder, detached: true, sockets: SOCKETS,
      tap: { name: portName(this.name), mac: macOf(this.address) }, programs: { init, daemon, ...(prepare === "" ? {} : { prepare }) },
      env: { LAB_MODE: "node", LAB_OWN: "disk", LAB_NAME: this.name, LAB_ADDRESS: `${this.address}/${LAN.bits}`, LAB_GATEWAY: LAN.router },
      launch: () => this.#launch(),
    }, this.#progress);
  }

  /** Its own disk, made at the first boot. */
  async #disk(): Promise<string> {
    const file = `${nodeFolder(this.lab, this.name)}/own.img`;
    await mkdir(nodeFolder(this.lab, this.name), { recursive: true });
    if (!await access(file).then(() => true, () => false)) await ownDisk(file, this.#progress);
    return file;
  }

  /** In the switch's namespace, since the tap device is there, and in the node's own cgroups. */
  async #launch(): Promise<readonly string[]> {
    return ["sh", LAUNCH, namespacePath(this.lab, "switch"), (await makeCgroups(this.lab, this.name)).join(" "), ""];
  }

  protected async boot(): Promise<void> {
    await this.#sweep();
    await plugTap(this.lab, this.name);
    await this.#on.start(60_000 * this.scale);
    await this.find();
  }

  /** What a dead machine may have left: its end of the wire, its cgroups. */
  async #sweep(): Promise<void> {
    await until({ what: `clear what node ${this.name} left`, timeoutMs: 20_000, cure: `./flannel-np lab down --lab ${this.lab}` }, async () => {
      const left = await cgroupPids(this.lab, this.name);
      for (const pid of left) end(pid);
      return left.length === 0 ? true : undefined;
    });
    await removeCgroups(this.lab, this.name);
  }

  async exec(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
    const timeoutMs = (options.timeoutMs ?? 120_000) * this.scale;
    const [program = "", ...args] = argv;
    if (program !== "docker") return this.#on.exec(argv, { ...options, timeoutMs });
    const [file = "", ...rest] = this.#cli(args);
    return run(file, rest, { ...options, timeoutMs, env: { HOME: "/root", DOCKER_CONFIG: `${this.#folder}/cli`, ...options.env } });
  }

  #cli(args: readonly string[]): readonly string[] {
    return [...programOf(this.record.rootfs, "docker", "/usr/bin/docker"), "--host", this.dockerHost, ...args];
  }

  spawn(argv: readonly string[]): ChildProcess {
    const [program = "", ...args] = argv;
    const [file = "", ...rest] = program === "docker" ? this.#cli(args) : this.#on.inside(argv);
    return spawn(file, rest, { stdio: ["ignore", "pipe", "pipe"] });
  }

  async powerCut(): Promise<void> {
    await this.#on.cut();
    this.#pid = undefined;
    await this.#sweep();
  }

  /** As the machine's own reset does it: file systems are written out, then the kernel starts again. */
  override async reboot(): Promise<void> {
    await this.killDockerd("SIGTERM");
    await this.exec(["sh", "-c", "sync; echo u >/proc/sysrq-trigger; (sleep 0.2; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 </dev/null &"]);
    await this.#on.off(30_000 * this.scale);
    await this.start();
  }

  async linkDown(): Promise<void> { await this.#on.monitor("set_link nic0 off"); }
  async linkUp(): Promise<void> { await this.#on.monitor("set_link nic0 on"); }

  /** The pid in the machine. */
  async pluginPid(alias?: string): Promise<number | undefined> {
    const id = await this.pluginId(alias);
    if (id === undefined) return undefined;
    const script = 'for f in $(grep -ls "$0" /proc/[0-9]*/cgroup); do d=${f%/cgroup}; grep -qsE "^NSpid:.*[[:space:]]1$" "$d/status" && echo "${d#/proc/}"; done; true';
    const pid = Number((await this.exec(["sh", "-c", script, id])).stdout.split("\n")[0]);
    return pid > 1 ? pid : undefined;
  }

  async killPlugin(signal: "SIGKILL" | "SIGTERM" = "SIGKILL", alias?: string): Promise<void> {
    const pid = await this.pluginPid(alias);
    if (pid !== undefined) await this.exec(["kill", `-${signal.slice(3)}`, String(pid)]);
  }

  async failures(): Promise<readonly string[]> { return this.#on.failures(); }
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // ESRCH
  }
}
