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
import { floodFrom, untilTasks, VipStand, type Tally } from "./vip-bed.ts";

const NET = "roll";
/** After SIGTERM it goes on for so long, as a server does that lets its clients finish. */
const LINGERS = ["--stop-grace-period", "20s", "--entrypoint", "/bin/box serve -linger 9s"];
const HELD_EACH = 25;
let stand: VipStand;
let lab: Lab;
let clients: readonly Box[];

beforeAll(async () => {
  stand = await VipStand.open(NET);
  ({ lab, clients } = stand);
}, 300_000);

afterAll(() => stand.close());

/** Short requests from every client for as long as the work takes; every failure by its reason, and how many there were in all. */
async function under(vip: string, work: () => Promise<void>): Promise<{ readonly sent: number; readonly errors: Readonly<Record<string, number>> }> {
  let working = true;
  const floods = clients.map(async (client) => {
    const tallies: Tally[] = [];
    while (working) tallies.push(await floodFrom(client, "http", vip, 200));
    return tallies;
  });
  try { await work(); } finally { working = false; }
  const tallies = (await Promise.all(floods)).flat();
  return { sent: tallies.reduce((sum, { sent }) => sum + sent, 0), errors: Object.assign({}, ...tallies.map(({ errors }) => errors)) as Record<string, number> };
}

/** Connections that ask ten times a second for six seconds; what went wrong with each. */
async function held(client: Box, vip: string, count: number): Promise<readonly Tally["errors"][]> {
  const lines = await script(client, `for n in $(seq ${count}); do box hold -for 6s -every 100ms tcp ${vip}:9001 & done; wait`);
  return lines.map((line) => (JSON.parse(line) as Tally).errors);
}

describe("ten replicas", () => {
  let vip: string;

  it("are replaced, new ones first, and no request fails", async () => {
    const manager = lab.node("node1");
    const service = await stand.serve("roll-web", 10, "--update-order", "start-first", "--update-parallelism", "5", "--update-monitor", "500ms", "--env", "ROUND=1", ...LINGERS);
    vip = service.vip;
    const { sent, errors } = await under(vip, async () => {
      await must(manager, ["docker", "service", "update", "--detach", "--no-resolve-image", "--env-add", "ROUND=2", "roll-web"]);
      await until("the update to end", async () => /completed/.test(await must(manager, ["docker", "service", "inspect", "-f", "{{.UpdateStatus.State}}", "roll-web"])), 240_000);
    });
    expect(errors).toEqual({});
    expect(sent).toBeGreaterThan(500);
    const after = await untilTasks(lab, "roll-web", 10);
    expect(after.filter((name) => service.names.includes(name))).toEqual([]);
    await stand.answered({ vip, names: after });
  }, 400_000);

  it("keep their connections when swarm wants them gone, for as long as they go on", async () => {
    const connections = clients.map((client) => held(client, vip, HELD_EACH));
    await until("the connections to be open", async () => {
      const there = await Promise.all(clients.map(({ node, address }) => must(node, ["sh", "-c", `conntrack -L -p tcp --orig-src ${address} --orig-dst ${vip} --orig-port-dst 9001 --state ESTABLISHED 2>/dev/null | wc -l`])));
      return there.every((count) => Number(count) === HELD_EACH);
    });
    const { errors } = await under(vip, async () => {
      await stand.scale("roll-web", 2);
      for (const errorsOf of await Promise.all(connections)) expect(errorsOf).toEqual(Array(HELD_EACH).fill({}));
    });
    expect(errors).toEqual({});
    const names = await untilTasks(lab, "roll-web", 2);
    await stand.answered({ vip, names });
  }, 200_000);

  it("are asked without a failure while containers start and stop beside them", async () => {
    const { errors } = await under(vip, async () => {
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
    await must(node, ["docker", "kill", "-s", "KILL", id]);
    await stand.answered({ vip, names: names.filter((other) => other !== name) });
  }, 200_000);
});
