/**
 * A guarded etcd of three members beside the lab's own: TLS on the server's side alone, a user with a password, a small quota.
 *
 * In:  a lab.  Out: endpoints, files for nodes to trust it, etcdctl; members that can be killed and started again.
 * Rule: everything stands in the namespace of the lab's etcd, under a folder of its own, and goes with `remove`.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import type { Lab } from "../../lab/lab.ts";
import { must, run, type Output } from "../../lab/run.ts";
import { until } from "./bed.ts";

const ADDRESS = "10.99.0.250";
const PORTS = [3379, 3479, 3579] as const;
/** Wants a certificate of its clients; holds nothing. */
const STRICT_PORT = 3679;
/** Small enough to be filled in a moment. */
const QUOTA_BYTES = 4 * 2 ** 20;
const FILLER = "/filler/";

export class EtcdCluster {
  readonly folder: string;
  readonly endpoints = PORTS.map((port) => `https://${ADDRESS}:${port}`).join(",");
  readonly strictEndpoint = `https://${ADDRESS}:${STRICT_PORT}`;
  readonly #netns: string;
  readonly #password: string;
  readonly #members = new Map<number, ChildProcess>();

  private constructor(netns: string, folder: string, password: string) { [this.#netns, this.folder, this.#password] = [netns, folder, password]; }

  /** Its user is root; `ca.pem` signed its certificate, `other.pem` signed nothing. */
  static async start(lab: Lab, password: string): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(lab.etcd.netns, await mkdtemp(`${tmpdir()}/fnp-cluster-`), password);
    await cluster.#certificates();
    await cluster.raise();
    cluster.#launch(STRICT_PORT, ["--initial-cluster", "m3679=http://127.0.0.1:3680", "--client-cert-auth", "--trusted-ca-file", `${cluster.folder}/ca.pem`]);
    await until("the guarded etcd", async () => (await cluster.#ctl("endpoint", "health")).exitCode === 0);
    for (const words of [["user", "add", `root:${password}`], ["user", "grant-role", "root", "root"], ["auth", "enable"]]) {
      const { exitCode, stderr } = await cluster.#ctl(...words);
      if (exitCode !== 0) throw new Error(`etcdctl ${words[0]} ${words[1]}: ${stderr}`);
    }
    return cluster;
  }

  async #certificates(): Promise<void> {
    const ssl = (...args: readonly string[]): Promise<string> => must("make a certificate", "openssl", args, { cwd: this.folder });
    for (const name of ["ca", "other"]) await ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.pem`);
    await ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=etcd", "-CA", "ca.pem", "-CAkey", "ca.key",
      "-addext", `subjectAltName=IP:${ADDRESS},IP:127.0.0.1`, "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "server.key", "-out", "server.pem");
  }

  #launch(port: number, more: readonly string[]): void {
    const [client, peer] = [`https://${ADDRESS}:${port}`, `http://127.0.0.1:${port + 1}`];
    const child = spawn("nsenter", [`--net=${this.#netns}`, "etcd", "--name", `m${port}`, "--data-dir", `${this.folder}/m${port}`, "--listen-client-urls", client, "--advertise-client-urls", client,
      "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--cert-file", `${this.folder}/server.pem`, "--key-file", `${this.folder}/server.key`,
      "--quota-backend-bytes", String(QUOTA_BYTES), "--log-level", "error", ...more], { stdio: "ignore" });
    this.#members.set(port, child);
  }

  /** All members that do not run. */
  async raise(): Promise<void> {
    const initial = PORTS.map((port) => `m${port}=http://127.0.0.1:${port + 1}`).join(",");
    for (const port of PORTS) if (!this.#members.has(port)) this.#launch(port, ["--initial-cluster", initial]);
  }

  /** Leaves the first member without a majority: it answers, and knows no leader. */
  async loseMajority(): Promise<void> { await Promise.all(PORTS.slice(1).map((port) => this.#end(port))); }

  async #end(port: number): Promise<void> {
    const child = this.#members.get(port);
    if (child === undefined) return;
    const gone = new Promise((resolve) => { child.once("exit", resolve); });
    child.kill("SIGKILL");
    await gone;
    this.#members.delete(port);
  }

  #ctl(...args: readonly string[]): Promise<Output> {
    return run("nsenter", [`--net=${this.#netns}`, "etcdctl", "--endpoints", this.endpoints, "--cacert", `${this.folder}/ca.pem`, ...args], { env: { ETCDCTL_API: "3" } });
  }
  ctl(...args: readonly string[]): Promise<Output> { return this.#ctl("--user", `root:${this.#password}`, ...args); }

  /** Writes until it may not any more: reads are answered, writes are not. */
  async fill(): Promise<void> {
    const value = "x".repeat(100_000);
    await until("etcd to be over its quota", async () => /database space exceeded/.test((await this.ctl("put", `${FILLER}${Math.random()}`, value)).stderr));
  }

  /** What its cure says. */
  async clear(): Promise<void> {
    await this.ctl("del", "--prefix", FILLER);
    const { stdout } = await this.ctl("get", "/", "-w", "json");
    await this.ctl("compact", String((JSON.parse(stdout) as { header: { revision: number } }).header.revision));
    await this.ctl("defrag");
    await this.ctl("alarm", "disarm");
  }

  async remove(): Promise<void> {
    for (const port of [...this.#members.keys()]) await this.#end(port);
    await rm(this.folder, { recursive: true, force: true });
  }
}
