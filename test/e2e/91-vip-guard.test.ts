/**
 * Whatever the balancer does not take is refused, at once, and never by a program of the host.
 *
 * Must hold: while a service is made, scaled and removed nobody who asks its VIP, on its own port or another, ever hears the
 * host; an address of the range that nobody has, and a service without tasks, refuse at once.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box } from "./bed.ts";
import { inside, script } from "./reach.ts";
import { removeService } from "./tasks.ts";
import { createService, shownVip, untilAnswering, untilTasks, vipOf } from "./vip-bed.ts";

const NET = "guard";
const HOST_SAYS = "this-is-the-host";
/** The service's own port and one that only the host has. */
const PORTS = [80, 2222] as const;
let lab: Lab;
let clients: readonly Box[];
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  lab = await openedLab();
  await makeNetwork(lab.node("node1"), NET);
  clients = await Promise.all(lab.nodes.map((node) => runBox(node, NET, `guard-client-${node.name}`)));
  for (const node of lab.nodes) {
    for (const port of PORTS) {
      const pid = await must(node, ["sh", "-c", `setsid socat TCP-LISTEN:${port},fork,reuseaddr 'SYSTEM:echo ${HOST_SAYS}' >/dev/null 2>&1 </dev/null & echo $!`]);
      stops.push(() => must(node, ["kill", pid]));
      await until(`the host's server on ${port} of ${node.name}`, async () => (await must(node, ["sh", "-c", `echo | nc -w 2 127.0.0.1 ${port}`])).includes(HOST_SAYS));
    }
  }
}, 300_000);

afterAll(async () => {
  for (const stop of stops) await stop();
  await removeService(lab, "guard-web");
  for (const client of clients) await removeBox(client);
  await removeNetwork(lab.node("node1"), NET);
});

/** Asks again and again what answers at both ports; stops with the file. One word per answer: the first of what was said, "refused" or "nothing". */
async function listen(box: Box, address: string): Promise<() => Promise<readonly string[]>> {
  const text = `rm -f /tmp/stop; : >/tmp/heard; while [ ! -e /tmp/stop ]; do for p in ${PORTS.join(" ")}; do
    printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 ${address} $p 2>/dev/null | grep -o '${HOST_SAYS}\\|HTTP/1.[01] 200' >>/tmp/heard || echo none >>/tmp/heard; done; done`;
  await must(box.node, ["docker", "exec", "-d", box.name, "sh", "-c", text]);
  return async () => {
    await script(box, "touch /tmp/stop");
    return script(box, "cat /tmp/heard");
  };
}

describe("a VIP", () => {
  it("never speaks with the host's voice, from before its service to after its end", async () => {
    const manager = lab.node("node1");
    // The next service of the same network usually gets another address, so the loop asks for the one that this service got.
    await createService(manager, NET, "guard-web", "--replicas", "0");
    const vip = await vipOf(manager, "guard-web", NET);
    const loops = await Promise.all(clients.map((client) => listen(client, vip)));
    for (const replicas of [2, 0, 3]) {
      await must(manager, ["docker", "service", "scale", "--detach", `guard-web=${replicas}`]);
      const names = await untilTasks(lab, "guard-web", replicas);
      if (replicas > 0) for (const client of clients) await untilAnswering(inside(client), vip, names);
    }
    await removeService(lab, "guard-web");
    await until("the VIP to be gone", async () => (await shownVip(manager, "guard-web", NET)) === undefined);
    for (const end of loops) {
      const heard = await end();
      expect(heard.length).toBeGreaterThan(20);
      expect(heard.filter((word) => word === HOST_SAYS)).toEqual([]);
      expect(heard.some((word) => word.startsWith("HTTP"))).toBe(true);
    }
  }, 300_000);

  it("without tasks, and an address that no service has, are refused at once", async () => {
    const manager = lab.node("node1");
    await createService(manager, NET, "guard-web", "--replicas", "0");
    const vip = await vipOf(manager, "guard-web", NET);
    const unassigned = `${vip.split(".").slice(0, 3).join(".")}.250`;
    for (const client of clients) {
      for (const address of [vip, unassigned]) {
        for (const port of PORTS) {
          await until(`${address}:${port} to refuse`, async () => {
            // curl: 7 refused or unreachable; 28 a time-out: swallowed.
            const { exitCode } = await client.node.exec(["docker", "exec", client.name, "curl", "-sS", "-m", "3", `http://${address}:${port}/`]);
            return exitCode === 7;
          }, 30_000);
        }
      }
    }
    await removeService(lab, "guard-web");
  });

  it("is silent to ARP on the wire", async () => {
    const manager = lab.node("node1");
    await createService(manager, NET, "guard-web");
    const vip = await vipOf(manager, "guard-web", NET);
    const lan = await lab.addHost("lan");
    const { stdout } = await lan.exec(["sh", "-c", `ip addr add ${vip.split(".").slice(0, 3).join(".")}.251/24 dev eth0; ip neigh flush dev eth0; ping -c 2 -W 1 ${vip} >/dev/null 2>&1; ip neigh show ${vip}; ip addr del ${vip.split(".").slice(0, 3).join(".")}.251/24 dev eth0`]);
    expect(stdout).toMatch(/FAILED|INCOMPLETE/);
    await removeService(lab, "guard-web");
  });
});
