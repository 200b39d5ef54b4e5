/**
 * Ten thousand broken bodies per method through the live socket of a real node that carries a network and a container:
 * the process lives, every answer is JSON, and afterwards there is nothing that a valid call did not ask for.
 * FNP_FUZZ_PER_METHOD and FNP_FUZZ_SEED make it shorter or different.
 */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { METHODS, type MethodName } from "../../src/plugin/protocol.ts";
import { BODIES, ENDPOINT, NETWORK } from "../plugin/bodies.ts";
import { mutations } from "../plugin/mutate.ts";
import { makeNetwork, must, pings, runBox, until, type Box, type Node } from "./bed.ts";
import { dropKeys, keysBelow, labWithBuild, life, ownNode, PluginSocket, statusShows, type Answer } from "./refusal-bed.ts";

const PER_METHOD = Number(process.env["FNP_FUZZ_PER_METHOD"] ?? 10_000);
const SEED = Number(process.env["FNP_FUZZ_SEED"] ?? 1);
/** Calls at a time: more than a busy dockerd has. */
const AT_ONCE = 48;
const PREFIX = "/fuzz";
/** The range of the bodies: a valid request for it finds it taken, so that no chance hit makes a network. */
const RANGE = "10.1.0.0/16";
/** Of each method's bodies, this share speaks of the real network. */
const REAL = 0.1;

let lab: Lab;
let node: Node;
let socket: PluginSocket;
let network: string;
const boxes: Box[] = [];

beforeAll(async () => {
  lab = await labWithBuild();
  await dropKeys(lab, PREFIX);
  // Room for one network alone, and that one is taken.
  node = await ownNode(lab, "fuzz", { settings: { ETCD_PREFIX: PREFIX, AVAILABLE_SUBNETS: RANGE, NETWORK_SUBNET_SIZE: "16", DEFAULT_HOST_SUBNET_SIZE: "20" } });
  network = await makeNetwork(node, "fuzz", "--subnet", RANGE, "--ipam-opt", "flannel-id=fuzzed");
  boxes.push(await runBox(node, "fuzz", "f1"), await runBox(node, "fuzz", "f2"));
  await statusShows(node, 0, "ready");
  socket = await PluginSocket.of(node);
});

afterAll(async () => {
  await socket.close();
  await lab.removeNode("fuzz");
  await dropKeys(lab, PREFIX);
});

/** Everything that a half-made thing could be part of. */
interface Picture { readonly keys: readonly string[]; readonly kernel: readonly string[]; readonly networks: unknown }

async function picture(): Promise<Picture> {
  const kernel = await must(node, ["sh", "-c", [
    "ip -o link | sed -E 's/^[0-9]+: ([^ ]+) .*mtu ([0-9]+).*/\\1 \\2/' | sort", "ip -o -4 addr | awk '{print $2,$4}' | sort", "ip -4 route show table all | sort", "ip rule",
    "nft -s list ruleset", "iptables-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'", "ip neigh show nud permanent | awk '{print $1,$3}' | sort",
  ].join("; ")]);
  const state = JSON.parse(await readFile(`${node.root}/var/lib/flannel-np/state.json`, "utf8")) as Record<string, unknown>;
  return { keys: [...await keysBelow(lab, PREFIX)].map(([key, value]) => (/\/nodes\//.test(key) ? key : `${key} ${value}`)).sort(), kernel: kernel.split("\n"), networks: networksIn(state) };
}

/** The state file's networks, pools and leases; addresses come and go, and with them their times. */
function networksIn(state: unknown): unknown {
  const text = JSON.stringify(state, (key, value: unknown) => (/^(ledger|checksum|revision|savedAt\w*)$/.test(key) ? undefined : value));
  return JSON.parse(text);
}

/** A part of the bodies names the real network and its ids, the other part what nobody has. */
function* bodiesFor(method: MethodName, seed: number): Generator<string> {
  const body = BODIES[method];
  const real = Math.round(PER_METHOD * (mayNameReal(method) ? REAL : 0));
  yield* mutations(body, PER_METHOD - real, seed);
  const text = JSON.stringify(body ?? {}).replaceAll(NETWORK, network).replaceAll("L:u1", "L:fuzzed");
  yield* mutations(JSON.parse(text), real, seed + 1);
}

/** Docker's word that the real network or its parts are over is valid, whoever says it; so is its binding. */
const mayNameReal = (method: MethodName): boolean => !["NetworkDriver.FreeNetwork", "NetworkDriver.AllocateNetwork", "IpamDriver.ReleasePool"].includes(method);

function expectJson(body: string, { status, body: text }: Answer): void {
  const { Err, Error: error } = JSON.parse(text) as { readonly Err?: unknown; readonly Error?: unknown };
  if (status === 200 || (status === 500 && typeof Err === "string" && Err !== "" && Err === error)) return;
  throw new Error(`${JSON.stringify(body.slice(0, 300))} was answered ${status} ${text.slice(0, 300)}`);
}

/** What Docker sends after a call that it gave up: the undoing of what was granted. */
async function undo(method: MethodName, body: string, answer: Answer): Promise<void> {
  if (answer.status !== 200) return;
  if (method === "NetworkDriver.CreateEndpoint") {
    const { NetworkID, EndpointID } = JSON.parse(body) as Record<string, unknown>;
    await socket.post("NetworkDriver.DeleteEndpoint", JSON.stringify({ NetworkID, EndpointID }));
  }
  if (method === "IpamDriver.RequestAddress") {
    const { Address } = JSON.parse(answer.body) as { readonly Address: string };
    await socket.post("IpamDriver.ReleaseAddress", JSON.stringify({ PoolID: (JSON.parse(body) as { PoolID: string }).PoolID, Address: Address.split("/")[0] }));
  }
}

async function sendAll(method: MethodName, seed: number): Promise<{ readonly sent: number; readonly accepted: number }> {
  const bodies = bodiesFor(method, seed);
  let sent = 0;
  let accepted = 0;
  const lane = async (): Promise<void> => {
    for (let next = bodies.next(); next.done !== true; next = bodies.next()) {
      const answer = await socket.post(method, next.value);
      expectJson(next.value, answer);
      await undo(method, next.value, answer);
      sent += 1;
      if (answer.status === 200) accepted += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return { sent, accepted };
}

describe(`${PER_METHOD} broken bodies per method`, () => {
  let before: Picture;
  let alive: Awaited<ReturnType<typeof life>>;
  const taken = new Map<MethodName, number>();
  beforeAll(async () => {
    alive = await life(node);
    // What the start of the network brings about comes to the state file last.
    before = await until("the state file to know both containers and the lease's device", async () => {
      const now = await picture();
      const text = JSON.stringify(now.networks);
      return ['\\"f1\\"', '\\"f2\\"', "VtepMAC"].every((word) => text.includes(word)) && now;
    });
  });

  it.each((Object.keys(METHODS) as MethodName[]).map((name, index) => [name, SEED * 1_000 + 2 * index] as const))("%s (seed %i) are all answered by the same process", async (name, seed) => {
    const { sent, accepted } = await sendAll(name, seed);
    expect(sent).toBe(PER_METHOD);
    if (METHODS[name].takesBody) expect(accepted).toBeLessThan(PER_METHOD);
    taken.set(name, accepted);
    expect(await life(node)).toEqual(alive);
  });

  it("are not all hopeless: of each method some were taken, but for the range and the network that another has", () => {
    const never = [...taken].filter(([, accepted]) => accepted === 0).map(([name]) => name);
    expect(never.filter((name) => !["NetworkDriver.AllocateNetwork", "NetworkDriver.Join"].includes(name))).toEqual([]);
  });

  it("leave etcd, the kernel and the state file as they were", async () => {
    // Docker gives an endpoint that it never lists up in time; valid ones were undone above.
    await socket.post("NetworkDriver.DeleteEndpoint", JSON.stringify({ NetworkID: NETWORK, EndpointID: ENDPOINT }));
    await until("the node to be as before", async () => {
      const now = await picture();
      const odd = (["keys", "kernel"] as const).flatMap((part) => [
        ...now[part].filter((line) => !before[part].includes(line)).map((line) => `+ ${line}`), ...before[part].filter((line) => !now[part].includes(line)).map((line) => `- ${line}`),
      ]);
      if (odd.length > 0) throw new Error(odd.slice(0, 20).join("\n"));
      expect(now.networks).toEqual(before.networks);
      return true;
    });
  });

  it("leave the node at work: traffic, a new container, a clean status", async () => {
    const [first, second] = boxes as [Box, Box];
    expect(await pings(first, second.address)).toBe(true);
    const third = await runBox(node, "fuzz", "f3");
    expect(await pings(third, first.address)).toBe(true);
    await statusShows(node, 0, "ready");
    expect(await life(node)).toEqual(alive);
  });
});
