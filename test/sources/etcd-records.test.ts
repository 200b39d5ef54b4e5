/** What is written to etcd is read back; what cannot be read is named. */
import { describe, expect, test } from "@jest/globals";
import type { Cidr, ContainerId, EndpointId, FlannelId, Ipv4, Mac, NetworkId, NodeId, ServiceId, TaskId, Vni } from "../../src/core/ids.ts";
import type { Container, Network, NodeRecord, Pool, Service, SubnetLease, Task } from "../../src/core/model.ts";
import { keysBelow } from "../../src/core/names.ts";
import {
  encodeContainer, encodeGrant, encodeMember, encodeNetwork, encodeNode, encodePool, encodeSchema, encodeService, encodeSubnetLease, encodeTask, SCHEMA_VERSION,
  stableJson,
} from "../../src/core/records.ts";
import { placeOf, readRecord, type Read } from "../../src/sources/etcd-records.ts";

const keys = keysBelow("flannel/");
const read = (key: string, text: string): Read | "nobody's" => {
  const place = placeOf(keys, key);
  return place === undefined ? "nobody's" : readRecord(place, text);
};

const network: Network = { id: "n1" as NetworkId, name: "web", cidr: "10.1.0.0/16" as Cidr, internal: true, options: { b: "2", a: "1" }, index: 7 };
const service: Service = {
  id: "s1" as ServiceId, name: "web", mode: "vip", networks: [{ network: network.id, aliases: ["www"] }],
  vips: [{ network: network.id, address: "10.1.0.5" as Ipv4 }], labels: { x: "y" }, index: 9,
};
const task: Task = { id: "t1" as TaskId, service: service.id, node: "a" as NodeId, slot: 2, state: "running", desiredState: "running", index: 3 };
const container: Container = {
  id: "c1" as ContainerId, node: "a" as NodeId, name: "web.1", hostname: "h", state: "stopping", health: "unhealthy", service: service.id,
  task: task.id, sandbox: "be23c76534bc", networks: { [network.id]: { endpoint: "e1" as EndpointId, address: "10.1.8.2" as Ipv4, aliases: ["web.1"] } },
};
const pool: Pool = {
  flannelId: "f1" as FlannelId, cidr: "10.1.0.0/16" as Cidr, hostSubnetLength: 24, serviceRange: "10.1.0.0/22" as Cidr, claimedAtMs: 5,
  network: network.id, vni: 6514 as Vni, backend: { Type: "vxlan", Port: 8472 }, releasedAtMs: 8,
};
const lease: SubnetLease = { flannelId: pool.flannelId, subnet: "10.1.8.0/24" as Cidr, publicIp: "10.0.0.4" as Ipv4, vtepMac: "0e:00:00:00:00:01" as Mac };
const node: NodeRecord = { id: "a" as NodeId, hostname: "h", publicIp: "10.0.0.4" as Ipv4, role: "manager" };

describe("what is written is read back", () => {
  test.each<[string, string, string, string, unknown]>([
    ["network", keys.dockerNetwork(network.id), encodeNetwork(network, "me"), "networks", network],
    ["service", keys.dockerService(service.id), encodeService(service, "me"), "services", service],
    ["task", keys.dockerTask(task.id), encodeTask(task, "me"), "tasks", task],
    ["container", keys.nodeContainer(container.node, container.id), encodeContainer(container, "me"), "containers", container],
    ["pool", keys.pool(pool.cidr), encodePool(pool, "me"), "pools", pool],
    ["lease", keys.subnet(lease.flannelId, lease.subnet), encodeSubnetLease(lease, 6514 as Vni), "subnets", lease],
    ["node", keys.node(node.id), encodeNode(node, "me"), "nodes", node],
    ["resting node", keys.node(node.id), encodeNode({ ...node, maintenance: true }, "me"), "nodes", { ...node, maintenance: true }],
    ["member", keys.dockerNode(node.id), encodeMember({ id: node.id, hostname: "h", state: "down", index: 4 }, "me"), "members", { id: node.id, hostname: "h", state: "down", index: 4 }],
    ["grant", keys.serviceRange(pool.flannelId, "10.1.0.9" as Ipv4), encodeGrant({ address: "10.1.0.9" as Ipv4, owner: "swarm", grantedAtMs: 5, releasedAtMs: 9 }), "grants", { address: "10.1.0.9", owner: "swarm", grantedAtMs: 5, releasedAtMs: 9 }],
    ["schema", keys.schema, encodeSchema("me"), "schema", SCHEMA_VERSION],
  ])("%s", (_name, key, text, kind, value) => expect(read(key, text)).toEqual({ kind, key: expect.any(String), value }));

  test("absent fields stay absent", () => {
    const { network: _network, vni: _vni, backend: _backend, releasedAtMs: _released, ...claimed } = pool;
    const found = read(keys.pool(pool.cidr), encodePool(claimed, "me"));
    expect("value" in Object(found) && Object.keys((found as { value: object }).value).sort()).toEqual(Object.keys(claimed).sort());
  });

  test("a reservation has no MAC", () => {
    const { vtepMac: _mac, ...reserved } = lease;
    expect(encodeSubnetLease(reserved)).toBe('{"PublicIP":"10.0.0.4"}');
    expect(read(keys.subnet(lease.flannelId, lease.subnet), encodeSubnetLease(reserved))).toMatchObject({ value: reserved });
  });
});

test("flanneld's own records, as it writes them", () => {
  const key = keys.subnet(lease.flannelId, lease.subnet);
  for (const text of [
    '{"PublicIP":"10.0.0.4","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":101,"VtepMAC":"0E:00:00:00:00:01"}}',
    '{"PublicIP":"10.0.0.4","BackendType":"vxlan","BackendData":{"VNI":101,"VtepMAC":"0e:00:00:00:00:01"},"BackendV6Data":{}}',
  ]) expect(read(key, text)).toMatchObject({ key: "f1/10.1.8.0/24", value: lease });
  expect(read(key, '{"PublicIP":"10.0.0.4","BackendType":"host-gw"}')).toMatchObject({ value: { publicIp: "10.0.0.4" } });
  expect(read("/flannel/networks/f1/subnets/10.1.8.0-24&fd00:78:0:3d::-64", '{"PublicIP":"10.0.0.4"}')).toMatchObject({ key: "f1/10.1.8.0/24" });
});

test("equal records are equal text, whatever the order of their fields", () => {
  expect(encodeNetwork({ ...network, options: { a: "1", b: "2" } }, "me")).toBe(encodeNetwork(network, "me"));
  expect(stableJson({ b: [{ d: 1, c: undefined }], a: null })).toBe('{"a":null,"b":[{"d":1}]}');
});

test.each<string>([
  keys.config("f1" as FlannelId), keys.vni(7 as Vni), "/flannel/", "/flannel/nodes/", "/flannel/unheard-of/x",
  "/flannelother/pools/10.1.0.0-16", "/flannel/docker/volumes/x", "/flannel/nodes/a/containers/c/d",
])("%s is nobody's", (key) => expect(read(key, "{")).toBe("nobody's"));

describe("garbage is named, never thrown", () => {
  test.each<[string, string, RegExp]>([
    [keys.dockerNetwork("n1" as NetworkId), "", /not JSON/],
    [keys.dockerNetwork("n1" as NetworkId), "null", /it is not object/],
    [keys.dockerNetwork("n1" as NetworkId), encodeNetwork({ ...network, cidr: "10.1/16" as Cidr }, "me"), /cidr: "10.1\/16" is not an IPv4 block/],
    [keys.dockerNetwork("n2" as NetworkId), encodeNetwork(network, "me"), /record of n1/],
    [keys.pool("10.2.0.0/16" as Cidr), encodePool(pool, "me"), /record of 10.1.0.0\/16/],
    [keys.pool(pool.cidr), encodePool({ ...pool, vni: 2 ** 24 as Vni }, "me"), /vni/],
    [keys.pool(pool.cidr), encodePool({ ...pool, flannelId: "a/b" as FlannelId }, "me"), /flannelId/],
    ["/flannel/networks/f1/subnets/foo", "{}", /key names no IPv4 block/],
    ["/flannel/networks/f1/subnets/10.1.8.9-24", '{"PublicIP":"10.0.0.4"}', /key names no IPv4 block/],
    [keys.subnet(lease.flannelId, lease.subnet), '{"PublicIP":"10.0.0.4","BackendData":{"VtepMAC":"none"}}', /MAC/],
    [keys.subnet(lease.flannelId, lease.subnet), "{}", /PublicIP/],
    [keys.nodeContainer("a" as NodeId, "c1" as ContainerId), encodeContainer({ ...container, state: "dancing" as "running" }, "me"), /state/],
    [keys.schema, '{"version":"2"}', /version/],
  ])("%s %s", (key, text, reason) => expect(read(key, text)).toEqual({ garbage: expect.stringMatching(reason) }));
});
