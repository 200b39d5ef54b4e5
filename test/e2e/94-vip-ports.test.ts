/**
 * Clients that keep their port while the servers behind a VIP change: connection tracking remembers them, and must not lead them astray.
 *
 * Must hold: a client that opens a connection from one and the same port every 50 ms, whoever closes first, waits no second longer
 * in a rolling update and reaches no server that has left; a UDP sender with a fixed port reaches living servers through an
 * update, scale to zero and back, and no entry leads it to a dead one.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { must, until, type Box, type Node } from "./bed.ts";
import { script } from "./reach.ts";
import { untilForgotten, untilTasks, VipStand, type Tally } from "./vip-bed.ts";

/** Who has left goes on answering whoever still comes, so that it would be seen. */
const LINGERS = ["--stop-grace-period", "20s", "--entrypoint", "/bin/box serve -linger 4s", "--update-order", "start-first", "--update-monitor", "500ms"];
/** Goal 1 s. From the table to the entries of connection tracking it is one more process. */
const UDP_MOVES_MS = 2_000;
const say = (line: string): boolean => process.stderr.write(`   ${line}\n`);
let stand: VipStand;
let lab: Lab;
let clients: readonly Box[];

beforeAll(async () => {
  stand = await VipStand.open("ports");
  ({ lab, clients } = stand);
}, 300_000);

afterAll(() => stand.close());

/** Begins `box ARGS` in a client; the answer ends it and tells what it saw. */
function begin({ node, name }: Box, ...args: readonly string[]): () => Promise<Tally> {
  const told = node.exec(["docker", "exec", name, "box", ...args], { timeoutMs: 300_000 });
  return async () => {
    await must(node, ["pkill", "-TERM", "-x", "-f", `box ${args.join(" ")}`]);
    return JSON.parse((await told).stdout) as Tally;
  };
}

/** Addresses of the service's running tasks by the names with which they answer. */
async function addresses(service: string): Promise<ReadonlyMap<string, string>> {
  const lists = await Promise.all(lab.nodes.map((node) => must(node, ["sh", "-c",
    `docker ps -q --filter label=com.docker.swarm.service.name=${service} | xargs -r docker inspect -f '{{.Config.Hostname}} {{(index .NetworkSettings.Networks "${stand.network}").IPAddress}}'`])));
  return new Map(lists.flatMap((text) => text.split("\n").filter((line) => line !== "").map((line) => line.split(" ") as [string, string])));
}

/** Watches whom a node's table leads new connections to, until none of these is among them; answers when each was first missing. */
async function leaving(node: Node, vip: string, of: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const left = new Map<string, number>();
  await until("the old servers to leave the table", async () => {
    const text = await must(node, ["nft", "list", "map", "ip", "fnp-vips", "slots"]);
    const there = new Set([...text.matchAll(new RegExp(`${vip.replaceAll(".", "[.]")} [.] \\S+ : ([0-9.]+)`, "g"))].map(([, address]) => address));
    for (const address of of) if (!there.has(address) && !left.has(address)) left.set(address, Date.now());
    return left.size === of.length;
  }, 240_000);
  return left;
}

/** Lines of any table that still lead the VIP to one of these. Connections to their own addresses are not the VIP's. */
async function leads(vip: string, to: readonly string[]): Promise<readonly string[]> {
  const lists = await Promise.all(lab.nodes.map((node) => must(node, ["sh", "-c", `nft list table ip fnp-vips | tr ',' '\\n'; conntrack -L 2>/dev/null`])));
  return lists.flatMap((text) => text.split("\n").filter((line) => {
    const words = line.split(/[ =]+/);
    return words.includes(vip) && to.some((address) => words.includes(address));
  }));
}

const untilUpdated = (service: string): Promise<boolean> => until(`the update of ${service} to end`, async () =>
  /completed/.test(await must(lab.node("node1"), ["docker", "service", "inspect", "-f", "{{.UpdateStatus.State}}", service])), 240_000);

/** Replaces all tasks; answers when each of the old ones, by name, had left the table of each client's node. */
async function roll(service: string, vip: string): Promise<readonly ReadonlyMap<string, number>[]> {
  const old = await addresses(service);
  const watches = clients.map(({ node }) => leaving(node, vip, [...old.values()]));
  await must(lab.node("node1"), ["docker", "service", "update", "--detach", "--no-resolve-image", "--env-add", `ROUND=${Date.now()}`, service]);
  await untilUpdated(service);
  const lefts = await Promise.all(watches);
  await until(`nothing to lead ${vip} to the old servers`, async () => {
    const lines = await leads(vip, [...old.values()]);
    if (lines.length > 0) throw new Error(lines.slice(0, 5).join(" | "));
    return true;
  });
  return lefts.map((left) => new Map([...old].map(([name, address]) => [name, left.get(address) ?? 0])));
}

/** By how much each old server's last question was begun after it had left; negative: before. */
const lateness = ({ lastMs }: Tally, left: ReadonlyMap<string, number>): number[] =>
  [...left].flatMap(([name, at]) => (lastMs[name] === undefined ? [] : [lastMs[name] - at]));

const synRetries = async (box: Box): Promise<number> =>
  Number((await script(box, `awk '/^TcpExt:/ { if (c) print $c; else for (i = 1; i <= NF; i++) if ($i == "TCPSynRetrans") c = i }' /proc/net/netstat`)).join(""));

describe("a client whose connections all have one source port", () => {
  it.each([["rst", 9001], ["server", 80]] as const)("waits no second longer and reaches nobody who left, closed first by: %s", async (closes, port) => {
    const service = `ports-${closes}`;
    const { vip } = await stand.serve(service, 4, "--update-parallelism", "2", ...LINGERS);
    const before = await Promise.all(clients.map(synRetries));
    const ends = clients.map((client) => begin(client, "reuse", "-from", ":6000", "-for", "240s", "-every", "50ms", "-close", closes, `${vip}:${port}`));
    const lefts = await roll(service, vip);
    for (const [index, end] of ends.entries()) {
      const tally = await end();
      const late = lateness(tally, lefts[index] ?? new Map());
      say(`port reuse, ${closes} closes, ${clients[index]?.node.name ?? ""}: ${tally.sent} connections, p50 ${tally.p50Us} µs, p99 ${tally.p99Us} µs, longest ${tally.maxUs} µs; last to one that leaves ${Math.max(...late)} ms after it left`);
      expect(tally.errors).toEqual({});
      expect(late).toHaveLength(4);
      expect(Math.max(...late)).toBeLessThanOrEqual(0);
      expect(tally.maxUs).toBeLessThan(1_000_000);
    }
    expect(await Promise.all(clients.map(synRetries))).toEqual(before);
  }, 300_000);
});

describe("a UDP sender with a fixed port", () => {
  const SERVICE = "ports-udp";
  let vip: string;
  const send = (client: Box): (() => Promise<Tally>) => begin(client, "hold", "-from", ":5353", "-for", "240s", "-every", "50ms", "-timeout", "300ms", "udp", `${vip}:9000`);

  /** Whom connection tracking still leads the VIP's datagrams to, on all nodes; "nobody" where it keeps them for the VIP itself. */
  async function kept(): Promise<readonly string[]> {
    const lists = await Promise.all(lab.nodes.map((node) => must(node, ["sh", "-c", `conntrack -L -p udp --orig-dst ${vip} 2>/dev/null || true`])));
    const whom = lists.flatMap((text) => text.split("\n").filter((line) => line !== "").map((line) => / src=(\S+) /.exec(line.split("dport=")[1] ?? "")?.[1] ?? line));
    return [...new Set(whom.map((address) => (address === vip ? "nobody" : address)))].sort();
  }

  const untilKept = (what: string, isGood: (whom: readonly string[]) => boolean): Promise<boolean> => until(what, async () => {
    const whom = await kept();
    if (isGood(whom)) return true;
    throw new Error(`kept: ${whom.join(" ")}`);
  });

  it("is answered throughout an update, and by nobody who left", async () => {
    ({ vip } = await stand.serve(SERVICE, 2, "--update-parallelism", "1", ...LINGERS));
    const ends = clients.map(send);
    const lefts = await roll(SERVICE, vip);
    for (const [index, end] of ends.entries()) {
      const tally = await end();
      const late = lateness(tally, lefts[index] ?? new Map());
      say(`UDP from one port through an update, ${clients[index]?.node.name ?? ""}: ${tally.sent} datagrams, longest gap ${tally.longestGapMs} ms; last to one that leaves ${Math.max(...late)} ms after it left`);
      expect(tally.errors).toEqual({});
      expect(Math.max(...late)).toBeLessThan(UDP_MOVES_MS);
    }
    const living = new Set((await addresses(SERVICE)).values());
    expect((await kept()).filter((address) => !living.has(address))).toEqual([]);
  }, 300_000);

  it("is refused at zero with no entry kept, and answered by new ones after that", async () => {
    const ends = clients.map(send);
    await stand.scale(SERVICE, 0);
    await untilTasks(lab, SERVICE, 0);
    await untilKept("no entry to be kept", (whom) => whom.length === 0);
    await stand.scale(SERVICE, 3);
    const names = await untilTasks(lab, SERVICE, 3);
    const living = new Set((await addresses(SERVICE)).values());
    await untilKept("an entry for a living one alone", (whom) => whom.length > 0 && whom.every((address) => living.has(address)));
    for (const [index, end] of ends.entries()) {
      const { errors, by, lastFailMs, firstMs, lastMs } = await end();
      const [first] = names.flatMap((name) => firstMs[name] ?? []).sort((a, b) => a - b);
      say(`UDP from one port over zero, ${clients[index]?.node.name ?? ""}: ${JSON.stringify(errors)}, by ${JSON.stringify(by)}; last failure ${lastFailMs - (first ?? 0)} ms after the first new answer`);
      expect(Object.keys(errors)).toContain("connection refused");
      const last = Object.entries(lastMs).sort(([, a], [, b]) => b - a)[0]?.[0];
      expect(names).toContain(last);
      expect(lastFailMs).toBeLessThan(first ?? 0);
    }
  }, 300_000);

  it("leaves nothing of the VIP when the service goes while it sends", async () => {
    const ends = clients.map(send);
    await until("its entries", async () => (await kept()).length > 0);
    await must(lab.node("node1"), ["docker", "service", "rm", SERVICE]);
    await untilTasks(lab, SERVICE, 0);
    await untilForgotten(lab, vip);
    for (const end of ends) expect((await end()).sent).toBeGreaterThan(0);
  }, 300_000);
});
