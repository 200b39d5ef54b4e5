/** The debug endpoint and the verbs that ask it, on the live thing: a repair is done when the call returns; looking changes nothing. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Lab } from "../../lab/lab.ts";
import { debug, kernelDump, LAB_ID, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";

const SOCKET = "/run/flannel-np/debug.sock";
const RECONCILERS = ["leases", "firewall", "gateways", "flannel", "endpoints", "publish", "mirror"];
let lab: Lab;
let node: Node;
let box: Box;
let link: string;

beforeAll(async () => {
  lab = await openedLab();
  node = lab.node("node1");
  await makeNetwork(node, "debug");
  box = await runBox(node, "debug", "debug1");
  link = await must(node, ["sh", "-c", `ip -o route get ${box.address} | grep -o 'fnp[^ ]*'`]);
});
afterAll(async () => {
  await removeBox(box);
  await removeNetwork(node, "debug");
});

interface Report { readonly reconciler: string; readonly result: string; readonly changes: number }
interface Refusal { readonly error: { readonly message: string; readonly cure?: string } }
interface Planned { readonly reconciler: string; readonly changes: readonly { readonly op: string; readonly key: string; readonly why: string }[] }

/** Breaks a link and asks, again where a resync was faster than the question. */
const brokenThen = <T>(ask: () => Promise<T>, seen: (answer: T) => boolean): Promise<T> => until("an answer from before the resync", async () => {
  await must(node, ["sysctl", "-qw", `net.ipv4.conf.${link}.proxy_arp=0`]);
  const answer = await ask();
  return seen(answer) && answer;
});

/** Our table and chain as the kernel has them, one shell line. */
const FIREWALL = "nft -s list table ip fnp; iptables -S FNP-FORWARD; iptables -S FORWARD";
const curl = (method: string, path: string): string => `curl -s -X ${method} --unix-socket ${SOCKET} 'http://debug${path}'`;

describe("POST /reconcile", () => {
  it.each([
    ["the table is deleted", "nft delete table ip fnp"],
    ["the table is flushed", "nft flush table ip fnp"],
    ["the chain is flushed", "iptables -F FNP-FORWARD"],
    ["the jump and the table are gone", "iptables -D FORWARD -j FNP-FORWARD; nft delete table ip fnp"],
  ])("answers after the repair: %s", async (_what, harm) => {
    const before = await must(node, ["sh", "-c", FIREWALL]);
    const [answer = "", after = ""] = (await must(node, ["sh", "-c", `${harm}; ${curl("POST", "/reconcile?only=firewall")}; echo ===; ${FIREWALL}`])).split("===\n");
    expect(after).toBe(before);
    const { reports } = JSON.parse(answer) as { reports: readonly Report[] };
    expect(reports.map(({ reconciler }) => reconciler)).toEqual(["firewall"]);
    // The kernel's own event may have been faster: then this run found nothing left to do.
    expect(reports[0]?.result).toMatch(/^(converged|idle)$/);
  });

  it("reports the repair it made, where no event of the kernel's could have been faster", async () => {
    const path = `net.ipv4.conf.${link}.proxy_arp`;
    const [answer = "", after] = (await must(node, ["sh", "-c", `sysctl -qw ${path}=0; ${curl("POST", "/reconcile?only=endpoints")}; echo ===; sysctl -n ${path}`])).split("===\n");
    expect(after).toBe("1");
    expect((JSON.parse(answer) as { reports: readonly Report[] }).reports).toEqual([expect.objectContaining({ reconciler: "endpoints", result: "converged", changes: 1 })]);
  });

  it("runs all without a name", async () => {
    const { status, body } = await debug(node, "POST", "/reconcile");
    expect(status).toBe(200);
    expect((body as { reports: readonly Report[] }).reports.map(({ reconciler }) => reconciler)).toEqual(expect.arrayContaining(RECONCILERS));
  });

  it("refuses an unknown name, and a parameter that means nothing, with what there is", async () => {
    const { status, body } = await debug(node, "POST", "/reconcile?only=firewall,wall");
    expect(status).toBe(400);
    const { message, cure } = (body as Refusal).error;
    expect(message).toContain('"wall"');
    for (const name of RECONCILERS) expect(cure).toContain(name);
    expect((await debug(node, "POST", "/reconcile?onyl=firewall")).status).toBe(400);
    expect((await debug(node, "GET", "/reconcile")).status).toBe(405);
    expect((await debug(node, "GET", "/nothing")).status).toBe(404);
  });
});

/** Ours too, which kernelDump leaves out; without counters and timers. */
const WHOLE = "ip link; ip -d link show type vxlan; ip -4 addr; ip -4 route show table all; ip rule; ip neigh show nud permanent; nft -s list ruleset; sysctl -a 2>/dev/null | grep 'conf.fnp'";

describe("GET /plan", () => {
  // IPv6 settles in its own time on each new link, and is none of ours.
  const dump = async (): Promise<string> => `${await kernelDump(node)}\n${await must(node, ["sh", "-c", WHOLE])}`.split("\n").filter((line) => !/fe80::|ff00::/.test(line)).join("\n");

  it("changes nothing, whether there is something to do or not, and says what a run would do", async () => {
    await debug(node, "POST", "/reconcile");
    const well = await dump();
    const { status, body } = await debug(node, "GET", "/plan");
    expect(status).toBe(200);
    expect((body as { plans: readonly Planned[] }).plans.map(({ reconciler, changes }) => [reconciler, changes])).toEqual(expect.arrayContaining(RECONCILERS.map((name) => [name, []])));
    expect(await dump()).toBe(well);
    const { broken, plans, after } = await brokenThen(async () => ({
      broken: await dump(), plans: ((await debug(node, "GET", "/plan?only=endpoints")).body as { plans: readonly Planned[] }).plans, after: await dump(),
    }), ({ after: then }) => then !== well);
    expect(broken).not.toBe(well);
    expect(plans).toHaveLength(1);
    expect(plans[0]?.changes).toEqual([expect.objectContaining({ op: "update", why: expect.stringContaining("proxy_arp") })]);
    expect(after).toBe(broken);
    await debug(node, "POST", "/reconcile?only=endpoints");
    expect(await dump()).toBe(well);
  });
});

describe("the socket", () => {
  it("is root's alone, in a directory of root's alone", async () => {
    expect(await must(node, ["stat", "-c", "%F %a %U:%G", SOCKET])).toBe("socket 600 root:root");
    expect(await must(node, ["stat", "-c", "%a %U:%G", "/run/flannel-np"])).toBe("700 root:root");
    const { exitCode } = await node.exec(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "curl", "-s", "--unix-socket", SOCKET, "http://debug/healthz"]);
    expect(exitCode).toBe(7);
  });

  it("is nothing a container can reach: no file, no TCP port on any address of the node", async () => {
    const listeners = (await must(node, ["sh", "-c", "ss -Hltn | awk '{print $4}'"])).split("\n").filter((address) => address !== "" && !address.startsWith("127."));
    // Swarm's own: 2377 managers, 7946 gossip.
    expect(listeners.map((address) => address.slice(address.lastIndexOf(":"))).filter((port) => port !== ":2377" && port !== ":7946")).toEqual([]);
    const { exitCode } = await node.exec(["docker", "exec", box.name, "ls", SOCKET]);
    expect(exitCode).not.toBe(0);
    // An abstract socket would be open to every process of the node's network namespace.
    expect(await must(node, ["sh", "-c", "ss -Hlxp | grep -c '@.*debug' || true"])).toBe("0");
  });
});

interface Said { readonly exitCode: number; readonly stdout: string; readonly stderr: string }
const flannelNp = (...args: readonly string[]): Promise<Said> => new Promise((resolve) => {
  execFile(fileURLToPath(new URL("../../flannel-np", import.meta.url)), args, { timeout: 60_000, maxBuffer: 256 * 2 ** 20 }, (error, stdout, stderr) => {
    resolve({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr });
  });
});
const asked = (...args: readonly string[]): Promise<Said> => flannelNp(...args, "--node", "node1", "--lab", LAB_ID);

describe("the verbs", () => {
  it("status: tells this node's state, exit code 0", async () => {
    const [{ exitCode, stdout }, json] = await Promise.all([asked("status"), asked("status", "-o", "json")]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^node1 \(manager, leader\), 10\.99\.0\.11 on eth0.*\n(.*\n)*ready\n(.*\n)*debug +10\./) });
    expect(JSON.parse(json.stdout)).toMatchObject({ ready: true, node: { hostname: "node1" }, networks: expect.arrayContaining([expect.objectContaining({ name: "debug", containers: 1 })]), problems: [] });
  });

  it("reconcile: runs what is named, exit code 0; a bad name is exit code 2 with the list", async () => {
    const { exitCode, stdout } = await brokenThen(() => asked("reconcile", "endpoints", "-o", "json"), (said) => !said.stdout.includes('"idle"'));
    const bad = await asked("reconcile", "wall");
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ reports: [{ reconciler: "endpoints", result: "converged", changes: 1 }] });
    expect(await must(node, ["sysctl", "-n", `net.ipv4.conf.${link}.proxy_arp`])).toBe("1");
    expect((await asked("reconcile")).stdout.split("\n").slice(1, 1 + RECONCILERS.length).every((line) => / (idle|converged) /.test(line))).toBe(true);
    expect(bad).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/"wall"(.|\n)*firewall/) });
  });

  it("plan: what would be done, exit code 0", async () => {
    await until("nothing to change", async () => (await asked("plan")).stdout.includes("nothing to change"));
    const [{ exitCode, stdout }, json] = await brokenThen(() => Promise.all([asked("plan", "endpoints"), asked("plan", "endpoints", "-o", "json")]),
      (said) => said.every((one) => !one.stdout.includes("nothing to change") && !one.stdout.includes('"changes":[]') && !one.stdout.includes('"changes": []')));
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringMatching(/endpoints +update .*proxy_arp(.|\n)*1 change/) });
    expect(JSON.parse(json.stdout)).toMatchObject({ plans: [{ reconciler: "endpoints", changes: [{ op: "update" }] }] });
    await debug(node, "POST", "/reconcile?only=endpoints");
  });

  it("events: the log so far, for people and for programs, exit code 0", async () => {
    const [{ exitCode, stdout }, warned, read] = await Promise.all([asked("events", "-o", "json"), asked("events", "--level", "warn"), asked("events")]);
    expect(exitCode).toBe(0);
    const names = stdout.trim().split("\n").map((line) => (JSON.parse(line) as { event: string }).event);
    expect(names).toEqual(expect.arrayContaining(["operator.started", "change.applied", "reconcile.requested"]));
    expect(warned.stdout).not.toContain("reconcile.requested");
    expect(read.stdout).toMatch(/^\d+ \d{4}-\d\d-\d\dT[\d:.]+Z +info +operator\.started /m);
  });

  it("says who cannot be asked: exit code 2, and how to see who can", async () => {
    expect(await flannelNp("status", "--node", "node9", "--lab", LAB_ID)).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringMatching(/node9(.|\n)*lab up/) });
  });

  it("status: exit code 1 while somebody must act", async () => {
    await must(lab.node("node1"), ["docker", "network", "create", "-d", "flannel-np:latest", "--ipam-driver", "flannel-np:latest", "--attachable", "--ipam-opt", "host-subnet-size=99", "debug-bad"]);
    try {
      const { stdout } = await until("status to show the refused network", async () => {
        const said = await asked("status");
        return said.exitCode === 1 && said.stdout.includes("debug-bad") && said;
      });
      expect(stdout).toMatch(/PROBLEMS(.|\n)*debug-bad(.|\n)*cure: /);
    } finally {
      await removeNetwork(node, "debug-bad");
    }
    await until("status to be well again", async () => (await asked("status")).exitCode === 0);
  });
});
