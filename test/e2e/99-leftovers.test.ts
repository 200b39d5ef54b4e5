/**
 * After the last suite: both kernels are what they were before the first one, and etcd is empty but for who is there.
 *
 * Must hold: nothing of any network is left; nothing that is not ours has been changed. Needs the pictures that setup.ts takes.
 */
import { describe, expect, it } from "@jest/globals";
import { etcdKeys, must, openedLab, until } from "./bed.ts";
import { pictures } from "./pictures.ts";
import { untilNothingIsLeft } from "./traces.ts";

describe("after all suites", () => {
  it("no suite has left a container, service or network of its own, or a node", async () => {
    const lab = await openedLab();
    expect(lab.nodes.map(({ name }) => name)).toEqual(["node1", "node2"]);
    for (const node of lab.nodes) {
      // Swarm removes a task's container some time after its service.
      await until(`${node.name} to be empty`, async () => {
        const left = await must(node, ["sh", "-c", "docker ps -a --format '{{.Names}}'; docker network ls --format '{{.Name}}' | grep -vxE 'bridge|docker_gwbridge|host|ingress|none' || true"]);
        if (left !== "") throw new Error(left);
        return true;
      });
    }
    expect(await must(lab.node("node1"), ["docker", "service", "ls", "-q"])).toBe("");
  });

  it("nothing of ours is left on any node, and etcd holds the schema and the nodes alone", async () => {
    const lab = await openedLab();
    await untilNothingIsLeft(lab);
    // A node that was taken out of the lab while its plugin ran to its end: its record waits a quarter of an hour for the next process.
    const keys = [...await etcdKeys(lab)].filter(([, value]) => !value.includes('"maintenance":true')).map(([key]) => key);
    expect(keys.filter((key) => key === "/flannel/schema")).toHaveLength(1);
    expect(keys.filter((key) => /^\/flannel\/nodes\/[^/]+$/.test(key))).toHaveLength(lab.nodes.length);
    // What swarm says of a node stands beside what the node says of itself.
    expect(keys.filter((key) => /^\/flannel\/docker\/nodes\/[^/]+$/.test(key))).toHaveLength(lab.nodes.length);
    expect(keys).toHaveLength(1 + 2 * lab.nodes.length);
  });

  it.each(["node1", "node2"])("the kernel of %s has every line it had before the first suite, and no other", async (name) => {
    const node = (await openedLab()).node(name);
    // Sorted: an engine that was started again, as suites from 70 on do, places its own rules in another order.
    const { before, after } = await pictures(node, (text) => text.split("\n").sort());
    expect(after).toEqual(before);
  });
});
