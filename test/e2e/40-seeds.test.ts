/**
 * The documents this project started from, taken literally: etcd's keys, subnet.env, and a host that knows nothing of us and
 * runs a plain flanneld with `dockerd --bip --mtu` beside our nodes (seeds 001 and 004; docs/adr/0008).
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { copyFile, chmod } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Lab } from "../../lab/lab.ts";
import { etcdKeys, makeNetwork, must, openedLab, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";

const ID = "seeds-e2e";
const PREFIX = `/flannel/networks/${ID}/`;
const FLANNELD = fileURLToPath(new URL("../../build/plugin/rootfs/usr/bin/flanneld", import.meta.url));
let lab: Lab;
let boxes: readonly [Box, Box];

interface Config { readonly Network: string; readonly SubnetLen: number; readonly SubnetMin: string; readonly SubnetMax: string; readonly Backend: { readonly Type: string; readonly VNI: number } }
interface Lease { readonly PublicIP: string; readonly BackendType: string; readonly BackendData: { readonly VtepMAC: string } }

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), "seeds", "--ipam-opt", `flannel-id=${ID}`);
  boxes = [await runBox(lab.node("node1"), "seeds", "seed1"), await runBox(lab.node("node2"), "seeds", "seed2")];
});
afterAll(async () => {
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(lab.node("node1"), "seeds");
});

const under = async (prefix: string): Promise<ReadonlyMap<string, string>> => new Map([...await etcdKeys(lab)].filter(([key]) => key.startsWith(prefix)));
async function config(): Promise<Config> {
  return JSON.parse((await under(PREFIX)).get(`${PREFIX}config`) ?? "{}") as Config;
}
/** Subnet → lease, as flannel keeps them. */
async function leases(): Promise<ReadonlyMap<string, Lease>> {
  const keys = await under(`${PREFIX}subnets/`);
  return new Map([...keys].map(([key, text]) => [key.slice(`${PREFIX}subnets/`.length).replace("-", "/"), JSON.parse(text) as Lease]));
}
async function leaseOf(address: string): Promise<readonly [subnet: string, lease: Lease]> {
  const found = [...await leases()].find(([, { PublicIP }]) => PublicIP === address);
  if (found === undefined) throw new Error(`Cannot find a lease of ${address}`);
  return found;
}
const baseOf = (cidr: string): string => cidr.slice(0, cidr.indexOf("/"));
const number = (address: string): number => address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
const environment = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(text.trim().split("\n").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));

describe("what lies in etcd and on a node", () => {
  it("is flannel's config, with the fields the seeds show", async () => {
    const { Network, SubnetLen, SubnetMin, SubnetMax, Backend } = await config();
    expect(Network).toMatch(/^10\.\d+\.\d+\.0\/20$/);
    expect(SubnetLen).toBe(25);
    // The service range lies below; the last block is a node's too.
    expect(number(SubnetMin)).toBe(number(baseOf(Network)) + 1_024);
    expect(number(SubnetMax)).toBe(number(baseOf(Network)) + 4_096 - 128);
    expect(Backend).toMatchObject({ Type: "vxlan", VNI: expect.any(Number) });
    expect(Backend.VNI).toBeGreaterThanOrEqual(6_514);
  });

  it("is one lease per node, with that node's device's MAC, and nothing else", async () => {
    const { Backend: { VNI } } = await config();
    for (const { node, address } of boxes) {
      const [subnet, lease] = await leaseOf(node.address);
      const mac = await must(node, ["cat", `/sys/class/net/flannel.${VNI}/address`]);
      expect(lease).toMatchObject({ PublicIP: node.address, BackendType: "vxlan", BackendData: { VtepMAC: mac } });
      expect(Math.floor((number(address) - number(baseOf(subnet))) / 128)).toBe(0);
    }
    const keys = [...(await under(PREFIX)).keys()].map((key) => key.slice(PREFIX.length)).sort();
    expect(keys).toEqual(["config", expect.stringMatching(/^subnets\/10(\.\d+){3}-25$/), expect.stringMatching(/^subnets\/10(\.\d+){3}-25$/)]);
  });

  it("is a subnet.env and a device as flannel makes them", async () => {
    const { Network, Backend: { VNI } } = await config();
    for (const { node } of boxes) {
      const [subnet] = await leaseOf(node.address);
      const base = baseOf(subnet);
      const env = environment(await must(node, ["cat", `/var/lib/flannel-np/subnets/${ID}.env`]));
      expect(env).toEqual({ FLANNEL_NETWORK: Network, FLANNEL_SUBNET: `${base.replace(/\d+$/, (last) => String(Number(last) + 1))}/25`, FLANNEL_MTU: "1450", FLANNEL_IPMASQ: "false" });
      const [device] = JSON.parse(await must(node, ["ip", "-j", "-4", "addr", "show", "dev", `flannel.${VNI}`])) as { mtu: number; addr_info: { local: string; prefixlen: number }[] }[];
      expect(device?.mtu).toBe(1_450);
      expect(device?.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`)).toEqual([`${base}/32`]);
    }
  });
});

/**
 * The recipe of seed 001. What engine 28 needs beside it, and why, is in docs/adr/0008: engine 20.10 needs nothing, because
 * flanneld's own FLANNEL-FWD chain accepts what Docker's FORWARD policy would drop.
 */
const HOSTS = [
  { engine: "20.10", daemon: "", accept: false },
  { engine: "28", daemon: "--allow-direct-routing", accept: true },
] as const;

const START_FLANNELD = `
nohup flanneld --etcd-endpoints "$1" --etcd-prefix "$2" -iface eth0 >/var/log/lab/flanneld.log 2>&1 &
for i in $(seq 300); do [ -s /run/flannel/subnet.env ] && exit 0; sleep 0.1; done
tail -3 /var/log/lab/flanneld.log >&2; exit 1`;
const RESTART_DOCKERD = `
. /run/flannel/subnet.env
setsid dockerd --containerd=/run/containerd/containerd.sock --bip=$FLANNEL_SUBNET --mtu=$FLANNEL_MTU $1 >>/var/log/lab/dockerd.log 2>&1 </dev/null &`;

async function plainHost(engine: string, daemon: string): Promise<Box> {
  const node = await lab.addNode({ name: `plain${engine.split(".").join("")}`, engine, swarm: false, plugin: false });
  await copyFile(FLANNELD, `${node.root}/usr/local/bin/flanneld`);
  await chmod(`${node.root}/usr/local/bin/flanneld`, 0o755);
  await must(node, ["bash", "-c", START_FLANNELD, "-", lab.etcd.url, PREFIX.slice(0, -1)]);
  await node.killDockerd("SIGTERM");
  await must(node, ["bash", "-c", RESTART_DOCKERD, "-", daemon]);
  await node.ready();
  return runBox(node, "bridge", "test1");
}

/** The first word of the answer is the server's name, the second the client it saw. */
const seenBy = async (from: Box, address: string): Promise<string> =>
  (await must(from.node, ["docker", "exec", from.name, "curl", "-sS", "-m", "5", `http://${address}/`])).split(" ")[1]?.split(":")[0] ?? "";

describe.each(HOSTS)("a host with a plain flanneld and dockerd $engine", ({ engine, daemon, accept }) => {
  let plain: Box;
  let subnet: string;
  beforeAll(async () => {
    plain = await plainHost(engine, daemon);
    [subnet] = await leaseOf(plain.node.address);
  });
  afterAll(async () => {
    await lab.removeNode(plain.node.name);
    await lab.etcd.ctl(["del", `${PREFIX}subnets/${subnet.replace("/", "-")}`]);
  });
  const rowsOn = async (node: Node): Promise<string> => {
    const { Backend: { VNI } } = await config();
    return must(node, ["sh", "-c", `ip route show; ip neigh show dev flannel.${VNI}; bridge fdb show dev flannel.${VNI}`]);
  };

  it("has its containers in its part of our network", async () => {
    const env = environment(await must(plain.node, ["cat", "/run/flannel/subnet.env"]));
    expect(env["FLANNEL_NETWORK"]).toBe((await config()).Network);
    expect(env["FLANNEL_SUBNET"]?.replace(/\.\d+\//, ".x/")).toBe(subnet.replace(/\.\d+\//, ".x/"));
    expect(env["FLANNEL_MTU"]).toBe("1450");
    expect(number(plain.address) - number(baseOf(subnet))).toBe(2);
  });

  it("reaches our containers, which see its flannel address: its Docker masquerades what leaves docker0", async () => {
    for (const { address } of boxes) {
      await until(`${engine} to ping ${address}`, () => pings(plain, address));
      expect(await seenBy(plain, address)).toBe(baseOf(subnet));
    }
  });

  it("is reached by our containers, and sees their own addresses", async () => {
    if (accept) await must(plain.node, ["iptables", "-I", "DOCKER-USER", "-i", "flannel.+", "-o", "docker0", "-j", "ACCEPT"]);
    for (const box of boxes) {
      await until(`${box.name} to ping ${engine}`, () => pings(box, plain.address));
      expect(await seenBy(box, plain.address)).toBe(box.address);
    }
  });

  it("is forgotten by our nodes when its lease goes", async () => {
    const { PublicIP, BackendData: { VtepMAC } } = (await leaseOf(plain.node.address))[1];
    const traces = [subnet, VtepMAC, `dst ${PublicIP} `];
    for (const { node } of boxes) for (const trace of traces) expect(await rowsOn(node)).toContain(trace);
    await plain.node.powerCut();
    await lab.etcd.ctl(["del", `${PREFIX}subnets/${subnet.replace("/", "-")}`]);
    for (const { node } of boxes) {
      await until(`${node.name} to forget ${PublicIP}`, async () => {
        const rows = await rowsOn(node);
        return !traces.some((trace) => rows.includes(trace));
      });
    }
    expect(await pings(boxes[0], boxes[1].address)).toBe(true);
  });
});
