/**
 * Containers and the world beyond their network: out through docker_gwbridge, in by published ports of the host; and the
 * `--internal` network, which has neither.
 */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box } from "./bed.ts";
import { both, inside, rangeOf, reached, script, type Place } from "./reach.ts";
import { removeService, runGlobalService } from "./tasks.ts";

const RUN_PORT = 18_080;
const SERVICE_PORT = 18_081;

let lab: Lab;
let lan: Awaited<ReturnType<Lab["addHost"]>>;
let open: readonly Box[] = [];
let closed: readonly Box[] = [];
let plain: readonly Box[] = [];
const servers: ChildProcess[] = [];

beforeAll(async () => {
  lab = await openedLab();
  lan = await lab.addHost("lan");
  for (const host of [lan, lab.outside]) {
    servers.push(host.spawn([lab.box, "serve", "-name", host.name]));
    await until(`${host.name} to serve`, async () => (await host.exec(["curl", "-s", "http://127.0.0.1/"])).exitCode === 0);
  }
  const manager = lab.node("node1");
  await makeNetwork(manager, "open");
  await makeNetwork(manager, "closed", "--internal");
  const onEachNode = (network: string, letter: string, ...options: readonly string[]): Promise<Box[]> => Promise.all(lab.nodes.map((node) => {
    const name = `${letter}${node.name.slice(-1)}`;
    return runBox(node, network, name, "--hostname", name, ...options);
  }));
  open = await onEachNode("open", "o", "-p", `${RUN_PORT}:80`);
  closed = await onEachNode("closed", "c", "--cap-add", "NET_ADMIN");
  plain = await onEachNode("bridge", "p");
});

afterAll(async () => {
  servers.forEach((server) => server.kill("SIGKILL"));
  await removeService(lab, "published");
  await Promise.all([...open, ...closed, ...plain].map(removeBox));
  for (const network of ["open", "closed"]) await removeNetwork(lab.node("node1"), network);
});

const everyOne = async (boxes: readonly Box[], check: (box: Box) => Promise<void>): Promise<void> => { await Promise.all(boxes.map(check)); };
const outsiders = (): readonly string[] => [lab.outside.address, lan.address];

describe("a container of our network", () => {
  it("reaches the LAN and what is beyond the router, in the name of its node", async () => {
    await everyOne(open, async (box) => {
      expect(await reached(inside(box), outsiders())).toEqual(both(...outsiders()));
      const [answer = ""] = await script(box, `curl -s -m 5 http://${lab.outside.address}/`);
      expect(answer.replace(/:\d+$/, "")).toBe(`outside ${box.node.address}`);
    });
  });

  it.each([["docker run -p", RUN_PORT, (): readonly string[] => open.map(({ name }) => name)],
    ["a service's port in host mode", SERVICE_PORT, (): readonly string[] => lab.nodes.map(({ name }) => `published-${name}`)],
  ] as const)("is reached by %s from the LAN and from beyond the router", async (_, port, expected) => {
    if (port === SERVICE_PORT) await runGlobalService(lab, "open", "published", "--publish", `mode=host,published=${port},target=80`);
    for (const host of [lan, lab.outside] as readonly Place[]) {
      for (const [index, node] of lab.nodes.entries()) {
        const answer = await until(`${node.name}:${port} to answer ${host.name}`, async () =>
          (await host.exec(["curl", "-s", "-m", "5", `http://${node.address}:${port}/`])).stdout.trim() || undefined);
        expect(answer.split(" ")[0]).toBe(expected()[index]);
      }
    }
  });
});

describe("a container of an --internal network", () => {
  const peer = (box: Box): string => closed.find((other) => other !== box)?.address ?? "";
  /** Everything that a container of the open network does reach, or that stands beside it on its node. */
  const beyond = (): readonly string[] => [...outsiders(), ...open.map(({ address }) => address), ...plain.map(({ address }) => address)];

  it("reaches its peer on the other node and nothing else", async () => {
    expect(await reached(inside(open[0] as Box), [...outsiders(), (open[1] as Box).address])).toEqual(both(...outsiders(), (open[1] as Box).address));
    expect(await reached(lab.node("node1"), [(plain[0] as Box).address])).toEqual(both((plain[0] as Box).address));
    await everyOne(closed, async (box) => { expect(await reached(inside(box), [peer(box), ...beyond()])).toEqual(both(peer(box))); });
  });

  it("is reached by its peer and nobody else", async () => {
    const targets = closed.map(({ address }) => address);
    await everyOne(closed, async (box) => { expect(await reached(inside(box), targets)).toEqual(both(...targets)); });
    await everyOne([...open, ...plain], async (box) => { expect(await reached(inside(box), [...outsiders(), ...targets])).toEqual(both(...outsiders())); });
  });

  it("has one link, no default route, and no place on docker_gwbridge", async () => {
    for (const box of closed) {
      expect(await script(box, "ls /sys/class/net | sort")).toEqual(["eth0", "lo"]);
      expect(await script(box, "ip route | grep default || true")).toEqual([]);
      const members = await must(box.node, ["docker", "network", "inspect", "-f", "{{range $id, $_ := .Containers}}{{$id}} {{end}}", "docker_gwbridge"]);
      const ids = await Promise.all([box, ...open.filter(({ node }) => node === box.node)].map(({ node, name }) =>
        must(node, ["docker", "inspect", "-f", "{{.Id}}", name])));
      expect(ids.map((id) => members.includes(id))).toEqual([false, true]);
    }
  });

  it("gets no further with a default route that it gave itself", async () => {
    await everyOne(closed, async (box) => {
      const { gateway } = await rangeOf(box);
      await script(box, `ip route add default via ${gateway} dev eth0`);
      expect(await reached(inside(box), [peer(box), ...beyond()])).toEqual(both(peer(box)));
      await script(box, "ip route del default");
    });
  });
});
