/**
 * The plugin under another alias and tag, made by Docker's own commands on a host that has nothing of ours; and a second alias.
 *
 * Must hold: networks of `-d flannel-np:1.0.0` work; a second enabled alias refuses its calls by name and disturbs nothing (design D24).
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { openLab, type Lab } from "../../lab/lab.ts";
import { BUILD_FOLDER } from "../../lab/plugin.ts";
import { run } from "../../lab/run.ts";
import { etcdKeys, LAB_ID, must, pings, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { untilNothingIsLeft } from "./traces.ts";

const [FIRST, SECOND] = ["flannel-np:1.0.0", "flannel-np:2.0.0"];
/** Packing the folder takes Docker 10 s on an idle machine. */
const CREATE_MS = 180_000;

let lab: Lab;
let node: Node;
const boxes: Box[] = [];

/** A lab of its own: another swarm must not share the etcd of the first, and nothing of it is there afterwards. */
beforeAll(async () => {
  lab = await openLab({ id: `${LAB_ID}x`, nodes: [{ engine: "28", plugin: false }] });
  node = lab.node("node1");
  const { exitCode, stderr } = await run("cp", ["-a", BUILD_FOLDER, `${node.root}/srv/plugin`], { timeoutMs: CREATE_MS });
  if (exitCode !== 0) throw new Error(`Cannot show the build to the node: ${stderr}`);
}, 2 * CREATE_MS);

afterAll(async () => { await lab?.down(); }, CREATE_MS);

const create = (alias: string): Promise<string> => must(node, ["docker", "plugin", "create", alias, "/srv/plugin"], CREATE_MS);
const set = (alias: string): Promise<string> => must(node, ["docker", "plugin", "set", alias, `ETCD_ENDPOINTS=${lab.etcd.url}`]);
const enable = (alias: string): Promise<string> => must(node, ["docker", "plugin", "enable", alias]);
const make = (alias: string, name: string): Promise<string> => must(node, ["docker", "network", "create", "-d", alias, "--ipam-driver", alias, "--attachable", name]);

/** What dockerd would be told: the answer of an alias' own socket. */
async function call(alias: string, method: string, body: unknown): Promise<{ readonly Err?: string }> {
  const id = await must(node, ["docker", "plugin", "inspect", "-f", "{{.Id}}", alias]);
  const socket = `/run/docker/plugins/${id}/flannel-np.sock`;
  return JSON.parse(await must(node, ["curl", "-s", "--unix-socket", socket, "-d", JSON.stringify(body), `http://plugin/${method}`])) as { readonly Err?: string };
}

describe("flannel-np:1.0.0 by docker plugin create, set and enable alone", () => {
  it("carries a network on a host that had none of our folders", async () => {
    expect((await node.exec(["sh", "-c", "ls -d /var/lib/flannel-np /run/flannel-np"])).stdout).toBe("");
    await create(FIRST);
    await set(FIRST);
    await enable(FIRST);
    await make(FIRST, "named");
    boxes.push(await runBox(node, "named", "n1"), await runBox(node, "named", "n2"));
    const [a, b] = boxes as [Box, Box];
    expect(a.address).not.toBe(b.address);
    expect(await pings(a, b.address)).toBe(true);
    expect([...(await etcdKeys(lab)).keys()].filter((key) => key.startsWith("/flannel/docker/networks/"))).toHaveLength(1);
  }, 2 * CREATE_MS);
});

describe("a second enabled alias on the same host", () => {
  beforeAll(async () => {
    // Docker keeps one plugin per content: one file must differ.
    await must(node, ["sh", "-c", "echo second > /srv/plugin/rootfs/etc/flannel-np-copy"]);
    await create(SECOND);
    await set(SECOND);
    await enable(SECOND);
  }, 2 * CREATE_MS);

  it("listens, and refuses what it is asked for by naming the other operator and the cure", async () => {
    expect((await call(SECOND, "NetworkDriver.GetCapabilities", {})).Err ?? "").toBe("");
    const address = { Gateway: "10.200.0.1/20", AddressSpace: "", Pool: "10.200.0.0/20" };
    for (const [method, body] of [
      ["IpamDriver.RequestPool", { AddressSpace: "fnp-global", Pool: "", SubPool: "", Options: {}, V6: false }],
      ["NetworkDriver.AllocateNetwork", { NetworkID: "x".repeat(25), Options: {}, IPv4Data: [address], IPv6Data: [] }],
      ["NetworkDriver.CreateNetwork", { NetworkID: "x".repeat(25), Options: {}, IPv4Data: [address], IPv6Data: [] }],
    ] as const) {
      const { Err } = await call(SECOND, method, body);
      expect(`${method}: ${Err ?? "served"}`).toMatch(/another operator.*docker plugin (ls|disable)/s);
    }
  });

  it("makes its networks fail with that reason in Docker's log, and claims nothing", async () => {
    const pools = async (): Promise<readonly string[]> => [...(await etcdKeys(lab)).keys()].filter((key) => /\/(pools|vnis)\//.test(key));
    const before = await pools();
    await make(SECOND, "refused");
    await until("Docker to tell the reason", async () => (await run("grep", ["-c", "another operator", `${node.logFolder}/dockerd.log`])).exitCode === 0);
    expect(await must(node, ["docker", "network", "inspect", "-f", "{{len .IPAM.Config}}", "refused"])).toBe("0");
    expect(await pools()).toEqual(before);
    await removeNetwork(node, "refused");
  });

  it("leaves the first at work: new containers, and its own state on disk", async () => {
    const [a] = boxes as [Box];
    const third = await runBox(node, "named", "n3");
    boxes.push(third);
    expect(await pings(third, a.address)).toBe(true);
    // Whoever is not the operator writes nothing: once noted, what the first has handed out stays noted over two ticks of both.
    const ledger = ".state.ledger | to_entries[] | select(.key | startswith(\"L:\")) | .value[].address";
    const missing = async (): Promise<readonly string[]> => {
      const kept = (await must(node, ["jq", "-r", ledger, "/var/lib/flannel-np/state.json"])).split("\n");
      return boxes.map(({ address }) => address).filter((address) => !kept.includes(address));
    };
    await until("all addresses to be noted", async () => (await missing()).length === 0);
    for (const end = Date.now() + 11_000; Date.now() < end;) expect(await missing()).toEqual([]);
  });

  it("takes over when the first is disabled, without a second address for anybody", async () => {
    await must(node, ["docker", "plugin", "disable", "-f", FIRST]);
    await until("the second to serve", async () => {
      const { Err = "" } = await call(SECOND, "IpamDriver.RequestAddress", { PoolID: "L:nobody", Address: "", Options: { RequestAddressType: "com.docker.network.gateway" } });
      return Err !== "" && !/another operator/.test(Err);
    });
    const [a, b] = boxes as [Box, Box];
    expect(await pings(a, b.address)).toBe(true);
    await must(node, ["docker", "plugin", "disable", "-f", SECOND]);
    await enable(FIRST);
    await Promise.all(boxes.map(removeBox));
    await removeNetwork(node, "named");
    await untilNothingIsLeft(lab);
  }, 2 * CREATE_MS);
});
