/**
 * Keeps true: each lab has one real etcd on its LAN that tests can stop, kill, freeze and start again on the same data.
 * In: the lab's id. Out: its life cycle, etcdctl.
 * Rule: data lie in the lab's state; the process stands in the lab's namespaces and cgroups alone.
 */
import { spawn } from "node:child_process";
import { mkdir, open, readlink, stat, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { LabError } from "./errors.ts";
import { makeCgroups } from "./netns/cgroups.ts";
import { makeHost, namespacePath } from "./netns/network.ts";
import { kill } from "./netns/node.ts";
import { ETCD_URL, LAN } from "./plan.ts";
import { run } from "./run.ts";
import type { Output, RunOptions } from "./run.ts";
import { notedPid, runFolder, stateFolder } from "./state.ts";
import { until } from "./wait.ts";

const LAUNCH = fileURLToPath(new URL("netns/launch.sh", import.meta.url));
const LOCAL = "http://127.0.0.1:2379";

export class LabEtcd {
  readonly url = ETCD_URL;
  readonly #lab: string;

  constructor(lab: string) { this.#lab = lab; }

  get netns(): string { return namespacePath(this.#lab, "etcd"); }
  get logFile(): string { return `${stateFolder(this.#lab)}/etcd/etcd.log`; }

  /** The host's pid, undefined while it does not run. */
  async pid(): Promise<number | undefined> {
    const pid = await notedPid(this.#lab, "etcd");
    if (pid === undefined) return undefined;
    const [mine, its] = await Promise.all([stat(this.netns).catch(() => undefined), readlink(`/proc/${pid}/ns/net`).catch(() => "")]);
    return mine !== undefined && its === `net:[${mine.ino}]` ? pid : undefined;
  }

  /** Starts it on its old data unless it runs; resolves when it answers. `extra` are further etcd options. */
  async start(extra: readonly string[] = []): Promise<void> {
    await makeHost(this.#lab, "etcd", LAN.etcd);
    if (await this.pid() === undefined) await this.#launch(extra);
    await until({ what: "start etcd", timeoutMs: 30_000, cure: `look at ${this.logFile}` },
      async () => ((await this.ctl(["endpoint", "health"])).exitCode === 0 ? true : undefined));
  }

  async #launch(extra: readonly string[]): Promise<void> {
    const data = `${stateFolder(this.#lab)}/etcd`;
    await Promise.all([mkdir(data, { recursive: true, mode: 0o700 }), mkdir(runFolder(this.#lab), { recursive: true })]);
    const log = await open(this.logFile, "a");
    const child = spawn("sh", [LAUNCH, this.netns, (await makeCgroups(this.#lab, "etcd")).join(" "), "", "etcd", "--data-dir", `${data}/data`,
      "--listen-client-urls", `${ETCD_URL},${LOCAL}`, "--advertise-client-urls", ETCD_URL, "--listen-peer-urls", "http://127.0.0.1:2380", ...extra],
      { detached: true, stdio: ["ignore", log.fd, log.fd], env: { PATH: "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" } });
    await log.close();
    child.unref();
    if (child.pid === undefined) throw new LabError("Cannot start etcd: no process could be made", "look at the machine's memory and process limits");
    await writeFile(`${runFolder(this.#lab)}/etcd.pid`, `${child.pid}\n`);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const pid = await this.pid();
    if (pid === undefined) return;
    kill(pid, signal);
    await until({ what: "stop etcd", timeoutMs: 30_000, cure: `look at ${this.logFile}` }, async () => (await this.pid() === undefined ? true : undefined));
  }

  /** Orderly. */
  async stop(): Promise<void> { await this.#end("SIGTERM"); }
  async kill(): Promise<void> { await this.#end("SIGKILL"); }
  /** Frozen: connections stay open, nothing is answered. */
  async pause(): Promise<void> { await this.#signal("SIGSTOP"); }
  async resume(): Promise<void> { await this.#signal("SIGCONT"); }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    const pid = await this.pid();
    if (pid === undefined) throw new LabError(`Cannot send ${signal} to etcd: it does not run`, "start it first");
    kill(pid, signal);
  }

  /** etcdctl (API 3), beside the server. */
  async ctl(args: readonly string[], options: RunOptions = {}): Promise<Output> {
    return run("nsenter", [`--net=${this.netns}`, "etcdctl", "--endpoints", LOCAL, ...args], { ...options, env: { ETCDCTL_API: "3", ...options.env } });
  }
}
