/** The flanneld sink on real parts: flanneld, etcd, two nodes in network namespaces, the kernel's vxlan. Needs root. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { readdir } from "node:fs/promises";
import type { FlanneldSpec } from "../../src/sinks/flanneld.ts";
import { Bed, carry, drop, seen, sh, until, type Node } from "./flanneld-bed.ts";

let bed: Bed;
beforeAll(async () => { bed = await Bed.make(); }, 60_000);
afterAll(async () => { await bed?.tearDown(); }, 60_000);

const SIGNAL = new AbortController().signal;
const linksOf = ({ ns }: Node): Promise<string> => sh("ip", "-n", ns, "-o", "link", "show");
/** All that is in the kernel of a node but counters and ages. */
const kernelOf = async ({ ns }: Node): Promise<string> =>
  [await sh("ip", "-n", ns, "-o", "address"), await sh("ip", "-n", ns, "route"), await sh("ip", "-n", ns, "neigh", "show", "nud", "permanent")]
    .join("\n").replaceAll(" tentative", "");
const processesOf = async ({ directory }: Node): Promise<string[]> => {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => sh("cat", `/proc/${pid}/cmdline`).catch(() => "")));
  return lines.filter((line) => line.includes(`--subnet-file=${directory}/`));
};
/** Both nodes carry the network and know each other. */
async function both(specs: (node: number) => FlanneldSpec): Promise<void> {
  await Promise.all([1, 2].map((n) => carry(bed.node(n), specs(n))));
  for (const n of [1, 2]) await until(async () => (await seen(bed.node(n), specs(n)))?.peers.length === 1);
}

describe("flanneld sink", () => {
  it("makes a device that flanneld adopts, and shows lease and peer", async () => {
    const specs = await bed.network(1);
    await carry(bed.node(1), specs(1));
    const first = await seen(bed.node(1), specs(1));
    expect(first?.running?.ready).toBe(true);
    await both(specs);
    const entry = await seen(bed.node(1), specs(1));
    expect(entry?.device).toEqual({
      ifindex: first?.device?.ifindex, mac: specs(1).mac, mtuBytes: 1_450, vni: specs(1).vni, up: true, addresses: ["10.101.11.0/32"],
      local: "10.99.0.11", port: 8_472, link: "eth0", gbp: false, learning: false,
    });
    expect(entry?.subnetFile).toEqual({ network: "10.101.0.0/16", subnet: "10.101.11.0/24", mtuBytes: 1_450 });
    expect(entry?.peers).toEqual([{ subnet: "10.101.12.0/24", publicIp: "10.99.0.12", mac: specs(2).mac }]);
    expect(entry?.remains).toEqual([]);
    const lease = await bed.etcdctl("get", "--print-value-only", "/t/networks/net1/subnets/10.101.11.0-24");
    expect(JSON.parse(lease)).toMatchObject({ PublicIP: "10.99.0.11", BackendData: { VNI: 6_501, VtepMAC: specs(1).mac } });
  }, 60_000);

  it("loses no packet when flanneld is killed and started again", async () => {
    const specs = await bed.network(2);
    await both(specs);
    const [source, target] = await Promise.all([1, 2].map((n) => bed.gateway(n, specs(n))));
    await until(async () => await bed.lost(1, source ?? "", target ?? "", 3) === 0);
    const before = await seen(bed.node(1), specs(1));
    const pings = bed.lost(1, source ?? "", target ?? "", 400);
    process.kill(before?.running?.pid ?? NaN, "SIGKILL");
    await until(() => bed.node(1).changed.includes(specs(1).flannelId));
    expect((await seen(bed.node(1), specs(1)))?.running).toBeUndefined();
    await until(() => carry(bed.node(1), specs(1), "update").then(() => true, () => false));
    const after = await seen(bed.node(1), specs(1));
    expect(after?.running?.pid).not.toBe(before?.running?.pid);
    expect(after?.device).toEqual(before?.device);
    expect(await pings).toBe(0);
  }, 60_000);

  it("shows and heals what a hand changed on the device, keeping the device", async () => {
    const specs = await bed.network(3);
    await both(specs);
    const before = await seen(bed.node(1), specs(1));
    await bed.ip(bed.node(1).ns, "link set flannel.6503 address 0e:00:00:00:00:99", "link set flannel.6503 mtu 1300",
      "address del 10.103.11.0/32 dev flannel.6503", "link set flannel.6503 down");
    const broken = await seen(bed.node(1), specs(1));
    expect(broken?.device).toMatchObject({ mac: "0e:00:00:00:00:99", mtuBytes: 1_300, up: false, addresses: [] });
    await carry(bed.node(1), specs(1), "update");
    await until(async () => (await seen(bed.node(1), specs(1)))?.peers.length === 1);
    expect((await seen(bed.node(1), specs(1)))?.device).toEqual(before?.device);
  }, 60_000);

  it("heals a deleted device, whatever flanneld made in its place", async () => {
    const specs = await bed.network(4);
    await both(specs);
    await bed.ip(bed.node(1).ns, "link del flannel.6504");
    await until(() => bed.node(1).changed.includes(specs(1).flannelId));
    await until(() => carry(bed.node(1), specs(1), "update").then(() => true, () => false));
    await until(async () => (await seen(bed.node(1), specs(1)))?.peers.length === 1);
    const healed = await seen(bed.node(1), specs(1));
    expect(healed?.device).toMatchObject({ mac: specs(1).mac, up: true, addresses: ["10.104.11.0/32"] });
    expect(healed?.running?.complaint).toBeUndefined();
    expect(await sh("ip", "-n", bed.node(1).ns, "link", "show", "flannel.6504")).toContain("alias flannel-np:net4");
  }, 60_000);

  it("makes the device anew when what is wanted cannot be changed on it", async () => {
    const specs = await bed.network(5, "vxlan", { Port: 8_999, GBP: true, Learning: true });
    await carry(bed.node(1), { ...specs(1), port: 8_999, gbp: true, learning: true });
    const before = await seen(bed.node(1), specs(1));
    expect(before?.device).toMatchObject({ port: 8_999, gbp: true, learning: true });
    await bed.network(5);
    await carry(bed.node(1), specs(1), "update");
    const after = await seen(bed.node(1), specs(1));
    expect(after?.device).toMatchObject({ port: 8_472, mac: specs(1).mac, gbp: false, learning: false });
    expect(after?.device?.ifindex).not.toBe(before?.device?.ifindex);
  }, 60_000);

  it("carries packets from known peers while etcd is down, and hands over to flanneld", async () => {
    const specs = await bed.network(6);
    await bed.stopEtcd();
    for (const n of [1, 2]) {
      const { subnet, publicIp, mac } = specs(3 - n);
      const { flannelId, vni, link } = specs(n);
      await bed.node(n).sink.apply([
        { op: "create", kind: "network", key: flannelId, why: "test", spec: specs(n) },
        { op: "create", kind: "peer", key: `${flannelId}/${subnet}`, why: "test", flannelId, vni, link, peer: { subnet, publicIp, mac } },
      ], SIGNAL);
    }
    const entry = await seen(bed.node(1), specs(1));
    expect(entry?.running?.ready).toBe(false);
    expect(entry?.peers).toHaveLength(1);
    const [source, target] = await Promise.all([1, 2].map((n) => bed.gateway(n, specs(n))));
    await until(async () => await bed.lost(1, source ?? "", target ?? "", 3) === 0);
    const pings = bed.lost(1, source ?? "", target ?? "", 400);
    await bed.startEtcd();
    await carry(bed.node(1), specs(1), "update");
    await until(async () => (await seen(bed.node(1), specs(1)))?.running?.ready === true);
    expect(await pings).toBe(0);
    const after = await seen(bed.node(1), specs(1));
    expect(after?.device?.ifindex).toBe(entry?.device?.ifindex);
    await until(async () => (await seen(bed.node(1), specs(1)))?.peers.length === 1);
  }, 90_000);

  it("removes rows of a peer that left, in whole and in parts", async () => {
    const specs = await bed.network(7);
    await carry(bed.node(1), specs(1));
    const { flannelId, vni, link } = specs(1);
    const peer = { subnet: specs(2).subnet, publicIp: specs(2).publicIp, mac: specs(2).mac };
    const { sink, ns } = bed.node(1);
    await sink.apply([{ op: "create", kind: "peer", key: "a", why: "test", flannelId, vni, link, peer }], SIGNAL);
    await bed.ip(ns, "neigh replace 10.107.44.0 lladdr 0e:00:00:00:00:44 dev flannel.6507 nud permanent");
    await sh("ip", "netns", "exec", ns, "bridge", "fdb", "replace", "0e:00:00:00:00:77", "dev", "flannel.6507", "dst", "10.99.0.77", "self", "permanent");
    const full = await seen(bed.node(1), specs(1));
    expect(full?.peers).toHaveLength(1);
    expect(full?.remains).toHaveLength(2);
    const rows = [...full?.peers ?? [], ...full?.remains ?? []];
    const removals = rows.map((row, n) => ({ op: "delete" as const, kind: "peer" as const, key: String(n), why: "test", flannelId, vni, rows: row }));
    await sink.apply(removals, SIGNAL);
    await sink.apply(removals, SIGNAL);
    expect(await seen(bed.node(1), specs(1))).toMatchObject({ peers: [], remains: [] });
  }, 60_000);

  it.each(["vxlan", "host-gw"])("leaves nothing of a dropped network (%s)", async (type) => {
    const specs = await bed.network(type === "vxlan" ? 8 : 9, type);
    const before = await kernelOf(bed.node(1));
    await both(specs);
    expect(await kernelOf(bed.node(1))).not.toBe(before);
    await drop(bed.node(1), specs(1));
    expect(await kernelOf(bed.node(1))).toBe(before);
    expect(await readdir(bed.node(1).directory)).not.toContain(`${specs(1).flannelId}.env`);
    expect((await processesOf(bed.node(1))).filter((line) => line.includes(`/${specs(1).flannelId}.env`))).toEqual([]);
    expect(await seen(bed.node(1), specs(1))).toBeUndefined();
    await drop(bed.node(1), specs(1));
  }, 60_000);

  it("does not spin on a flanneld that ends at once, exit code 0 included", async () => {
    const specs = await bed.network(10);
    const bad = { ...specs(1), extraFlags: ["--nonsense"] };
    await expect(carry(bed.node(1), bad)).rejects.toThrow(/Cannot keep flanneld of network net10 running: it ended with exit code 0/);
    await expect(carry(bed.node(1), bad)).rejects.toMatchObject({ code: "unavailable", message: expect.stringMatching(/the next in 1 s/) });
    const starts = (): number => bed.node(1).said.filter(({ event, fields }) => event === "flanneld.started" && fields["flannelId"] === "net10").length;
    expect(starts()).toBe(1);
    await until(() => bed.node(1).changed.filter((id) => id === bad.flannelId).length === 2);
    await carry(bed.node(1), specs(1), "update");
    expect((await seen(bed.node(1), specs(1)))?.running?.ready).toBe(true);
  }, 60_000);

  it("keeps secrets out of arguments and events", async () => {
    const node = { ...bed.node(1), directory: `${bed.folder}/secret`, said: [] };
    const sink = bed.sinkFor(node, { etcd: { endpoints: ["http://10.99.0.1:2379"], username: "root", password: "pa55-word}" }, readyMs: 500 });
    const specs = await bed.network(11);
    await carry({ ...node, sink }, specs(1)).catch(() => undefined);
    await until(() => JSON.stringify(node.said).includes("(withheld)"));
    expect(JSON.stringify(node.said)).not.toContain("pa55-word");
    expect((await processesOf(node)).join()).not.toContain("pa55-word");
    await drop({ ...node, sink }, specs(1));
  }, 60_000);

  it("ends what a former life of the operator left running", async () => {
    const specs = await bed.network(12);
    const node = { ...bed.node(1), directory: `${bed.folder}/former` };
    const former = bed.sinkFor(node);
    await carry({ ...node, sink: former }, specs(1));
    const elsewhere = bed.sinkFor({ ...node, ns: bed.node(2).ns });
    await elsewhere.apply([{ op: "delete", kind: "network", key: "net12", why: "test", flannelId: specs(1).flannelId }], SIGNAL);
    expect(await processesOf(node)).toHaveLength(1);
    const next = { ...node, sink: bed.sinkFor(node) };
    const entry = await seen(next, specs(1));
    expect(entry?.running).toBeUndefined();
    expect(entry?.device?.mac).toBe(specs(1).mac);
    expect(await next.sink.carried(SIGNAL)).toContain(specs(1).flannelId);
    await carry(next, specs(1));
    expect(await processesOf(node)).toHaveLength(1);
    await drop(next, specs(1));
    expect(await processesOf(node)).toEqual([]);
    expect(await next.sink.carried(SIGNAL)).not.toContain(specs(1).flannelId);
  }, 60_000);

  it("ends a flanneld that does not listen to SIGTERM before it touches the device", async () => {
    const specs = await bed.network(14);
    await carry(bed.node(1), specs(1));
    process.kill((await seen(bed.node(1), specs(1)))?.running?.pid ?? NaN, "SIGSTOP");
    await drop(bed.node(1), specs(1));
    expect((await processesOf(bed.node(1))).filter((line) => line.includes("/net14.env"))).toEqual([]);
    expect(await linksOf(bed.node(1))).not.toContain("flannel.6514");
  }, 60_000);

  it("refuses a stranger's device by name and leaves it alone", async () => {
    const specs = await bed.network(13);
    await bed.ip(bed.node(2).ns, "link add flannel.6513 type vxlan id 77 dev eth0 dstport 8472");
    await expect(carry(bed.node(2), specs(2))).rejects.toMatchObject({ code: "conflict", message: expect.stringMatching(/one that is not ours/) });
    expect(await linksOf(bed.node(2))).toContain("flannel.6513");
    expect((await seen(bed.node(2), specs(2)))).toBeUndefined();
  }, 60_000);
});
