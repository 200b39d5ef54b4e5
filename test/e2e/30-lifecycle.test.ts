/**
 * A network removed while its container still stops, and a container on three networks through all its states.
 *
 * Must hold: pool and VNI are nobody else's until the last node has cleaned up; addresses, links and routes follow each call.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { etcdKeys, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { count, nodeTraces, untilNothingIsLeft } from "./traces.ts";

let lab: Lab;
let manager: Node;
let worker: Node;

beforeAll(async () => {
  lab = await openedLab();
  [manager, worker] = [lab.node("node1"), lab.node("node2")];
});

describe("a network removed while a container on it ignores SIGTERM", () => {
  const fresh = ["fresh0", "fresh1", "fresh2"];
  const claims = async (): Promise<readonly string[]> => [...(await etcdKeys(lab)).keys()].filter((key) => /^\/flannel\/(pools|vnis)\//.test(key));
  const linksOnWorker = async (): Promise<number> => count(await nodeTraces(worker), "link ");

  beforeAll(async () => {
    await makeNetwork(manager, "slow");
    const stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"];
    const place = ["--constraint", "node.hostname==node2", "--stop-grace-period", "10s", "--network", "slow"];
    await must(manager, ["docker", "service", "create", "-d", "-q", "--name", "stubborn", "--no-resolve-image", ...place, "lab/box", ...stubborn]);
    await until("the stubborn task", async () => /Running/.test(await must(manager, ["docker", "service", "ps", "stubborn", "--format", "{{.CurrentState}}"])));
    await until("its VXLAN device", async () => count(await nodeTraces(worker), "link flannel.") === 1);
  });
  afterAll(async () => { await manager.exec(["docker", "network", "rm", ...fresh]); });

  it("keeps its pool and VNI until the worker is clean, then gives both back", async () => {
    const held = await claims();
    expect(held).toHaveLength(2);
    await must(manager, ["sh", "-c", "docker service rm stubborn && docker network rm slow"]);
    let looks = 0;
    for (const name of fresh) {
      await makeNetwork(manager, name);
      const after = await until(`pool and VNI of ${name}`, async () => {
        const now = await claims();
        return now.length > held.length && now.length % 2 === 0 && now;
      });
      // The order matters: whatever is on the worker after etcd was read was there while etcd said so.
      if (await linksOnWorker() === 0) break;
      looks += 1;
      expect(after).toEqual(expect.arrayContaining([...held]));
    }
    expect(looks).toBe(fresh.length);
    await until("the claims of the old network to go", async () => {
      const now = await claims();
      const links = await linksOnWorker();
      if (links > 0) expect(now.length).toBeGreaterThan(0);
      return !held.some((key) => now.includes(key));
    });
    expect(await linksOnWorker()).toBe(0);
    await must(manager, ["docker", "network", "rm", ...fresh]);
    await untilNothingIsLeft(lab);
  });
});

describe.each(["node1", "node2"])("a container on two of our networks and a bridge, on %s", (name) => {
  const [red, blue] = ["lifered", "lifeblue"];
  let node: Node;
  let peer: Node;
  let box: Box;
  let peers: ReadonlyMap<string, Box>;

  beforeAll(async () => {
    [node, peer] = name === "node1" ? [manager, worker] : [worker, manager];
    await makeNetwork(manager, red);
    await makeNetwork(manager, blue);
    await must(node, ["docker", "network", "create", "lifebridge"]);
    peers = new Map([[red, await runBox(peer, red, "peerred")], [blue, await runBox(peer, blue, "peerblue")]]);
    // Created on the bridge: engine 28 fails to start a container created on a swarm network of several, with its own overlay too.
    await must(node, ["docker", "create", "--name", "many", "--network", "lifebridge", "lab/box"]);
    for (const network of [red, blue]) await must(node, ["docker", "network", "connect", network, "many"]);
    box = { node, name: "many", address: "" };
  });
  afterAll(async () => {
    await Promise.all([...(peers?.values() ?? []), { node, name: "many" }].map(removeBox));
    await node.exec(["docker", "network", "rm", "lifebridge"]);
    await removeNetwork(manager, red);
    await removeNetwork(manager, blue);
    await untilNothingIsLeft(lab);
  });

  const inspected = async (): Promise<Readonly<Record<string, string>>> => {
    const found = JSON.parse(await must(node, ["docker", "inspect", "-f", "{{json .NetworkSettings.Networks}}", "many"])) as Record<string, { IPAddress: string }>;
    return Object.fromEntries(Object.entries(found).map(([network, { IPAddress }]) => [network, IPAddress]));
  };

  /** Docker's word, the inside, the host and the wire say the same: these networks of ours, each once. */
  async function expectOn(networks: readonly string[]): Promise<void> {
    const shown = await inspected();
    expect(Object.keys(shown).sort()).toEqual([...networks, "lifebridge"].sort());
    const addresses = networks.map((network) => shown[network] ?? "");
    const [inside, routes] = (await must(node, ["docker", "exec", "many", "sh", "-c", "ip -o -4 addr; echo ---; ip route"])).split("---\n") as [string, string];
    for (const address of Object.values(shown)) expect(inside.split(` ${address}/`)).toHaveLength(2);
    expect(routes.match(/^default /gm)).toHaveLength(1);
    // One connected route and one by the gateway for each of our networks, no other by our gateways.
    for (const address of addresses) expect(routes.split("\n").filter((route) => route.includes(` src ${address}`))).toHaveLength(1);
    expect(routes.match(/^10\.\S+ via /gm) ?? []).toHaveLength(networks.length);
    await until("links and host routes of these endpoints alone", async () => {
      const traces = await nodeTraces(node);
      const veths = traces.filter((line) => /^link fnp(?!-)/.test(line));
      const hosts = traces.filter((line) => /^route 10\.[0-9.]+ dev fnp/.test(line)).map((line) => line.split(" ")[1]);
      if (veths.length !== networks.length || [...hosts].sort().join() !== [...addresses].sort().join()) throw new Error(`${veths.join()} ${hosts.join()} instead of ${addresses.join()}`);
      return true;
    });
    for (const network of networks) expect(await until(`pings on ${network}`, () => pings(box, peers.get(network)?.address ?? ""))).toBe(true);
  }

  async function expectStopped(): Promise<void> {
    await until("its links and routes to go", async () => (await nodeTraces(node)).filter((line) => /^link fnp(?!-)|^route 10\.[0-9.]+ dev fnp/.test(line)).length === 0);
  }

  it("has both and the bridge after a start, a restart, and a stop and start", async () => {
    await must(node, ["docker", "start", "many"]);
    await expectOn([red, blue]);
    await must(node, ["docker", "restart", "-t", "0", "many"]);
    await expectOn([red, blue]);
    await must(node, ["docker", "stop", "-t", "0", "many"]);
    await expectStopped();
    await must(node, ["docker", "start", "many"]);
    await expectOn([red, blue]);
  });

  it("loses and regains a network while it runs", async () => {
    await must(node, ["docker", "network", "disconnect", red, "many"]);
    await expectOn([blue]);
    await must(node, ["docker", "network", "connect", red, "many"]);
    await expectOn([red, blue]);
    await must(node, ["docker", "network", "disconnect", blue, "many"]);
    await expectOn([red]);
    await must(node, ["docker", "network", "connect", blue, "many"]);
    await expectOn([red, blue]);
    await must(node, ["docker", "stop", "-t", "0", "many"]);
    await expectStopped();
  });
});
