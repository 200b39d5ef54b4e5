/** A fresh network namespace of this kernel or of a virtual machine's, and the ports of the sinks bound to it. Needs root. */
import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import type { NetnsPath } from "../../src/core/ids.ts";
import { conntrack, openNetlink, type Conntrack } from "../../src/sinks/conntrack.ts";
import { runCommand, startProcess, type Command, type Exec, type Output } from "../../src/sinks/exec.ts";
import { inNetns } from "../../src/sinks/netns-sockets.ts";
import { residentIp, type ResidentIp } from "../../src/sinks/resident-ip.ts";
import type { Sysctls } from "../../src/sinks/sysctls.ts";
import { conntrackByTool } from "./conntrack-tool.ts";

/** Suites share a process, and each has this module anew. */
const suite = randomBytes(3).toString("hex");
let made = 0;

/** Where namespaces are made: on this kernel, or wherever the given `Exec` runs its commands. */
async function onHost(exec: Exec, ...args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await exec({ file: "ip", args: ["netns", ...args], timeoutMs: 30_000 }, new AbortController().signal);
  if (exitCode !== 0) throw new Error(`ip netns ${args.join(" ")}: ${stderr}`);
}

/** TOOLS_ROOT names another suite's root file system: the same cases then run with its versions of ip, nft and iptables. */
function rooted<C extends Pick<Command, "file" | "args">>(command: C): C {
  const root = process.env["TOOLS_ROOT"];
  return root === undefined ? command : { ...command, file: "chroot", args: [root, command.file, ...command.args] };
}

const here: Exec = (command, signal) => runCommand(rooted(command), signal);

/** A netlink socket stays with the namespace it was opened in. */
function conntrackAt(path: NetnsPath): Conntrack {
  return conntrack(() => {
    const netns = openSync(path, "r");
    try { return inNetns(netns, openNetlink); } finally { closeSync(netns); }
  });
}

export class Namespace {
  readonly name: string;
  readonly path: NetnsPath;
  /** Runs every command inside. */
  readonly exec: Exec;
  readonly sysctls: Sysctls;
  readonly conntrack: Conntrack;
  readonly #host: Exec;

  static async make(host: Exec = here): Promise<Namespace> {
    made += 1;
    const namespace = new Namespace(`fnpt${suite}x${made}`, host);
    await onHost(host, "add", namespace.name);
    await namespace.ip("link set lo up");
    return namespace;
  }

  constructor(name: string, host: Exec) {
    [this.name, this.#host] = [name, host];
    this.path = `/run/netns/${name}` as NetnsPath;
    this.conntrack = host === here ? conntrackAt(this.path) : conntrackByTool((command, signal) => this.exec(command, signal));
    this.exec = (command, signal) => host({ ...command, netns: this.path }, signal);
    this.sysctls = {
      read: async (paths) => {
        if (paths.length === 0) return [];
        const { stdout } = await this.tell("grep", ["-sH", "", ...paths.map((path) => `/proc/sys/${path}`)]);
        const values = new Map(stdout.trimEnd().split("\n").map((line) => line.split(":") as [string, string]));
        return paths.map((path) => values.get(`/proc/sys/${path}`));
      },
      write: async (settings) => {
        const script = 'while [ $# -gt 1 ]; do [ ! -e "/proc/sys/$1" ] || echo "$2" >"/proc/sys/$1" || exit 1; shift 2; done';
        await this.must("sh", ["-c", script, "sh", ...settings.flat()]);
      },
    };
  }

  /** As the plugin looks at links: looks go to one program that stays. */
  resident(): ResidentIp {
    return residentIp((spec) => startProcess({ ...rooted(spec), netns: this.path }), this.exec, () => performance.now());
  }

  /** Any exit code is an answer. */
  tell(file: string, args: readonly string[], stdin?: string): Promise<Output> {
    return this.exec({ file, args, timeoutMs: 30_000, ...(stdin === undefined ? {} : { stdin }) }, new AbortController().signal);
  }

  async must(file: string, args: readonly string[], stdin?: string): Promise<string> {
    const { exitCode, stdout, stderr } = await this.tell(file, args, stdin);
    if (exitCode !== 0) throw new Error(`${file} ${args.join(" ")} in ${this.name}: exit ${exitCode}: ${stderr}`);
    return stdout;
  }

  async ip(...lines: readonly string[]): Promise<void> { await this.must("ip", ["-batch", "-"], `${lines.join("\n")}\n`); }
  async close(): Promise<void> { await onHost(this.#host, "delete", this.name); }
}
