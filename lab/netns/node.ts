/**
 * Keeps true: a node is an object: it boots, loses power, loses its cable, and comes back on the same disk.
 * In: its record. Out: its engine's socket, commands run in it, its life cycle.
 * Rule: what runs is asked of the kernel; a noted pid counts only while it stands in the node's own network namespace.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { cp, mkdir, open, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { LabError } from "../errors.ts";
import { LabNode } from "../node.ts";
import { LAN } from "../plan.ts";
import { run } from "../run.ts";
import type { Output, RunOptions } from "../run.ts";
import { nodeFolder, notedPid, runFolder } from "../state.ts";
import { until } from "../wait.ts";
import { cgroupPids, makeCgroups, removeCgroups } from "./cgroups.ts";
import { namespacePath, plugIn, setCable, unplug } from "./network.ts";

const LAUNCH = fileURLToPath(new URL("launch.sh", import.meta.url));
const ENTER = fileURLToPath(new URL("enter.sh", import.meta.url));
const INSIDE = fileURLToPath(new URL("inside", import.meta.url));
/** What a node's process has of its own; --kill-child: no node outlives its parent. */
const NAMESPACES = "--fork --kill-child --pid --mount --uts --ipc --cgroup --propagation private";
const CLEAN = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"];

export class NetnsNode extends LabNode {
  #pid: number | undefined;

  /** Path of its network namespace. */
  get netns(): string { return namespacePath(this.lab, this.name); }
  /** The host's pid of its pid 1; a LabError while it is off. */
  get pid(): number {
    if (this.#pid !== undefined) return this.#pid;
    throw new LabError(`Cannot reach node ${this.name}: it is off`, `start it: ./flannel-np lab up --lab ${this.lab}`);
  }
  /** Its file system as this machine sees it. */
  get root(): string { return `/proc/${this.pid}/root`; }
  get socket(): string { return `${this.root}/run/docker.sock`; }
  /** Looks for a running pid 1 that an earlier process started. */
  async find(): Promise<boolean> {
    const pid = await notedPid(this.lab, this.name);
    this.#pid = pid !== undefined && await this.#owns(pid) ? pid : undefined;
    return this.#pid !== undefined;
  }

  async #owns(pid: number): Promise<boolean> {
    const [mine, its] = await Promise.all([stat(this.netns).catch(() => undefined), readlink(`/proc/${pid}/ns/net`).catch(() => "")]);
    return mine !== undefined && its === `net:[${mine.ino}]`;
  }

  protected async boot(): Promise<void> {
    const folder = nodeFolder(this.lab, this.name);
    const pidFile = `${runFolder(this.lab)}/${this.name}.pid`;
    await this.#sweep();
    await plugIn(this.lab, this.name, this.address);
    await Promise.all([mkdir(`${folder}/log`, { recursive: true }), mkdir(runFolder(this.lab), { recursive: true }), rm(pidFile, { force: true })]);
    await rm(`${folder}/lab`, { recursive: true, force: true });
    await cp(INSIDE, `${folder}/lab`, { recursive: true });
    if (this.record.prepare !== "") await writeFile(`${folder}/lab/prepare`, this.record.prepare);
    const cgroups = await makeCgroups(this.lab, this.name);
    const log = await open(`${folder}/log/boot.log`, "a");
    const child = spawn("sh", [LAUNCH, this.netns, cgroups.join(" "), NAMESPACES, "bash", ENTER], {
      detached: true, stdio: ["ignore", log.fd, log.fd],
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LAB_ROOTFS: this.record.rootfs, LAB_STATE: folder, LAB_PID: pidFile, LAB_PLUGINS: this.record.template,
        LAB_NAME: this.name, LAB_ADDRESS: `${this.address}/${LAN.bits}`, LAB_GATEWAY: LAN.router,
      },
    });
    await log.close();
    child.unref();
    await until({ what: `boot node ${this.name}`, timeoutMs: 20_000, everyMs: 10, cure: `look at ${folder}/log/boot.log` }, async () => {
      if (child.exitCode !== null) throw new Error((await readFile(`${folder}/log/boot.log`, "utf8")).trim().split("\n").slice(-3).join("; "));
      return await this.find() ? true : undefined;
    });
  }

  /** What a dead node may have left: processes of a half-done boot, its cable, its cgroups. */
  async #sweep(): Promise<void> {
    for (const pid of await cgroupPids(this.lab, this.name)) kill(pid, "SIGKILL");
    await until({ what: `clear what node ${this.name} left`, timeoutMs: 20_000, cure: `./flannel-np lab down --lab ${this.lab}` }, async () => {
      const left = await cgroupPids(this.lab, this.name);
      return left.length === 0 ? true : undefined;
    });
    await removeCgroups(this.lab, this.name);
    await unplug(this.lab, this.name);
  }

  /** Runs a command in the node. */
  async exec(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
    const own = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
    const terminal = options.interactive && process.env["TERM"] ? [`TERM=${process.env["TERM"]}`] : [];
    return run("nsenter", this.#inside([...terminal, ...own, ...argv]), { ...options, env: {} });
  }

  /** A long-running program in the node; ending it is the caller's, a power cut ends it too. */
  spawn(argv: readonly string[]): ChildProcess {
    return spawn("nsenter", this.#inside(argv), { stdio: ["ignore", "pipe", "pipe"] });
  }

  #inside(argv: readonly string[]): string[] {
    return ["-t", String(this.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--", ...CLEAN, ...argv];
  }

  /** Everything in the node ends in the same instant; its disk stays. */
  async powerCut(): Promise<void> {
    const pid = this.pid;
    kill(pid, "SIGKILL");
    await until({ what: `cut the power of ${this.name}`, timeoutMs: 20_000, everyMs: 10, cure: "repeat the command" },
      async () => (await this.#owns(pid) ? undefined : true));
    this.#pid = undefined;
    await this.#sweep();
  }

  async linkDown(): Promise<void> { await setCable(this.lab, this.name, "down"); }
  async linkUp(): Promise<void> { await setCable(this.lab, this.name, "up"); }

  /** The host's pid. */
  async pluginPid(alias?: string): Promise<number | undefined> {
    const id = await this.pluginId(alias);
    const pids = id === undefined ? [] : await cgroupPids(this.lab, this.name, id);
    const status = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, "utf8").catch(() => "")));
    return pids[status.findIndex((text) => /^NSpid:.*\t1$/m.test(text))] ?? pids[0];
  }

  async killPlugin(signal: "SIGKILL" | "SIGTERM" = "SIGKILL", alias?: string): Promise<void> {
    const pid = await this.pluginPid(alias);
    if (pid !== undefined) kill(pid, signal);
  }

  failures(): Promise<readonly string[]> { return Promise.resolve([]); }
}

/** A process that is gone already is as good as killed. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH
  }
}
