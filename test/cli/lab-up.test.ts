/**
 * Keeps true: `lab up` adds to a lab and never changes or shrinks it unasked; what tools print is read rightly.
 * In: pure parts of lab/. Out: –. Rule: no process, no file.
 */
import { describe, expect, test } from "@jest/globals";
import { hierarchiesOf } from "../../lab/netns/cgroups.ts";
import { settingsFor } from "../../lab/plugin.ts";
import { subnetsOf } from "../../lab/proof.ts";
import { mirrorOf } from "../../lab/rootfs/cache.ts";
import type { LabRecord } from "../../lab/state.ts";
import { table } from "../../lab/verbs/output.ts";
import { nodesFor, settingsOf } from "../../lab/verbs/up.ts";

const node = (name: string, engine: string): LabRecord["nodes"][number] => ({
  name, engine, address: "10.99.0.11", swarm: "worker", rootfs: "/r", template: "", prepare: "", kind: "netns" as const, kernel: "", plugin: { alias: "flannel-np:latest", settings: { A: "1" } },
});
const record = (...nodes: LabRecord["nodes"]): LabRecord => ({ schema: 1, id: "demo", nodes, image: { archive: "/box.tar", id: "sha256:0" }, hosts: [] });
const asked = { lab: "demo", plugin: true, set: [] };

describe("nodesFor", () => {
  test("a new lab has two nodes of engine 28", () => {
    expect(nodesFor(asked, undefined).map((one) => one.engine)).toEqual(["28", "28"]);
  });
  test("without options an existing lab stays as it is", () => {
    expect(nodesFor(asked, record(node("node1", "28"), node("node2", "20.10"), node("node3", "26")))).toHaveLength(3);
  });
  test("nodes may be added", () => {
    expect(nodesFor({ ...asked, nodes: "3" }, record(node("node1", "28")))).toHaveLength(3);
  });
  test("shrinking, other engines, other settings are refused by name", () => {
    const two = record(node("node1", "28"), node("node2", "20.10"));
    expect(() => nodesFor({ ...asked, nodes: "1" }, two)).toThrow("shrink");
    expect(() => nodesFor({ ...asked, engine: "28" }, two)).toThrow("engine of node2");
    expect(() => nodesFor({ ...asked, set: ["A=2"] }, two)).toThrow("settings");
    expect(nodesFor({ ...asked, engine: "28,20.10", set: ["A=1"] }, two)).toHaveLength(2);
  });
});

test("--set takes NAME=value, the value may hold anything", () => {
  expect(settingsOf(["DEFAULT_FLANNEL_OPTIONS=--iface=eth0 -v=1", "ETCD_PREFIX="])).toEqual({ DEFAULT_FLANNEL_OPTIONS: "--iface=eth0 -v=1", ETCD_PREFIX: "" });
  expect(() => settingsOf(["etcd"])).toThrow("NAME=value");
});

test("the plugin gets the lab's etcd where the build has a variable for it, and the user's word wins", () => {
  const build = { folder: "", hash: "", variables: ["ETCD_ENDPOINTS"] };
  expect(settingsFor(build, {})).toEqual({ ETCD_ENDPOINTS: "http://10.99.0.250:2379" });
  expect(settingsFor(build, { ETCD_ENDPOINTS: "" })).toEqual({ ETCD_ENDPOINTS: "" });
});

test("cgroups: v1 wins on hybrid hosts, v2 only where it is the whole tree", () => {
  expect(hierarchiesOf("cgroup /sys/fs/cgroup/pids cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n")).toEqual({ version: "v1", mounts: ["/sys/fs/cgroup/pids"] });
  expect(hierarchiesOf("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")).toEqual({ version: "v2", mounts: ["/sys/fs/cgroup"] });
  expect(hierarchiesOf("proc /proc proc rw 0 0\n")).toEqual({ version: "none", mounts: [] });
});

test("the mirror is Debian's own main archive, not its security or a stranger's", () => {
  expect(mirrorOf("Stranger main bookworm http://a/\nDebian main bookworm-security http://b/\nDebian main bookworm http://c/\n")).toBe("http://c/");
  expect(mirrorOf("")).toBeUndefined();
});

test("flannel's leases give each node's subnet", () => {
  const listing = ["/flannel/networks/x/config", "{}", "/flannel/networks/x/subnets/10.0.2.0-25", '{"PublicIP":"10.99.0.11"}', ""];
  expect(subnetsOf(listing, [{ name: "node1", address: "10.99.0.11" }])).toEqual([{ node: "node1", subnet: "10.0.2.0/25" }]);
});

test("tables line up and have no blanks at line ends", () => {
  expect(table(["A", "LONG"], [["wide cell", "x"], ["", ""]])).toBe("A          LONG\nwide cell  x\n");
});
