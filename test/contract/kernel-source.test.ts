/** The monitors on a real kernel, in a namespace of its own: each change of ours is hinted, and nothing else. */
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, jest, test } from "@jest/globals";
import { Observable, type Subscription } from "rxjs";
import { kernelHints, type Facility, type SpawnLines } from "../../src/sources/kernel.ts";
import { until } from "./etcd-server.ts";

jest.setTimeout(120_000);
const NETNS = `fnp-monitor-${process.pid}`;
const inside = (...command: string[]): void => { execFileSync("ip", ["netns", "exec", NETNS, ...command], { stdio: "pipe" }); };
const children = new Set<number>();
const spawnLines: SpawnLines = (file, args) => new Observable((out) => {
  const child = spawn("ip", ["netns", "exec", NETNS, file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const pid = child.pid ?? 0;
  children.add(pid);
  for (const stream of [child.stdout, child.stderr]) createInterface(stream).on("line", (line) => out.next(line));
  child.on("exit", () => {
    children.delete(pid);
    out.complete();
  });
  return () => { child.kill(); };
});

const seen = new Set<Facility>();
let subscription: Subscription;
beforeAll(async () => {
  execFileSync("ip", ["netns", "add", NETNS]);
  subscription = kernelHints({ spawn: spawnLines, backoffMs: [20, 100] }).subscribe(({ facility }) => seen.add(facility));
  await until(() => (["links", "routes", "neighbours", "nft", "vips"] as const).every((facility) => seen.has(facility)), "every monitor says where to begin");
  // A monitor is deaf until it has bound its socket, which nothing shows but an answer.
  seen.clear();
  await until(() => {
    for (const verb of ["add", "del"]) inside("ip", "link", verb, "fnpprobe", ...(verb === "add" ? ["type", "bridge"] : []));
    inside("nft", "add table ip fnp; delete table ip fnp");
    return seen.has("links") && seen.has("nft");
  }, "the monitors listen");
});
afterAll(async () => {
  subscription.unsubscribe();
  await until(() => children.size === 0, "no child is left");
  execFileSync("ip", ["netns", "del", NETNS]);
});

/** Several times, since a hint is told apart from an earlier one's echo only by waiting for it. */
const hinted = async (facility: Facility, ...commands: string[]): Promise<void> => {
  seen.delete(facility);
  for (const command of commands) inside(...command.split(" "));
  await until(() => seen.has(facility), `${facility} after ${commands.join("; ")}`);
};

test("links, addresses, routes, rows of flannel's device, our table, our iptables chain", async () => {
  await hinted("links", "ip link add fnp00001abcdefg type veth peer name fnq000000000abc", "ip link set fnp00001abcdefg up", "ip link set fnq000000000abc up");
  await hinted("links", "ip addr add 10.1.8.1/32 dev fnp00001abcdefg");
  await hinted("routes", "ip route add 10.1.8.2/32 dev fnp00001abcdefg");
  await hinted("routes", "ip route add unreachable 10.1.8.0/24");
  await hinted("routes", "ip link set lo up", "ip route add local 10.1.0.0/22 dev lo");
  await hinted("links", "ip link add flannel.6514 type vxlan id 6514 dstport 8472 local 10.1.8.1", "ip link set flannel.6514 up");
  await hinted("neighbours", "bridge fdb append 0e:00:00:00:00:44 dev flannel.6514 dst 10.9.9.9");
  await hinted("neighbours", "ip neigh add 10.1.9.0 lladdr 0e:00:00:00:00:44 dev flannel.6514 nud permanent");
  await hinted("nft", "nft add table ip fnp");
  await hinted("nft", "iptables-nft -N FNP-FORWARD");
});

test("elements of a map, also after a rule that used it has gone", async () => {
  const element = ["nft add element ip fnp-vips slots { 10.1.0.5 . 0 : 10.1.1.11 }", "nft delete element ip fnp-vips slots { 10.1.0.5 . 0 }"];
  const chain = "chain ip fnp-vips vip-10.1.0.5";
  await hinted("vips", "nft add table ip fnp-vips", "nft add map ip fnp-vips slots { typeof ip daddr . meta length : ip daddr ; }");
  await hinted("vips", ...element);
  await hinted("vips", `nft add ${chain}`, "nft add rule ip fnp-vips vip-10.1.0.5 dnat to ip daddr . numgen inc mod 1 map @slots", `nft flush ${chain}`);
  // What has happened so far is told before this is done.
  await hinted("links", "ip link add fnplast type bridge");
  for (let n = 0; n < 3; n += 1) await hinted("vips", ...element);
});

test("a monitor that is killed comes back and says where to look", async () => {
  const [victim] = children;
  seen.clear();
  process.kill(victim ?? 0, "SIGKILL");
  await until(() => seen.size > 0, "hinted again");
});
