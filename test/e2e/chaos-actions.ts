/**
 * What chaos does to a node: deaths, freezes, partitions, a full disk, driver calls lost and repeated.
 *
 * In:  the node it happens to, the other one, for how long.  Out: resolves when the cause is over; the effects may not be.
 */
import type { Lab } from "../../lab/lab.ts";
import { run } from "../../lab/run.ts";
import { DRIVER, must, removeBox, runBox, until, type Box, type Node } from "./bed.ts";
import { PluginSocket } from "./refusal-bed.ts";

/** Docker leaves a plugin that dies within 3 s of its start disabled for good, whoever wrote it: only grown ones are killed. */
const GROWN_S = 6;
const GUEST = "chaos-guest";
/** Where the plugin sees the node's disk. */
const STATE = "/host/var/lib/flannel-np";

export interface Target {
  readonly lab: Lab;
  readonly node: Node;
  readonly other: Node;
  /** The container that stays on this node. */
  readonly box: Box;
  readonly network: string;
  readonly milliseconds: number;
}
type Action = (target: Target) => Promise<unknown>;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

async function grownPlugin(node: Node): Promise<number> {
  return until(`a plugin that Docker has accepted on ${node.name}`, async () => {
    const pid = await node.pluginPid();
    return pid !== undefined && Number((await run("ps", ["-o", "etimes=", "-p", String(pid)])).stdout) > GROWN_S && pid;
  });
}

async function frozen(pid: number, milliseconds: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  try { await pause(milliseconds); } finally { process.kill(pid, "SIGCONT"); }
}

/** What is sent from one namespace to an address is lost without a word for a while. */
async function parted(netns: string, address: string, milliseconds: number): Promise<void> {
  const route = (verb: string): Promise<unknown> => run("nsenter", [`--net=${netns}`, "ip", "route", verb, "blackhole", `${address}/32`]);
  await route("add");
  try { await pause(milliseconds); } finally { await route("del"); }
}

/** The plugin's folder has no byte left; containers start and end all the same. */
async function fullDisk({ node, network, milliseconds }: Target): Promise<void> {
  const inside = ["-m", "-t", String(await grownPlugin(node))];
  const full = await run("nsenter", [...inside, "sh", "-c", `mount -t tmpfs -o size=16k full ${STATE}; cat /dev/zero >${STATE}/zeros; stat -f -c %a ${STATE}`]);
  try {
    if (full.stdout.trim() !== "0") throw new Error(`Cannot fill the disk of ${node.name}: ${full.stdout} ${full.stderr}`);
    await removeBox(await runBox(node, network, GUEST));
    await pause(milliseconds);
  } finally {
    await run("nsenter", [...inside, "umount", "-l", STATE]);
  }
}

/** The process that owes Docker an answer dies: Docker may or may not take back what it began. */
async function lostCall({ node, network, milliseconds }: Target): Promise<void> {
  const pid = await grownPlugin(node);
  const starting = node.exec(["docker", "run", "-d", "--name", GUEST, "--network", network, "lab/box"], { timeoutMs: 120_000 });
  await pause(milliseconds % 400);
  process.kill(pid, "SIGKILL");
  await starting;
  await grownPlugin(node);
  await removeBox({ node, name: GUEST });
}

/** Docker's calls for a container that runs, once more; and the end of one that never was. */
async function repeatedCalls({ node, box, network }: Target): Promise<void> {
  const format = `{{with index .NetworkSettings.Networks "${network}"}}{{.NetworkID}} {{.EndpointID}} {{.IPAddress}} {{.IPPrefixLen}} {{.MacAddress}}{{end}}`;
  const [NetworkID, EndpointID, address, length, MacAddress] = (await must(node, ["docker", "inspect", "-f", format, box.name])).split(" ");
  const never = "f".repeat(64);
  const socket = await PluginSocket.of(node, DRIVER);
  try {
    const create = { NetworkID, EndpointID, Interface: { Address: `${address}/${length}`, AddressIPv6: "", MacAddress }, Options: {} };
    for (const [method, body] of [
      ["CreateEndpoint", create], ["CreateEndpoint", create], ["EndpointOperInfo", { NetworkID, EndpointID }],
      ["Leave", { NetworkID, EndpointID: never }], ["DeleteEndpoint", { NetworkID, EndpointID: never }], ["DeleteEndpoint", { NetworkID, EndpointID: never }],
    ] as const) {
      const { status, body: text } = await socket.post(`NetworkDriver.${method}`, JSON.stringify(body));
      if (status !== 200) throw new Error(`Cannot repeat ${method} on ${node.name}: ${text}`);
    }
  } finally {
    await socket.close();
  }
}

export const ACTIONS: Readonly<Record<string, Action>> = {
  "kill plugin": async ({ node }) => process.kill(await grownPlugin(node), "SIGKILL"),
  "freeze plugin": async ({ node, milliseconds }) => frozen(await grownPlugin(node), milliseconds),
  "kill dockerd": async ({ node, milliseconds }) => { await node.killDockerd("SIGKILL"); await pause(milliseconds); await node.startDockerd(); },
  "kill etcd": async ({ lab, milliseconds }) => { await lab.etcd.kill(); await pause(milliseconds); await lab.etcd.start(); },
  "freeze etcd": async ({ lab, milliseconds }) => { await lab.etcd.pause(); await pause(milliseconds); await lab.etcd.resume(); },
  "kill flanneld": ({ node }) => must(node, ["sh", "-c", "kill -9 $(pgrep -x flanneld)"]),
  "freeze flanneld": ({ node, milliseconds }) => must(node, ["sh", "-c", `pids=$(pgrep -x flanneld); kill -STOP $pids; sleep ${milliseconds / 1000}; kill -CONT $pids || true`]),
  "part node and etcd": ({ lab, node, milliseconds }) => parted(lab.etcd.netns, node.address, milliseconds),
  "part nodes": ({ node, other, milliseconds }) => parted(node.netns, other.address, milliseconds),
  "start and kill a container": async ({ node, network }) => removeBox(await runBox(node, network, GUEST)),
  "fill the disk": fullDisk,
  "lose a call": lostCall,
  "repeat calls": repeatedCalls,
};
