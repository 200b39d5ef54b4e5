/** Publish: copies of what Docker itself told; several managers write, none undoes a newer word, only the leader deletes. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { keysBelow } from "../../src/core/names.ts";
import { encodeContainer, encodeNetwork, encodeService } from "../../src/core/records.ts";
import { publishWith } from "../../src/reconcilers/publish.ts";
import type { EtcdChange, EtcdTable } from "../../src/sinks/etcd.ts";
import type { NodeRecord } from "../../src/core/model.ts";
import { container, MY_IP, network, NODE, OTHER, publicIp, service, snapshotOf, type World } from "./builders.ts";
import { applyToEtcd, entry } from "./etcd-model.ts";
import { casesOf, forAll, obeysTheLaws, reversedMap, type Facility } from "./laws.ts";

const keys = keysBelow("/flannel");
const publish = publishWith(keys);
const other = `${keys.nodes}${OTHER}/containers/theirs`;

const facility: Facility<EtcdTable, EtcdChange> = {
  empty: new Map([[keys.pool("10.1.0.0/16" as never), entry("not ours to publish")], [other, entry("theirs", 1n, true)]]),
  apply: applyToEtcd,
  disturb(observed, pick) {
    const next = new Map([...observed].map(([key, is]) => [key, [is, { ...is, leased: !is.leased }, entry("{"), entry('{"index":99}', 7n), entry('{"index":1}', 7n)][pick(5)] ?? is] as const));
    if (pick(2) === 0) next.set(`${keys.docker}services/stranger`, entry('{"index":3}'));
    return next;
  },
  reversed: reversedMap,
};
const planOf = (world: World, observed: EtcdTable = new Map()) => publish.plan(publish.desire(snapshotOf(world)), observed);
const written = (world: World) => planOf(world).changes.map(({ key }) => key.slice("/flannel/".length));
const SWARM: World = { networks: { items: [network(1)] }, services: { items: [service(1)] } };
const inEtcd = (index: number): EtcdTable => new Map([[keys.dockerService(service(1).id), entry(encodeService(service(1, { index, name: "as it was" }), "swarm"), 9n)]]);
const touched = ({ changes }: { readonly changes: readonly EtcdChange[] }, key: string) => changes.filter((change) => change.key === key);

describe("publish", () => {
  obeysTheLaws(publish, facility);

  it.each<[string, World, readonly string[]]>([
    ["a manager: the swarm's objects, itself, its containers", { ...SWARM, containers: { items: [container(1), container(2, { node: OTHER })] } },
      ["docker/networks/net-1", "docker/services/svc-1", "nodes/node-a", "nodes/node-a/containers/box-1", "schema"]],
    ["a worker: itself and its containers", { ...SWARM, node: { role: "worker", leader: false }, containers: { items: [container(1)] } },
      ["nodes/node-a", "nodes/node-a/containers/box-1", "schema"]],
    ["a manager whose Docker has not listed: nothing of the swarm", { ...SWARM, networksListed: false }, ["nodes/node-a", "schema"]],
    ["a manager that knows the swarm only from etcd: no echo", { services: { items: [service(1)], from: "etcd" } }, ["nodes/node-a", "schema"]],
    ["a node that does not know its link yet: nothing of itself", { ...SWARM, node: { underlay: undefined as never } }, ["docker/networks/net-1", "docker/services/svc-1"]],
  ])("%s", (_name, world, expected) => expect(written(world)).toEqual(expected));

  const record = (id: string, more: Partial<NodeRecord> = {}): NodeRecord => ({ id: id as NodeRecord["id"], hostname: id, publicIp: MY_IP, role: "worker", ...more });
  it.each<[string, readonly NodeRecord[], boolean]>([
    ["nobody else has its address: it speaks", [record(OTHER, { publicIp: publicIp(2) })], true],
    ["another node has it and spoke first: it does not", [record(OTHER)], false],
    ["both speak: the smaller id goes on", [record(NODE), record(OTHER)], true],
    ["both speak: the larger id ends", [record(NODE), record("node-0")], false],
    ["the other rests in maintenance: it waits", [record(OTHER, { maintenance: true })], false],
    ["this machine rests there under an older id: it speaks", [record(OTHER, { maintenance: true, hostname: "box-a" })], true],
    ["it spoke before, from another address: it does not", [record(NODE, { publicIp: publicIp(2) }), record(OTHER)], false],
  ])("of two nodes with one underlay address, %s", (_name, items, speaks) => {
    const desired = publish.desire(snapshotOf({ nodes: { items } }));
    expect([desired.value.entries.has(keys.node(NODE)), desired.blocked.length]).toEqual([speaks, speaks ? 0 : 1]);
  });

  it("tells swarm's list of nodes to workers, from Docker's own word only", () => {
    const members: World["members"] = { items: [{ id: OTHER, hostname: "b", state: "down", index: 3 }] };
    expect(written({ members })).toContain(`docker/nodes/${OTHER}`);
    expect(written({ members: { ...members, from: "etcd" } })).not.toContain(`docker/nodes/${OTHER}`);
  });

  it("hangs what this node says of itself on its lease, and the swarm's objects on none", () => {
    const ops = planOf({ ...SWARM, containers: { items: [container(1)] } }).changes.flatMap((change) => change.ops);
    expect(ops.filter((op) => op.do === "putLeased").map(({ key }) => key)).toEqual([keys.node(NODE), keys.nodeContainer(NODE, container(1).id)]);
  });

  it("writes again what hangs on a lease of an earlier life", () => {
    const key = keys.nodeContainer(NODE, container(1).id);
    const stale = new Map([[key, entry(encodeContainer(container(1), NODE), 4n, false)]]);
    expect(touched(planOf({ containers: { items: [container(1)] } }, stale), key)).toMatchObject([{ op: "update", why: "hangs on an old lease" }]);
  });

  it.each<[string, number, number]>([["an older index is replaced", 4, 1], ["a newer index stays", 6, 0]])("%s", (_name, index, times) => {
    expect(touched(planOf(SWARM, inEtcd(index)), keys.dockerService(service(1).id))).toHaveLength(times);
  });

  it("replaces a record that nobody can read", () => {
    const key = keys.dockerService(service(1).id);
    for (const text of ["", "{", "null", "7", '{"index":"99"}', "[]"]) expect(touched(planOf(SWARM, new Map([[key, entry(text)]])), key)).toHaveLength(1);
  });

  it("never replaces the schema's version", () => {
    expect(touched(planOf(SWARM, new Map([[keys.schema, entry('{"version":99}')]])), keys.schema)).toEqual([]);
  });

  const gone = keys.dockerNetwork("gone" as never);
  const leftover = new Map([[gone, entry(encodeNetwork(network(1), "swarm"))]]);
  it.each<[string, World, number]>([
    ["the leader whose Docker listed takes away what is gone", {}, 1],
    ["the leader whose Docker has not listed takes nothing", { networksListed: false }, 0],
    ["another manager takes nothing", { node: { leader: false } }, 0],
    ["a worker takes nothing", { node: { role: "worker", leader: false } }, 0],
  ])("%s", (_name, world, times) => expect(touched(planOf(world, leftover), gone)).toHaveLength(times));

  it.each<[string, World["services"], number]>([
    ["listed by Docker", { items: [] }, 1],
    ["not listed", { items: [], settled: false }, 0],
    ["known complete only from etcd's copy", { items: [service(1)], from: "etcd" }, 0],
  ])("services %s: one that is gone from them", (_name, services, times) => {
    const key = keys.dockerService("gone" as never);
    expect(touched(planOf(services === undefined ? {} : { services }, new Map([[key, entry('{"index":1}')]])), key)).toHaveLength(times);
  });

  it.each<[string, World, number]>([
    ["whatever of others is not known", { containers: { items: [], settled: false } }, 1], ["not while Docker has not listed", { endpoints: { items: [], settled: false } }, 0],
  ])("takes its own ended containers out, %s", (_name, world, times) => {
    const key = keys.nodeContainer(NODE, container(2).id);
    expect(touched(planOf(world, new Map([[key, entry(encodeContainer(container(2), NODE))]])), key)).toHaveLength(times);
  });

  it("touches nothing of other nodes, of pools, of leases", () => {
    forAll(casesOf(publish, facility), ({ plan }) => {
      expect(plan.changes.filter(({ key }) => key === other || key.startsWith(keys.pools) || key.startsWith(keys.networks))).toEqual([]);
    });
  });

  it("never puts an older index in the place of a newer one, and never deletes but as leader or for its own node", () => {
    fc.assert(fc.property(fc.nat(20), fc.nat(20), fc.boolean(), (mine, theirs, leader) => {
      const world: World = { node: { leader }, services: { items: [service(1, { index: mine + 1 })] } };
      const [change] = touched(planOf(world, inEtcd(theirs + 1)), keys.dockerService(service(1).id));
      if (theirs > mine) expect(change).toBeUndefined();
      else expect(change?.compare).toEqual([{ key: keys.dockerService(service(1).id), target: "mod", op: "=", value: 9n }]);
    }));
    forAll(casesOf(publish, facility), ({ world, plan }) => {
      const deletes = plan.changes.filter(({ op }) => op === "delete");
      if (world.node?.leader !== true) expect(deletes.filter(({ key }) => !key.startsWith(keys.nodeContainers(NODE)))).toEqual([]);
    });
  });
});
