/**
 * Keeps true: how long a driver call takes is seen from both ends: on the plugin's socket, and in its log while containers start.
 * In: the manager. Out: p50 and p99 per method against the goals.
 */
import { randomBytes } from "node:crypto";
import { askDocker } from "../lab/docker-api.ts";
import type { Bed } from "./bed.ts";
import { field, removeContainer, runContainer, withNetworks } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import type { Figure, Goal } from "./figures.ts";
import { percentile } from "./figures.ts";
import { loggedCalls, logEnd, withPluginSocket } from "./plugin-socket.ts";
import type { PluginCall } from "./plugin-socket.ts";

const NETWORK = "bench-calls";
const ABREAST = 8;
const BURSTS = 10;
/** A call whose answer is fixed: what the machine, the socket and HTTP take by themselves. */
const EMPTY = "NetworkDriver.EndpointOperInfo";
const GOALS_MS: Readonly<Record<string, number>> = { "IpamDriver.RequestAddress": 5, "NetworkDriver.CreateEndpoint": 5, "NetworkDriver.Join": 50 };

/** Milliseconds per method. */
type Samples = Map<string, number[]>;
const note = (samples: Samples, method: string, ms: number): void => void samples.set(method, [...samples.get(method) ?? [], ms]);

/** One container's calls, up to its end, without a container. */
async function lifeOf(call: PluginCall, pool: string, network: string, samples: Samples): Promise<void> {
  const timed = async (method: string, request: unknown): Promise<unknown> => {
    const { answer, ms } = await call(method, request);
    note(samples, method, ms);
    return answer;
  };
  const mac = `02:42:${randomBytes(4).toString("hex").replace(/..(?=.)/g, "$&:")}`;
  const endpoint = { NetworkID: network, EndpointID: randomBytes(32).toString("hex") };
  const address = String(field(await timed("IpamDriver.RequestAddress", { PoolID: pool, Address: "", Options: { "com.docker.network.endpoint.macaddress": mac } }), "Address"));
  await timed("NetworkDriver.CreateEndpoint", { ...endpoint, Interface: { Address: address, AddressIPv6: "", MacAddress: mac }, Options: {} });
  await timed("NetworkDriver.Join", { ...endpoint, SandboxKey: "/var/run/docker/netns/bench", Options: {} });
  await timed(EMPTY, endpoint);
  await timed("NetworkDriver.Leave", endpoint);
  await timed("NetworkDriver.DeleteEndpoint", endpoint);
  await timed("IpamDriver.ReleaseAddress", { PoolID: pool, Address: address.split("/")[0] });
}

async function fromOutside(bed: Bed, call: PluginCall, network: string, width: number, bursts: number): Promise<Samples> {
  const { answer } = await call("IpamDriver.RequestPool", await poolRequest(bed, network));
  const samples: Samples = new Map();
  for (let burst = 0; burst < bursts; burst += 1) {
    await Promise.all(Array.from({ length: width }, () => lifeOf(call, String(field(answer, "PoolID")), network, samples)));
  }
  return samples;
}

/** As a node's engine asks: with the network's range. */
async function poolRequest({ manager }: Bed, network: string): Promise<unknown> {
  const [config] = field(await askDocker(`inspect ${NETWORK}`, { socket: manager.socket, method: "GET", path: `/networks/${network}` }), "IPAM.Config") as readonly unknown[];
  return { AddressSpace: "fnp-local", Pool: field(config, "Subnet"), SubPool: "", Options: {}, V6: false };
}

async function duringStarts({ manager }: Bed): Promise<Samples> {
  const samples: Samples = new Map();
  for (let burst = 0; burst < BURSTS; burst += 1) {
    const after = await logEnd(manager);
    const containers = await Promise.all(Array.from({ length: ABREAST }, () => runContainer(manager, NETWORK)));
    for (const { method, durationMs } of await loggedCalls(manager, after)) note(samples, method, durationMs);
    await Promise.all(containers.map(removeContainer));
  }
  return samples;
}

function figures(samples: Samples, where: string): readonly Figure[] {
  return Object.entries(GOALS_MS).flatMap(([method, limit]) => {
    const times = samples.get(method) ?? [];
    const name = `${method.split(".")[1] ?? method}, ${where}`;
    const goal: Goal = { of: "value", relation: "≤", limit };
    const at = (share: number): Figure => ({
      name: `${name}, p${share * 100}`, value: percentile(times, share), unit: "ms", samples: times.length,
      rival: { name: "empty call", value: percentile(samples.get(EMPTY) ?? [], share) },
    });
    return [at(0.5), { ...at(0.99), goal }];
  });
}

export const driverCalls: Benchmark = {
  name: "driver-calls",
  title: "Driver calls",
  how: `The calls of a container's life, sent straight to the plugin's socket on node1, one after the other and ${ABREAST} lives at once; and what the event log says while ${ABREAST} real containers start at once, ${BURSTS} times. ` +
    "The empty call is EndpointOperInfo of the same lives, whose answer is fixed: the price of socket and machine. RequestAddress in the log counts both of a start's calls, the manager's placeholder and the node's address.",
  run: (bed) => withNetworks(bed, { [NETWORK]: "ours" }, async () => {
    const id = String(field(await askDocker(`inspect ${NETWORK}`, { socket: bed.manager.socket, method: "GET", path: `/networks/${NETWORK}` }), "Id"));
    const [alone, burst] = await withPluginSocket(bed.manager, async (call) =>
      [await fromOutside(bed, call, id, 1, 50), await fromOutside(bed, call, id, ABREAST, BURSTS)] as const);
    const real = await duringStarts(bed);
    return [...figures(alone, "socket, one at a time"), ...figures(burst, `socket, ${ABREAST} at once`), ...figures(real, `${ABREAST} container starts at once`)];
  }),
};
