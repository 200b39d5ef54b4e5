/**
 * Tasks come and go behind a VIP, and nobody who asks it notices.
 *
 * Must hold: a rolling update (start-first) of ten replicas under short requests and long connections: no request fails, no
 * connection is reset while it may drain; a task killed hard gets no new connection once its death is known; starts and stops of other containers disturb nobody.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { must, until, type Box } from "./bed.ts";
import { script } from "./reach.ts";
import { begin, untilTasks, VipStand, type Tally } from "./vip-bed.ts";
import { addresses, leaving, roll } from "./vip-watch.ts";

const NET = "roll";
/** After SIGTERM it goes on for so long, as a server does that lets its clients finish. */
const LINGERS = ["--stop-grace-period", "20s", "--entrypoint", "/bin/box serve -linger 9s"];
const LINGER_MS = 9_000;
/** From a table without the server to its end it takes less than its lingering: swarm's signal comes while the tables change. */
const LINGER_SLACK_MS = 2_000;
const HELD_EACH = 25;
const REQUESTS_PER_SECOND = 500;
/** Goal from the death being known: 250 ms on its node, 1 s elsewhere. Docker's telling of it, and a busy machine, are in here too. */
const KILL_MS = 20_000;
const NOTHING = { sent: 0, failed: 0, lastMs: {} as Tally["lastMs"], lastFailMs: 0 };
const say = (line: string): boolean => process.stderr.write(`   ${line}\n`);
let stand: VipStand;
let lab: Lab;
let clients: readonly Box[];

beforeAll(async () => {
  stand = await VipStand.open(NET);
  ({ lab, clients } = stand);
}, 300_000);

afterAll(() => stand.close());

/** Connections that ask ten times a second for six seconds; what went wrong with each. */
async function held(client: Box, vip: string, count: number): Promise<readonly Tally["errors"][]> {
  const lines = await script(client, `for n in $(seq ${count}); do box hold -for 6s -every 100ms tcp ${vip}:9001 & done; wait`);
  return lines.map((line) => (JSON.parse(line) as Tally).errors);
}

const untilHeld = (vip: string): Promise<boolean> => until("the connections to be open", async () => {
  const there = await Promise.all(clients.map(({ node, address }) => must(node, ["sh", "-c", `conntrack -L -p tcp --orig-src ${address} --orig-dst ${vip} --orig-port-dst 9001 --state ESTABLISHED 2>/dev/null | wc -l`])));
  return there.every((count) => Number(count) === HELD_EACH);
});

/** For how long after its server had left a connection was still answered; it never breaks while its server stays. */
function lifeAfter({ lastMs, errors }: Tally, left: ReadonlyMap<string, number>): number {
  const [[server = "", last = 0] = []] = Object.entries(lastMs);
  expect(Object.keys(lastMs)).toHaveLength(1);
  const at = left.get(server);
  if (at === undefined) expect([server, errors]).toEqual([server, {}]);
  return at === undefined ? Infinity : last - at;
}

describe("ten replicas", () => {
  let vip: string;

  it("are replaced, new ones first, and no request fails", async () => {
    const service = await stand.serve("roll-web", 10, "--update-order", "start-first", "--update-parallelism", "5", "--update-monitor", "500ms", "--env", "ROUND=1", ...LINGERS);
    vip = service.vip;
    const holds = clients.map((client) => begin(client, ["hold", "-for", "280s", "-every", "100ms", "tcp", `${vip}:9001`], HELD_EACH));
    await untilHeld(vip);
    let lefts: readonly ReadonlyMap<string, number>[] = [];
    const { sent, perSecond, p99Us, errors } = await stand.under(vip, async () => { lefts = await roll(stand, "roll-web", vip); }, REQUESTS_PER_SECOND);
    say(`rolling update: ${sent} requests, ${perSecond} per second of ${REQUESTS_PER_SECOND}, p99 ${p99Us} µs, beside ${clients.length * HELD_EACH} long connections`);
    expect(errors).toEqual({});
    expect(sent).toBeGreaterThan(500);
    for (const [index, end] of holds.entries()) {
      const lived = (await end()).map((tally) => lifeAfter(tally, lefts[index] ?? new Map()));
      say(`long connections of ${clients[index]?.node.name ?? ""}: the shortest lived ${Math.min(...lived)} ms after its server had left`);
      expect(Math.min(...lived)).toBeGreaterThan(LINGER_MS - LINGER_SLACK_MS);
    }
    const after = await untilTasks(lab, "roll-web", 10);
    expect(after.filter((name) => service.names.includes(name))).toEqual([]);
    await stand.answered({ vip, names: after });
  }, 400_000);

  it("keep their connections when swarm wants them gone, for as long as they go on", async () => {
    const connections = clients.map((client) => held(client, vip, HELD_EACH));
    await untilHeld(vip);
    const { errors } = await stand.under(vip, async () => {
      await stand.scale("roll-web", 2);
      for (const errorsOf of await Promise.all(connections)) expect(errorsOf).toEqual(Array(HELD_EACH).fill({}));
    });
    expect(errors).toEqual({});
    const names = await untilTasks(lab, "roll-web", 2);
    await stand.answered({ vip, names });
  }, 200_000);

  it("are asked without a failure while containers start and stop beside them", async () => {
    const { errors } = await stand.under(vip, async () => {
      for (let round = 0; round < 5; round += 1) {
        await Promise.all(lab.nodes.flatMap((node) => [1, 2].map(() => must(node, ["docker", "run", "--rm", "--network", NET, "lab/box", "true"]))));
      }
    });
    expect(errors).toEqual({});
  }, 200_000);
});

describe("a task killed hard", () => {
  it("gets no connection once its death is known, on both nodes", async () => {
    const { vip, names } = await stand.serve("roll-kill", 4, "--restart-delay", "60s");
    const node = lab.node("node2");
    const [id = ""] = (await must(node, ["docker", "ps", "-q", "--filter", "label=com.docker.swarm.service.name=roll-kill"])).split("\n");
    const name = await must(node, ["docker", "inspect", "-f", "{{.Config.Hostname}}", id]);
    const ends = clients.map((client) => begin(client, ["flood", "-count", "0", "-for", "120s", "-rate", "100", "-workers", "32", "-timeout", "2s", "http", `${vip}:80`]));
    await until("requests to flow", async () => (await must(node, ["sh", "-c", `conntrack -L -p tcp --orig-dst ${vip} 2>/dev/null | wc -l`])) !== "0");
    const address = (await addresses(stand, "roll-kill")).get(name) ?? "";
    const watches = clients.map((client) => leaving(client.node, vip, [address]));
    const killedAt = Date.now();
    await must(node, ["docker", "kill", "-s", "KILL", id]);
    await stand.answered({ vip, names: names.filter((other) => other !== name) });
    for (const [index, end] of ends.entries()) {
      const [{ sent, failed, lastMs, lastFailMs } = NOTHING] = await end();
      const where = clients[index]?.node.name === node.name ? "the same node" : "another node";
      const last = Math.max(lastMs[name] ?? 0, lastFailMs) - killedAt;
      const seen = ((await watches[index])?.get(address) ?? 0) - killedAt;
      say(`task killed hard, asked from ${where}: last connection to it ${last} ms after the kill was asked for, its table without it at ${seen} ms; ${failed} of ${sent} failed`);
      expect(lastMs[name]).toBeDefined();
      expect(last).toBeLessThan(KILL_MS);
    }
  }, 200_000);
});
