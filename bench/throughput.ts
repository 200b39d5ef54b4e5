/**
 * Keeps true: what our path costs is told beside the bare tunnel it uses and beside Docker's overlay.
 * In: both nodes. Out: speed and CPU yield of one TCP stream from node1 to node2.
 */
import { LabError } from "../lab/errors.ts";
import { until } from "../lab/wait.ts";
import type { Bed, Node } from "./bed.ts";
import { addressOf, field, pidOf, withNetworks } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import { median, rivalOf } from "./figures.ts";
import { inRounds } from "./rounds.ts";

const OURS = "bench-speed";
const OVERLAY = "bench-speed-overlay";
const BARE = "bench-bare";
const BARE_ADDRESS = { manager: "192.0.2.1", worker: "192.0.2.2" } as const;
const VNI = 7_001;
/** Neither flannel's port nor Docker's. */
const PORT = 8_473;
const ROUNDS = 21;
const SECONDS = 1;

/** A way to run a program at one end of a path. */
type Place = readonly string[];
interface Path { readonly client: Place; readonly server: Place; readonly address: string }

async function sh(node: Node, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await node.exec(["sh", "-ec", script]);
  if (exitCode !== 0) throw new LabError(`Cannot prepare ${node.name}: ${stderr.trim()}`, `the script was: ${script}`);
  return stdout;
}

/** A tunnel by hand between the same two links, of our tunnel's kind, in a namespace of its own on each node. */
async function bareEnd(node: Node, other: Node, address: string, like: string): Promise<void> {
  const mtu = field((JSON.parse(await sh(node, `ip -json link show dev ${like}`)) as readonly unknown[])[0], "mtu");
  await sh(node, [
    `ip netns add ${BARE}`, `ip link add ${BARE} mtu ${String(mtu)} type vxlan id ${VNI} dstport ${PORT} local ${node.address} remote ${other.address} dev eth0`,
    `ip link set ${BARE} netns ${BARE}`, `ip -n ${BARE} addr add ${address}/24 dev ${BARE}`, `ip -n ${BARE} link set ${BARE} up`,
  ].join("\n"));
}

const ourTunnel = async (node: Node): Promise<string> =>
  (await sh(node, "ip -br link show type vxlan | awk '/^flannel/ {print $1}' | tail -1")).trim();

async function withBare<T>({ manager, worker }: Bed, work: () => Promise<T>): Promise<T> {
  try {
    await bareEnd(manager, worker, BARE_ADDRESS.manager, await ourTunnel(manager));
    await bareEnd(worker, manager, BARE_ADDRESS.worker, await ourTunnel(worker));
    return await work();
  } finally {
    for (const node of [manager, worker]) await node.exec(["ip", "netns", "delete", BARE]);
  }
}

interface Run {
  /** Gbit/s as the receiver counted them. */
  readonly speed: number;
  /** Gbit per second of CPU time of sender and receiver, the kernel's work in their name included. */
  readonly yield: number;
}

/** One test: a server for one client, then the client. */
async function runOf({ manager, worker }: Bed, { client, server, address }: Path): Promise<Run> {
  const serving = worker.spawn([...server, "iperf3", "-s", "-1"]);
  try {
    const { stdout } = await until({ what: `measure the way to ${address}`, timeoutMs: 60_000, cure: "repeat the command" }, async () => {
      const output = await manager.exec([...client, "iperf3", "-J", "-c", address, "-t", String(SECONDS)]);
      if (output.exitCode !== 0) throw new Error(output.stdout.slice(-300));
      return output;
    });
    const end = field(JSON.parse(stdout), "end");
    const speed = Number(field(end, "sum_received.bits_per_second")) / 1e9;
    const cores = (Number(field(end, "cpu_utilization_percent.host_total")) + Number(field(end, "cpu_utilization_percent.remote_total"))) / 100;
    return { speed, yield: speed / cores };
  } finally {
    serving.kill();
  }
}

export const throughput: Benchmark = {
  name: "throughput",
  title: "Throughput between two nodes",
  how: `One TCP stream of iperf3, ${SECONDS} s, from node1 to node2: container to container on our network and on an overlay, and between two namespaces that are joined by a VXLAN link made by hand between the same two nodes, of the same MTU; ` +
    `in turn, ${ROUNDS} rounds; medians, and the median of the rounds' ratios. All three run the nodes' own iperf3. Both ends share this machine's cores, so the figure is the cost of the path, not a wire's speed; on a machine that others use, read the second one, which counts the CPU time of both ends.`,
  run: (bed) => withNetworks(bed, { [OURS]: "ours", [OVERLAY]: "overlay" }, (residents) => withBare(bed, async () => {
    const between = async (network: string): Promise<Path> => {
      const [client, server] = residents.get(network) ?? [];
      if (client === undefined || server === undefined) throw new LabError(`Cannot measure ${network}: it has no containers`, "repeat the command");
      return { client: ["nsenter", "-t", String(await pidOf(client)), "-n"], server: ["nsenter", "-t", String(await pidOf(server)), "-n"], address: await addressOf(server, network) };
    };
    const inBare = ["ip", "netns", "exec", BARE];
    const paths = [await between(OURS), { client: inBare, server: inBare, address: BARE_ADDRESS.worker }, await between(OVERLAY)];
    const [ours = [], bare = [], overlay = []] = await inRounds(ROUNDS, paths.map((path) => () => runOf(bed, path)));
    return (["speed", "yield"] as const).flatMap((part) => {
      const of = (runs: readonly Run[]): readonly number[] => runs.map((run) => run[part]);
      const figure = { value: median(of(ours)), samples: ROUNDS, ...(part === "speed" ? { name: "TCP, one stream", unit: "Gbit/s" } : { name: "TCP, per second of CPU", unit: "Gbit" }) };
      return [
        { ...figure, rival: rivalOf("bare VXLAN", of(ours), of(bare)), goal: { of: "ratio" as const, relation: "≥" as const, limit: 0.95 } },
        { ...figure, rival: rivalOf("overlay", of(ours), of(overlay)) },
      ];
    });
  })),
};
