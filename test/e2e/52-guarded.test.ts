/**
 * A node of its own, in a swarm of its own, whose etcd asks for a password and whose disk is full: the password is seen
 * nowhere, the disk is counted, and containers start all the same.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findLab, type Lab } from "../../lab/lab.ts";
import { pluginBuild } from "../../lab/plugin.ts";
import { run } from "../../lab/run.ts";
import { debug, LAB_ID, makeNetwork, must, removeBox, removeNetwork, runBox, until, type Node } from "./bed.ts";

const PASSWORD = "s3cret-Xq7vLw9Zk2";
/** The plugin's mount `varlib` leads to a small disk; it is full from the first moment once /etc/full is there. */
const DISK = "/mnt/small";
const STATE = `${DISK}/flannel-np`;
const FILL = `dd if=/dev/zero of=${DISK}/ballast bs=1k 2>/dev/null || true`;
const PREPARE = `mkdir -p ${DISK}; mount -t tmpfs -o size=512k tmpfs ${DISK}; [ ! -e /etc/full ] || ${FILL}`;
let lab: Lab;
let node: Node;
let etcd: ChildProcess;
let folder: string;

const ctl = (...args: readonly string[]): ReturnType<typeof run> => run("nsenter", [`--net=${lab.etcd.netns}`, "etcdctl", "--endpoints", "http://127.0.0.1:3379", ...args], { env: { ETCDCTL_API: "3" } });

async function guardedEtcd(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), "guarded-etcd-"));
  etcd = spawn("nsenter", [`--net=${lab.etcd.netns}`, "etcd", "--data-dir", folder, "--listen-client-urls", "http://10.99.0.250:3379,http://127.0.0.1:3379",
    "--advertise-client-urls", "http://10.99.0.250:3379", "--listen-peer-urls", "http://127.0.0.1:3380", "--initial-advertise-peer-urls", "http://127.0.0.1:3380",
    "--initial-cluster", "default=http://127.0.0.1:3380"], { stdio: "ignore" });
  await until("the second etcd", async () => (await ctl("endpoint", "health")).exitCode === 0);
  for (const args of [["user", "add", `root:${PASSWORD}`], ["user", "grant-role", "root", "root"], ["auth", "enable"]]) {
    const { exitCode, stderr } = await ctl(...args);
    if (exitCode !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${stderr}`);
  }
}

beforeAll(async () => {
  const found = await findLab(LAB_ID, () => undefined, await pluginBuild());
  if (found === undefined) throw new Error(`Cannot find lab ${LAB_ID}: setup.ts makes it`);
  lab = found;
  await guardedEtcd();
  const settings = { ETCD_ENDPOINTS: "10.99.0.250:3379", ETCD_USER: "root", ETCD_PASSWORD: PASSWORD, LOG_LEVEL: "debug", "varlib.source": DISK };
  node = await lab.addNode({ name: "guarded", swarm: false, plugin: { settings }, prepare: PREPARE });
  await must(node, ["docker", "swarm", "init", "--advertise-addr", node.address]);
  await makeNetwork(node, "guarded");
});
afterAll(async () => {
  await lab.removeNode("guarded");
  etcd.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

const starts = async (name: string): Promise<void> => {
  const box = await runBox(node, "guarded", name);
  await must(node, ["curl", "-sS", "-m", "5", `http://${box.address}/`]);
  await removeBox(box);
};
async function metric(name: string): Promise<number> {
  const text = await must(node, ["curl", "-s", "--unix-socket", "/run/flannel-np/debug.sock", "http://debug/metrics"]);
  return Number(text.split("\n").find((line) => line.startsWith(`flannel_np_${name} `))?.split(" ")[1] ?? 0);
}

describe("a password for etcd", () => {
  it("is used", async () => {
    await starts("guarded1");
    expect((await ctl("get", "--prefix", "--keys-only", "/")).exitCode).not.toBe(0);
    const { stdout } = await ctl("--user", `root:${PASSWORD}`, "get", "--prefix", "--keys-only", "/flannel/networks/");
    expect(stdout).toMatch(/\/subnets\/10\./);
  });

  it("is in no log, no argument list, no event, no answer of the debug endpoint", async () => {
    // The shell's own arguments must not be what is found: the word is put together inside.
    const [first, second] = [PASSWORD.slice(0, 6), PASSWORD.slice(6)];
    const places = [`${STATE}/`, "/var/log/lab/", "/run/flannel-np/", "/tmp/looked"];
    const script = `word="$1$2"; mkdir -p /tmp/looked; cat /proc/[0-9]*/cmdline >/tmp/looked/arguments 2>/dev/null
      for page in /state /plan /metrics /events /healthz /readyz; do curl -s --unix-socket /run/flannel-np/debug.sock "http://debug$page"; done >/tmp/looked/answers
      wc -c /tmp/looked/answers | cut -d' ' -f1; grep -c flanneld /tmp/looked/arguments; grep -c 'flanneld.log' ${STATE}/events/events.ndjson; grep -rl -- "$word" ${places.join(" ")} || echo nowhere
      echo "$word" >/tmp/looked/control; grep -rl -- "$word" ${places.join(" ")}`;
    const [answers, arguments_, lines, ...found] = (await must(node, ["sh", "-c", script, "-", first, second])).split("\n");
    expect(Number(answers)).toBeGreaterThan(2_000);
    expect(Number(arguments_)).toBeGreaterThan(0);
    expect(Number(lines)).toBeGreaterThan(3);
    expect(found).toEqual(["nowhere", "/tmp/looked/control"]);
  });
});

describe("a full disk below the event log and the state file", () => {
  it("that fills up: is counted, containers start, and what waited is written when there is room", async () => {
    await must(node, ["sh", "-c", FILL]);
    await starts("guarded2");
    await until("a refused write to be counted", async () => {
      await debug(node, "POST", "/reconcile");
      return await metric("event_log_failed_writes_total") > 0;
    });
    await must(node, ["rm", `${DISK}/ballast`]);
    await debug(node, "POST", "/reconcile");
    await until("the lines that waited", async () => {
      const seqs = (await must(node, ["cat", `${STATE}/events/events.ndjson`])).split("\n").map((line) => (JSON.parse(line) as { seq: number; event: string }));
      const gaps = seqs.filter(({ seq, event }, at) => at > 0 && event !== "events.lost" && seq !== (seqs[at - 1]?.seq ?? 0) + 1);
      return gaps.length === 0 && seqs.at(-1)?.event !== undefined && seqs.some(({ event }) => event === "reconcile.requested");
    });
  });

  it("that is full before the plugin starts: is counted, and containers start on networks old and new", async () => {
    await must(node, ["touch", "/etc/full"]);
    await node.powerCut();
    await node.start();
    expect(await must(node, ["sh", "-c", `df --output=avail ${DISK} | tail -1`])).toMatch(/^\s*0$/);
    await starts("guarded3");
    await makeNetwork(node, "guarded-new");
    const box = await runBox(node, "guarded-new", "guarded4");
    await must(node, ["curl", "-sS", "-m", "5", `http://${box.address}/`]);
    await removeBox(box);
    expect(await metric("event_log_failed_writes_total")).toBeGreaterThan(0);
    await removeNetwork(node, "guarded-new");
  });
});
