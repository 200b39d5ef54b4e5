/**
 * Packets between containers of one network on two nodes, engines 28 and 20.10: two containers on each, so that every way a
 * packet can take is among the pairs.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, type Box } from "./bed.ts";
import { both, inside, rangeOf, reached, script } from "./reach.ts";

let lab: Lab;
let boxes: readonly Box[] = [];
const others = (box: Box): readonly Box[] => boxes.filter((other) => other !== box);
/** One run of something in every container at once. */
const everywhere = <T>(run: (box: Box) => Promise<T>): Promise<T[]> => Promise.all(boxes.map(run));

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), "traffic");
  const names = [["node1", "t1a"], ["node1", "t1b"], ["node2", "t2a"], ["node2", "t2b"]] as const;
  boxes = await Promise.all(names.map(([node, name]) => runBox(lab.node(node), "traffic", name, "--hostname", name)));
});

afterAll(async () => {
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(lab.node("node1"), "traffic");
});

describe("a network made with no option", () => {
  it("carries ICMP, TCP and UDP between every two containers, and the server sees the client's own address", async () => {
    const seen = await everywhere((box) => script(box, [
      `for t in ${others(box).map(({ address }) => address).join(" ")}; do`,
      'ping -q -c 3 -i 0.2 -W 2 $t >/dev/null && echo "icmp $t"; echo "tcp $t $(box tcp-ask $t:9001)"; echo "udp $t $(box udp-ask $t:9000)"; done',
    ].join("\n")));
    const withoutPort = seen.map((lines) => lines.map((line) => line.replace(/:\d+ *$/, "")));
    expect(withoutPort).toEqual(boxes.map((box) => others(box).flatMap(({ name, address }) =>
      [`icmp ${address}`, `tcp ${address} ${name} ${box.address}`, `udp ${address} ${name} ${box.address}`])));
  });

  it("carries full packets without fragmenting, and not one byte more", async () => {
    const sizes = (box: Box, bytes: number): Promise<string[]> => script(box,
      `for t in ${others(box).map(({ address }) => address).join(" ")}; do ping -q -c 3 -i 0.2 -W 2 -M do -s ${bytes} $t >/dev/null 2>&1 && echo $t; done; true`);
    // 1500 of the wire, less 50 of VXLAN, less 28 of IP and ICMP.
    expect(await everywhere((box) => sizes(box, 1422))).toEqual(boxes.map((box) => others(box).map(({ address }) => address)));
    expect(await everywhere((box) => sizes(box, 1423))).toEqual(boxes.map(() => []));
  });

  it("carries 1 MB over TCP byte for byte between every two containers", async () => {
    const blob = "mkdir -p /tmp/www; head -c 1048576 /dev/urandom >/tmp/www/blob; httpd -p 8080 -h /tmp/www; sha256sum </tmp/www/blob";
    const hashes = (await everywhere((box) => script(box, blob))).map(([hash = ""]) => hash);
    expect(new Set(hashes).size).toBe(boxes.length);
    const received = await everywhere((box) => script(box, boxes.map(({ address }) => `curl -s -m 20 http://${address}:8080/blob | sha256sum`).join("\n")));
    expect(received).toEqual(boxes.map(() => hashes));
  });

  it("lets a node reach its own and the other node's containers", async () => {
    const all = both(...boxes.map(({ address }) => address));
    for (const name of ["node1", "node2"]) expect(await reached(lab.node(name), boxes.map(({ address }) => address))).toEqual(all);
    const full = await must(lab.node("node1"), ["sh", "-c",
      boxes.map(({ address }) => `ping -q -c 3 -i 0.2 -W 2 -M do -s 1422 ${address} >/dev/null && echo ${address}`).join("; ")]);
    expect(full.split("\n")).toEqual(boxes.map(({ address }) => address));
  });

  it("lets a container reach the gateway of its node and of the other", async () => {
    const gateways = [...new Set((await everywhere(rangeOf)).map(({ gateway }) => gateway))];
    expect(gateways).toHaveLength(2);
    const answers = await everywhere(async (box) => (await reached(inside(box), gateways)).filter((line) => line.startsWith("icmp")));
    expect(answers).toEqual(boxes.map(() => gateways.map((gateway) => `icmp ${gateway}`).sort()));
  });
});
