/**
 * Whom the nodes' tables lead a VIP to, and since when not any more.
 *
 * In:  lab, service, VIP.  Out: addresses of tasks by the names with which they answer; times in ms of the epoch, as `box` tells them.
 * Rule: looks at the kernel alone; a time is when something was seen, which is never before it happened.
 */
import type { Lab } from "../../lab/lab.ts";
import { must, until, type Node } from "./bed.ts";
import type { Tally, VipStand } from "./vip-bed.ts";

/** Of the service's running tasks. */
export async function addresses({ lab, network }: VipStand, service: string): Promise<ReadonlyMap<string, string>> {
  const lists = await Promise.all(lab.nodes.map((node) => must(node, ["sh", "-c",
    `docker ps -q --filter label=com.docker.swarm.service.name=${service} | xargs -r docker inspect -f '{{.Config.Hostname}} {{(index .NetworkSettings.Networks "${network}").IPAddress}}'`])));
  return new Map(lists.flatMap((text) => text.split("\n").filter((line) => line !== "").map((line) => line.split(" ") as [string, string])));
}

/** Resolves when a node's table leads new connections to none of these any more; answers when each was first missing. */
export async function leaving(node: Node, vip: string, of: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const left = new Map<string, number>();
  const slot = new RegExp(`${vip.replaceAll(".", "[.]")} [.] \\S+ : ([0-9.]+)`, "g");
  await until("the old servers to leave the table", async () => {
    const text = await must(node, ["nft", "list", "map", "ip", "fnp-vips", "slots"]);
    const there = new Set([...text.matchAll(slot)].map(([, address]) => address));
    for (const address of of) if (!there.has(address) && !left.has(address)) left.set(address, Date.now());
    return left.size === of.length;
  }, 240_000);
  return left;
}

/** Lines of any table that still lead the VIP to one of these. Connections to their own addresses are not the VIP's. */
async function leads(lab: Lab, vip: string, to: readonly string[]): Promise<readonly string[]> {
  const lists = await Promise.all(lab.nodes.map((node) => must(node, ["sh", "-c", "nft list table ip fnp-vips | tr ',' '\\n'; conntrack -L 2>/dev/null"])));
  return lists.flatMap((text) => text.split("\n").filter((line) => {
    const words = line.split(/[ =]+/);
    return words.includes(vip) && to.some((address) => words.includes(address));
  }));
}

/** Replaces all tasks; answers for each client's node when each of the old ones, by name, had left its table. Afterwards nothing leads to them. */
export async function roll(stand: VipStand, service: string, vip: string): Promise<readonly ReadonlyMap<string, number>[]> {
  const { lab, clients } = stand;
  const manager = lab.node("node1");
  const old = await addresses(stand, service);
  const watches = clients.map(({ node }) => leaving(node, vip, [...old.values()]));
  await must(manager, ["docker", "service", "update", "--detach", "--no-resolve-image", "--env-add", `ROUND=${Date.now()}`, service]);
  await until(`the update of ${service} to end`, async () => /completed/.test(await must(manager, ["docker", "service", "inspect", "-f", "{{.UpdateStatus.State}}", service])), 240_000);
  const lefts = await Promise.all(watches);
  await until(`nothing to lead ${vip} to the old servers`, async () => {
    const lines = await leads(lab, vip, [...old.values()]);
    if (lines.length > 0) throw new Error(lines.slice(0, 5).join(" | "));
    return true;
  });
  return lefts.map((left) => new Map([...old].map(([name, address]) => [name, left.get(address) ?? 0])));
}

/** By how much each old server's last question was begun after it had left; negative: before. */
export const lateness = ({ lastMs }: Tally, left: ReadonlyMap<string, number>): readonly number[] =>
  [...left].flatMap(([name, at]) => (lastMs[name] === undefined ? [] : [lastMs[name] - at]));
