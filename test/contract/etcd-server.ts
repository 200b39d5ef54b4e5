/**
 * A real etcd for one test file: one member on loopback, data in a temporary folder, stopped and removed at the end.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface EtcdServer {
  readonly endpoint: string;
  readonly pid: number;
  ctl(...args: readonly string[]): string;
  /** SIGKILL, as a power cut; resolves when the process is gone. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Starts over with nothing stored. */
  wipe(): void;
  freeze(): void;
  thaw(): void;
  remove(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function startEtcd(flags: readonly string[] = [], scheme: "http" | "https" = "http"): Promise<EtcdServer> {
  const folder = mkdtempSync(join(tmpdir(), "fnp-etcd-"));
  const [client, peer] = [await freePort(), await freePort()];
  const endpoint = `${scheme}://127.0.0.1:${client}`;
  let child: ChildProcess | undefined;
  const signal = (name: NodeJS.Signals): void => { child?.kill(name); };
  const server: EtcdServer = {
    endpoint,
    get pid() { return child?.pid ?? 0; },
    ctl: (...args) => execFileSync("etcdctl", ["--endpoints", endpoint, ...args], {
      env: { ...process.env, ETCDCTL_API: "3" }, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"],
    }),
    async kill() {
      const dying = child;
      if (dying === undefined || dying.exitCode !== null || dying.signalCode !== null) return;
      const gone = new Promise((resolve) => dying.once("exit", resolve));
      dying.kill("SIGCONT");
      dying.kill("SIGKILL");
      await gone;
    },
    async start() {
      child = spawn("etcd", [
        "--data-dir", join(folder, "data"), "--listen-client-urls", endpoint, "--advertise-client-urls", endpoint,
        "--listen-peer-urls", `http://127.0.0.1:${peer}`, "--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`,
        "--initial-cluster", `default=http://127.0.0.1:${peer}`, "--log-level", "error", ...flags,
      ], { stdio: "ignore" });
      await listening(client);
    },
    wipe: () => rmSync(join(folder, "data"), { recursive: true, force: true }),
    freeze: () => signal("SIGSTOP"),
    thaw: () => signal("SIGCONT"),
    async remove() {
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

/** etcd opens its client port only once it has a leader. */
async function listening(port: number): Promise<void> {
  const { connect } = await import("node:net");
  await until(() => new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); });
    socket.on("error", () => resolve(false));
  }), "etcd listens");
}

/** Polls a condition, with a deadline far beyond what it should take. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, deadlineMs = 40_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`Gave up waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
