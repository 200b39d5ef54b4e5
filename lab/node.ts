/**
 * Keeps true: tests speak to a node in one way, whether it stands in namespaces of this kernel or in a virtual machine.
 * In: its record. Out: its engine's socket, commands run in it, its life cycle.
 * Rule: what only one kind can do says so in a LabError; everything else behaves the same.
 */
import type { ChildProcess } from "node:child_process";
import { createReadStream } from "node:fs";
import { askDocker, callDocker } from "./docker-api.ts";
import { LabError } from "./errors.ts";
import type { Output, RunOptions } from "./run.ts";
import { nodeFolder } from "./state.ts";
import type { NodeRecord } from "./state.ts";
import { until } from "./wait.ts";

/** How much longer everything takes in an emulated machine. */
export const VM_SCALE = 4;

export abstract class LabNode {
  readonly name: string;
  readonly engine: string;
  /** On the lab's LAN, without bits. */
  readonly address: string;
  readonly record: NodeRecord;
  protected readonly lab: string;

  constructor(lab: string, record: NodeRecord) {
    [this.lab, this.record, this.name, this.engine, this.address] = [lab, record, record.name, record.engine, record.address];
  }

  /** The host's pid of its pid 1, or of its emulator; a LabError while it is off. */
  abstract get pid(): number;
  /** Path of its network namespace. */
  abstract get netns(): string;
  /** Its file system as this machine sees it. */
  abstract get root(): string;
  abstract get socket(): string;
  /** Looks for a running node that an earlier process started. */
  abstract find(): Promise<boolean>;
  protected abstract boot(): Promise<void>;
  /** Runs a command in the node. */
  abstract exec(argv: readonly string[], options?: RunOptions): Promise<Output>;
  /** A long-running program in the node; ending it is the caller's, a power cut ends it too. */
  abstract spawn(argv: readonly string[]): ChildProcess;
  /** Everything in the node ends in the same instant; its disk stays. */
  abstract powerCut(): Promise<void>;
  abstract linkDown(): Promise<void>;
  abstract linkUp(): Promise<void>;
  /** A pid of a plugin's first process, undefined while it does not run: the host's, or the machine's own. */
  abstract pluginPid(alias?: string): Promise<number | undefined>;
  /** Ends the plugin's first process, and with it all of the plugin. */
  abstract killPlugin(signal?: "SIGKILL" | "SIGTERM", alias?: string): Promise<void>;
  /** Lines of the node's console that only a failing kernel writes; nothing where the kernel is this machine's own. */
  abstract failures(): Promise<readonly string[]>;

  get dockerHost(): string { return `unix://${this.socket}`; }
  /** Its logs, on this machine's disk: dockerd.log, containerd.log, boot.log; of a virtual machine also console.log. */
  get logFolder(): string { return `${nodeFolder(this.lab, this.name)}/log`; }
  protected get scale(): number { return this.record.kind === "vm" ? VM_SCALE : 1; }

  /** Boots it unless it runs; resolves when its engine answers. */
  async start(): Promise<void> {
    if (!await this.find()) await this.boot();
    await this.ready();
  }

  /** Orderly: the engine is told to stop, then the node goes off and comes back on the same disk. */
  async reboot(): Promise<void> {
    await this.killDockerd("SIGTERM");
    await this.exec(["sync"]);
    await this.powerCut();
    await this.start();
  }

  /** Resolves when the engine answers (a restarted swarm member answers only after its networks are back). */
  async ready(timeoutMs = 90_000 * this.scale): Promise<void> {
    await until({ what: `start dockerd on ${this.name}`, timeoutMs, cure: `look at ${this.logFolder}/dockerd.log` }, async () =>
      ((await callDocker({ socket: this.socket, method: "GET", path: "/info", timeoutMs: 5_000 * this.scale })).status === 200 ? true : undefined));
  }

  /** `docker …` in the node: its stdout without the last line break; a LabError that quotes stderr on failure. */
  async docker(...args: readonly string[]): Promise<string> {
    const output = await this.exec(["docker", ...args]);
    if (output.exitCode === 0) return output.stdout.trimEnd();
    throw new LabError(`Cannot run 'docker ${args.slice(0, 3).join(" ")}' on ${this.name}: ${output.stderr.trim() || `exit code ${output.exitCode}`}`,
      `the command was: docker ${args.join(" ")}`);
  }

  /** Loads the image lab/box unless it is there. */
  async loadImage(image: { readonly archive: string; readonly id: string }): Promise<void> {
    if ((await callDocker({ socket: this.socket, method: "GET", path: `/images/${image.id}/json` })).status === 200) return;
    await askDocker(`load the image lab/box on ${this.name}`,
      { socket: this.socket, method: "POST", path: "/images/load?quiet=1", archive: createReadStream(image.archive), timeoutMs: 120_000 });
  }

  /** Ends dockerd alone: containers, shims and the plugin's process live on. SIGTERM is the orderly stop. */
  async killDockerd(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    await this.exec(["/lab/daemon", "signal", "dockerd", signal.slice(3)]);
    await until({ what: `stop dockerd on ${this.name}`, timeoutMs: 60_000 * this.scale, cure: `look at ${this.logFolder}/dockerd.log` },
      async () => ((await this.exec(["/lab/daemon", "alive", "dockerd"])).exitCode === 0 ? undefined : true));
  }

  async startDockerd(): Promise<void> {
    await this.exec(["/lab/daemon", "start", "dockerd"]);
    await this.ready();
  }

  /** A plugin's id, undefined while the engine has none of that name. */
  protected async pluginId(alias = "flannel-np:latest"): Promise<string | undefined> {
    const plugin = await callDocker({ socket: this.socket, method: "GET", path: `/plugins/${alias}/json` });
    return plugin.status === 200 ? /"Id":"([0-9a-f]{64})"/.exec(plugin.body)?.[1] : undefined;
  }
}
