/**
 * What happens to the operator, to its tables or to the daemons does not happen to connections through a VIP.
 *
 * Must hold: the plugin killed: no connection breaks; our table deleted or emptied, our chain of iptables flushed: repaired; connections that
 * idle live longer than 7,200 s.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { must, until, type Box } from "./bed.ts";
import { floodFrom, VipStand, type Tally } from "./vip-bed.ts";

let stand: VipStand;
let lab: Lab;
let clients: readonly Box[];
let vip: string;
let names: readonly string[];

beforeAll(async () => {
  stand = await VipStand.open("deaths");
  ({ lab, clients } = stand);
  ({ vip, names } = await stand.serve("deaths-web", 4));
}, 400_000);

afterAll(() => stand.close());

describe("the plugin, killed on both nodes", () => {
  it("breaks no connection and fails no new one", async () => {
    const held = clients.map(async ({ node, name }) =>
      JSON.parse((await node.exec(["docker", "exec", name, "box", "hold", "-for", "20s", "-every", "50ms", "tcp", `${vip}:9001`], { timeoutMs: 120_000 })).stdout) as Tally);
    const fresh = clients.map((client) => floodFrom(client, "http", vip, 400));
    const before = await Promise.all(lab.nodes.map((node) => node.pluginPid()));
    for (const pid of before) if (pid !== undefined) process.kill(pid, "SIGKILL");
    for (const [index, node] of lab.nodes.entries()) {
      await until(`another plugin on ${node.name}`, async () => {
        const pid = await node.pluginPid();
        return pid !== undefined && pid !== before[index];
      });
    }
    for (const one of [...held, ...fresh]) expect((await one).errors).toEqual({});
  }, 200_000);
});

describe("a table of ours", () => {
  it.each(["nft delete table ip fnp-vips", "nft flush map ip fnp-vips vips", "iptables -F FNP-FORWARD; iptables -D FORWARD -j FNP-FORWARD"])("is there again after: %s", async (damage) => {
    for (const node of lab.nodes) await must(node, ["sh", "-c", damage]);
    await stand.answered({ vip, names });
  });
});

describe("an idle connection", () => {
  it("may rest for longer than two hours", async () => {
    for (const { node, name, address } of clients) {
      const held = node.exec(["docker", "exec", name, "box", "hold", "-for", "4s", "-every", "1s", "tcp", `${vip}:9001`], { timeoutMs: 60_000 });
      await until("its entry with the time left", async () => {
        const text = await must(node, ["sh", "-c", `conntrack -L -p tcp --src ${address} --dst ${vip} 2>/dev/null; ipvsadm -Lnc 2>/dev/null || true`]);
        const seconds = text.split("\n").filter((line) => line.includes(vip) && /ESTABLISHED/.test(line)).map((line) => Number(/^tcp +\d+ (\d+)/.exec(line)?.[1] ?? 0));
        return seconds.some((left) => left > 7_200);
      });
      expect((await held).exitCode).toBe(0);
    }
  });
});
