/** What users and broken callers ask for in vain: refused by name with the cure, where they look; nothing is half-made. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { etcdKeys, makeNetwork, must, openedLab, removeNetwork, until, type Node } from "./bed.ts";
import { askForNetwork, dockerdLog, eventTells, life, logShows, PluginSocket, status, statusShows, type Logs } from "./refusal-bed.ts";

let lab: Lab;
let node: Node;

/** Name, what it is asked for with, what is said, how to do better. */
const REFUSED: readonly (readonly [name: string, options: readonly string[], reason: string, cure: string])[] = [
  ["bad-overlap", ["--subnet", "10.77.16.0/20"], "Cannot use 10.77.16.0/20: it overlaps 10.77.0.0/16", "Choose another --subnet, or leave it out"],
  ["bad-same", ["--subnet", "10.77.0.0/16"], "10.77.0.0/16 belongs to network", "--subnet"],
  ["bad-tiny", ["--subnet", "10.78.0.0/30"], "Cannot divide 10.78.0.0/30: a /30 network holds 1 node subnets of /30; at least 4 are needed", "Use a larger --subnet"],
  ["bad-ipam-name", ["--ipam-opt", "nosuch=1"], "Cannot use --ipam-opt nosuch: there is no such option; expected flannel-id, host-subnet-size", "For example host-subnet-size=25"],
  ["bad-ipam-value", ["--ipam-opt", "host-subnet-size=99"], "Cannot use option host-subnet-size=99; expected a whole number from 10 to 30", "For example host-subnet-size=25"],
  ["bad-opt-name", ["--opt", "nosuch=1"], "Cannot use --opt nosuch: there is no such option; expected vni, backend, mtu", "For example mtu=1400"],
  ["bad-opt-value", ["--opt", "mtu=9"], "Cannot use option mtu=9; expected a whole number from 576 to 65535", "For example mtu=1450"],
  ["bad-range", ["--subnet", "10.79.0.0/16", "--ip-range", "10.79.4.0/24"], "Cannot limit addresses to 10.79.4.0/24: every node has a subnet of its own", "Create the network without --ip-range"],
  ["bad-six", ["--ipv6", "--subnet", "fd00:9::/64"], "Cannot make an IPv6 range: this driver carries IPv4 only", "Create the network without --ipv6"],
  ["bad-gateway", ["--subnet", "10.80.0.0/16", "--gateway", "10.80.200.1"], "Cannot reserve 10.80.200.1: VIPs and gateways of this network come from 10.80.0.0/22", "Leave --ip and --gateway out"],
  ["bad-id", ["--ipam-opt", "flannel-id=bad-good"], "Cannot use flannel-id bad-good: the network of 10.77.0.0/16 has it", "Give every network a flannel-id of its own"],
];

beforeAll(async () => {
  lab = await openedLab();
  node = lab.node("node1");
  await makeNetwork(node, "bad-good", "--subnet", "10.77.0.0/16", "--ipam-opt", "flannel-id=bad-good");
});

afterAll(async () => {
  for (const name of ["bad-good", "bad-v6only", ...REFUSED.map(([refused]) => refused)]) await removeNetwork(node, name);
});

describe("a network that cannot be carried as asked", () => {
  let log: Logs;
  let before: { readonly pid: number; readonly boot: string };
  beforeAll(async () => {
    before = await life(node);
    log = await dockerdLog(node);
    for (const [name, options] of REFUSED) await askForNetwork(node, name, ...options);
  });

  it.each(REFUSED)("%s %p is told in dockerd's log, in status and in the event log", async (name, _options, reason, cure) => {
    const id = await must(node, ["docker", "network", "inspect", "-f", "{{.Id}}", name]);
    await logShows(log, reason, cure);
    await statusShows(node, 1, `network ${name}: `, reason, `docker network rm ${name}`, cure);
    await eventTells(node, "plugin.refused", reason, cure);
    await eventTells(node, "network.refused", id, reason, cure);
  });

  it("leaves no range, no VNI and no config behind, and the process lives", async () => {
    const bound = [...await etcdKeys(lab)].filter(([key]) => /\/(vnis|networks)\//.test(key)).map(([, value]) => value).join("\n");
    for (const range of ["10.77.16.0", "10.78.", "10.79.", "10.80."]) expect(bound).not.toContain(range);
    expect(await life(node)).toEqual(before);
  });

  it("is forgotten once it is removed, and what it asked for is free at once", async () => {
    for (const [name] of REFUSED) await removeNetwork(node, name);
    await statusShows(node, 0, "ready");
    log = await dockerdLog(node);
    await makeNetwork(node, "bad-gateway", "--subnet", "10.80.0.0/16");
    await until("the range to be bound", async () => (await status(node)).text.includes("10.80.0.0/16"));
    expect(await log.read()).not.toContain("Failed allocation");
  });
});

describe("a container that cannot be attached as asked", () => {
  let log: Logs;
  let started: ReturnType<Node["exec"]>;
  beforeAll(async () => {
    log = await dockerdLog(node);
    started = node.exec(["docker", "run", "--rm", "--network", "bad-good", "--ip", "10.77.200.9", "lab/box", "true"]);
  });

  it("--ip outside of the service range is named in dockerd's log, in status and in the event log", async () => {
    const reason = "Cannot reserve 10.77.200.9: VIPs and gateways of this network come from 10.77.0.0/22, containers from their node's subnet";
    await logShows(log, reason, "Leave --ip and --gateway out");
    await statusShows(node, 1, reason, "Leave --ip and --gateway out");
    await eventTells(node, "plugin.refused", reason);
  });

  it("--ipv6 is named by docker service ps and in status", async () => {
    await askForNetwork(node, "bad-v6only", "--ipv6");
    await must(node, ["docker", "service", "create", "-d", "--name", "bad-six", "--no-resolve-image", "--restart-condition", "none", "--network", "bad-v6only", "--constraint", "node.hostname==node1", "lab/box"]);
    try {
      await until("the reason in docker service ps", async () =>
        /Cannot make an IPv6 range: this driver carries IPv4 only. Create the network without --ipv6/.test(await must(node, ["docker", "service", "ps", "--no-trunc", "--format", "{{.Error}}", "bad-six"])));
    } finally {
      await must(node, ["docker", "service", "rm", "bad-six"]);
    }
    await statusShows(node, 1, "Cannot make an IPv6 range: this driver carries IPv4 only", "Create the network without --ipv6");
  });

  it("--ip: docker run gives up by itself and says where to look", async () => {
    const { exitCode, stderr } = await started;
    expect({ exitCode, points: stderr.includes("check manager logs") }).toEqual({ exitCode: 125, points: true });
  });
});

describe("a driver call with a body that is none", () => {
  let socket: PluginSocket;
  beforeAll(async () => { socket = await PluginSocket.of(node); });
  afterAll(() => socket.close());

  it.each([
    ["empty", "", 500, /the body is empty/], ["blank", " \n", 500, /the body is empty/], ["cut off", '{"NetworkID":"a', 500, /the body is not JSON/],
    ["a list", "[]", 500, /the body is not an object/], ["of a wrong kind", '{"NetworkID":7}', 500, /NetworkID is not text/],
    ["of 33 MiB", Buffer.alloc(33 * 2 ** 20, 32), 413, /larger than 33554432 bytes/],
  ] as const)("%s is answered with Err and Error", async (_, body, expected, reason) => {
    const before = await life(node);
    for (const method of ["NetworkDriver.AllocateNetwork", "IpamDriver.RequestPool"]) {
      const answer = await socket.post(method, method.startsWith("Ipam") && typeof body === "string" ? body.replace("NetworkID", "AddressSpace") : body);
      const { Err, Error: error } = JSON.parse(answer.body) as { readonly Err?: string; readonly Error?: string };
      expect(answer.status).toBe(expected);
      expect(Err).toBe(error);
      expect(Err).toMatch(new RegExp(reason.source.replace("NetworkID", "(NetworkID|AddressSpace)")));
    }
    expect(await life(node)).toEqual(before);
  });
});
