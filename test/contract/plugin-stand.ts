/**
 * The built plugin's own process (build/plugin) in namespaces of its own: a root as Docker gives it, a real etcd, a fake Docker's socket.
 *
 * In:  HTTP on the driver socket and the debug socket.  Out: answers; nothing when the process died before it answered.
 * Rule: SIGKILL ends the process and all it started, as Docker's does with a plugin's; kernel, etcd and files stay.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./etcd-server.ts";

const BUILD = fileURLToPath(new URL("../../build/plugin", import.meta.url));
const ID = "p1";
const SETTINGS = { ETCD_ENDPOINTS: "http://127.0.0.1:2379", DEFAULT_FLANNEL_OPTIONS: "-iface=eth0", NETWORK_SUBNET_SIZE: "20", DEFAULT_HOST_SUBNET_SIZE: "25", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
export const NODE_ADDRESS = "172.31.0.1";

const TRIES = 150;
const PAUSE_MS = 100;

export interface Answer { readonly status: number; readonly body: Readonly<Record<string, unknown>> }

/** Mounts are private to the first process; `$1` the plugin's root, `$2` our folder. */
const WORLD = `set -e
mount --make-rprivate /
mount --bind "$1" "$2/root"
mkdir -p "$2/host/run/docker/plugins/${ID}" "$2/host/run/docker/netns" "$2/host/run/flannel-np" "$2/host/var/lib" "$2/etcd"
mount --rbind "$2/host" "$2/root/host"
mount -t tmpfs none "$2/root/run"; mkdir -p "$2/root/run/docker/plugins"
mount --bind "$2/host/run/docker/plugins/${ID}" "$2/root/run/docker/plugins"
mount --bind /dev "$2/root/dev"
ip link set lo up
ip link add eth0 type veth peer name eth1; ip addr add ${NODE_ADDRESS}/24 dev eth0; ip link set eth0 up; ip link set eth1 up
etcd --data-dir "$2/etcd" --log-level error >/dev/null 2>&1 &
echo ready
exec sleep infinity`;
const LIFE = 'mount -t proc proc "$1/proc" && exec chroot "$1" /usr/bin/node /opt/flannel-np/start.js';

/** Undefined when there is one. */
export const whyNoBuild = (): string | undefined => (existsSync(join(BUILD, "rootfs/opt/flannel-np/start.js")) ? undefined : "build/plugin is missing; ./flannel-np build makes it");

export class PluginStand {
  readonly folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "fnp-"));
  readonly docker = join(this.folder, "host/run/docker.sock");
  #world: ChildProcess | undefined;
  #life: ChildProcess | undefined;

  async open(): Promise<void> {
    mkdirSync(join(this.folder, "root"));
    const world = spawn("unshare", ["-m", "-n", "-p", "-f", "--kill-child", "sh", "-c", WORLD, "sh", join(BUILD, "rootfs"), this.folder], { stdio: ["ignore", "pipe", "inherit"] });
    this.#world = world;
    await new Promise<void>((resolve, reject) => {
      world.stdout.once("data", () => resolve());
      world.once("exit", () => reject(new Error("the namespaces could not be made")));
    });
  }

  async start(): Promise<void> {
    const inside = String(this.#first());
    this.#life = spawn("nsenter", ["-t", inside, "-m", "-n", "--", "unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", LIFE, "sh", join(this.folder, "root")], { stdio: "ignore", env: SETTINGS });
    await until(async () => (await this.ask("Plugin.Activate", {}))?.status === 200, "the plugin to listen", 120_000);
  }

  /** The first process inside: the child of unshare. */
  #first(): number {
    const pid = this.#world?.pid ?? 0;
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
  }

  async kill(): Promise<void> {
    const life = this.#life;
    if (life === undefined || life.exitCode !== null || life.signalCode !== null) return;
    const gone = new Promise((resolve) => { life.once("exit", resolve); });
    life.kill("SIGKILL");
    await gone;
  }

  /** As dockerd does: a socket that is not there yet is tried again, a call that broke off is not. */
  async ask(method: string, body: object): Promise<Answer | undefined> {
    for (let n = 0; n < TRIES; n += 1) {
      const answer = await post(join(this.folder, "host/run/docker/plugins", ID, "flannel-np.sock"), `/${method}`, body);
      if (answer !== "nobody") return answer;
      await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
    }
    return undefined;
  }

  async debug(path: string, method = "GET"): Promise<Answer | undefined> {
    const answer = await post(join(this.folder, "host/run/flannel-np/debug.sock"), path, undefined, method);
    return answer === "nobody" ? undefined : answer;
  }

  /** Names of links that start so, as the kernel lists them. */
  links(start: string): readonly string[] {
    const inside = String(this.#first());
    const text = execFileSync("nsenter", ["-t", inside, "-n", "ip", "-o", "link", "show"], { encoding: "utf8" });
    return [...text.matchAll(/^\d+: ([^:@]+)/gm)].flatMap(([, name = ""]) => (name.startsWith(start) ? [name] : []));
  }

  async close(): Promise<void> {
    await this.kill();
    const world = this.#world;
    if (world !== undefined && world.exitCode === null) {
      const gone = new Promise((resolve) => { world.once("exit", resolve); });
      world.kill("SIGKILL");
      await gone;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** nobody: the call was not sent; undefined: it was not answered whole. */
function post(socketPath: string, path: string, body: object | undefined, method = "POST"): Promise<Answer | "nobody" | undefined> {
  return new Promise((resolve) => {
    const call = request({ socketPath, path, method, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => { text += part; });
      response.on("end", () => { resolve(read(response.statusCode ?? 0, text)); });
      response.on("error", () => { resolve(undefined); });
    });
    call.on("error", ({ code }: NodeJS.ErrnoException) => { resolve(code === "ENOENT" || code === "ECONNREFUSED" ? "nobody" : undefined); });
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function read(status: number, text: string): Answer | undefined {
  try { return { status, body: text === "" ? {} : JSON.parse(text) as Answer["body"] }; } catch { return undefined; }
}
