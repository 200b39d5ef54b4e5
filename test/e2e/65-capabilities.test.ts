/**
 * Every capability of packaging/config.json is needed: a plugin without it fails at what packaging/README.md says it is for,
 * and says so. The same for a kernel without VXLAN, as near as one can come to it here: an `ip` that answers as such a kernel.
 */
import { spawn } from "node:child_process";
import { chmod, cp, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { askDocker } from "../../lab/docker-api.ts";
import type { Lab } from "../../lab/lab.ts";
import { BUILD_FOLDER } from "../../lab/plugin.ts";
import { run } from "../../lab/run.ts";
import { must, removeNetwork, until, type Node } from "./bed.ts";
import { dockerdLog, dropKeys, eventTells, labWithBuild, life, ownNode, reconfigure, statusShows } from "./refusal-bed.ts";

const PREFIX = "/caps";
const SETTINGS = { ETCD_ENDPOINTS: "http://10.99.0.250:2379", ETCD_PREFIX: PREFIX };
const FULL = "caps-all:latest";
const NETWORK = "caps-net";
/** iproute2 6.1's words for a kind of link that the kernel has not (rtnetlink's EOPNOTSUPP). */
const NO_VXLAN = `#!/bin/sh
case "$*" in
  *-batch*)
    lines=
    while IFS= read -r line; do
      case "$line" in "link add "*"type vxlan"*) echo "Error: Unknown device type." >&2; echo "Command failed -:1" >&2; exit 1;; esac
      lines="$lines$line
"
    done
    printf '%s' "$lines" | /usr/bin/ip-real "$@";;
  *) exec /usr/bin/ip-real "$@";;
esac
`;

let lab: Lab;
let node: Node;
let folder: string;
let sentences: string;

beforeAll(async () => {
  lab = await labWithBuild();
  await dropKeys(lab, PREFIX);
  // Beside the build, so that its files can be linked.
  folder = await mkdtemp(join(BUILD_FOLDER, "../caps-")).catch(() => mkdtemp(join(tmpdir(), "caps-")));
  sentences = await readFile(new URL("../../packaging/README.md", import.meta.url), "utf8");
  node = await ownNode(lab, "caps", false);
});

afterAll(async () => {
  await lab.removeNode("caps");
  await rm(folder, { recursive: true, force: true });
  await dropKeys(lab, PREFIX);
});

interface Variant { readonly without?: string; readonly ip?: string }

/** Creates a plugin from a copy of the build; files are links, so what is changed is replaced, never written. */
async function createVariant(alias: string, { without, ip }: Variant): Promise<void> {
  const copy = join(folder, alias.split(":")[0] ?? alias);
  if ((await run("cp", ["-al", BUILD_FOLDER, copy])).exitCode !== 0) await cp(BUILD_FOLDER, copy, { recursive: true });
  const config = JSON.parse(await readFile(`${copy}/config.json`, "utf8")) as { description: string; linux: { capabilities: string[] } };
  config.description += `, ${alias}`;
  config.linux.capabilities = config.linux.capabilities.filter((name) => name !== without);
  await replace(`${copy}/config.json`, JSON.stringify(config));
  await replace(`${copy}/rootfs/opt/flannel-np/build.json`, JSON.stringify({ build: alias }));
  if (ip !== undefined) {
    await rename(`${copy}/rootfs/usr/bin/ip`, `${copy}/rootfs/usr/bin/ip-real`);
    await replace(`${copy}/rootfs/usr/bin/ip`, ip);
    await chmod(`${copy}/rootfs/usr/bin/ip`, 0o755);
  }
  const tar = spawn("tar", ["-C", copy, "--numeric-owner", "-cf", "-", "config.json", "rootfs"], { stdio: ["ignore", "pipe", "ignore"] });
  await askDocker(`create ${alias}`, { socket: node.socket, method: "POST", path: `/plugins/create?name=${encodeURIComponent(alias)}`, archive: tar.stdout, timeoutMs: 180_000 });
  await rm(copy, { recursive: true });
}

async function replace(path: string, text: string): Promise<void> {
  await rm(path, { force: true });
  await writeFile(path, text);
}

/**
 * A network of that plugin and a container on it: until it runs, or until Docker gives this reason for its failure, in the
 * command's own words or in the log that it points to. Other failures are those of an engine that has not yet seen the plugin.
 */
async function startOn(alias: string, reason = /^(?!)/): Promise<number> {
  const log = await dockerdLog(node);
  await must(node, ["docker", "network", "create", "-d", alias, "--ipam-driver", alias, "--attachable", NETWORK]);
  return until("docker run to end for a reason of ours", async () => {
    const { exitCode, stderr } = await node.exec(["docker", "run", "-d", "--name", NETWORK, "--network", NETWORK, "lab/box"]);
    const said = stderr + await log.read();
    if (exitCode === 0 || reason.test(said)) return { exitCode };
    await node.exec(["docker", "rm", "-f", NETWORK]);
    throw new Error(said);
  }, 120_000).then(({ exitCode }) => exitCode);
}

/** Alone on the node: two operators would be refused for being two. */
async function withVariant(alias: string, variant: Variant, test: () => Promise<void>): Promise<void> {
  await createVariant(alias, variant);
  try {
    await reconfigure(node, SETTINGS, alias);
    await until("the plugin's life", () => life(node, alias));
    // A member tells its swarm of a new plugin every 20 s, a new one at once.
    await node.exec(["docker", "swarm", "leave", "--force"]);
    await node.docker("swarm", "init", "--advertise-addr", node.address);
    await test();
  } finally {
    await node.exec(["docker", "rm", "-f", NETWORK]);
    await removeNetwork(node, NETWORK);
    await node.exec(["docker", "plugin", "disable", "-f", alias]);
    await node.exec(["docker", "plugin", "rm", "-f", alias]);
    // The kernel is asked for what the next plugin makes: nothing of this one's may pass for it.
    await must(node, ["sh", "-c", "for l in $(ip -br link | awk '{print $1}' | sed 's/@.*//' | grep -E '^(fnp|flannel)'); do ip link del $l; done; nft delete table ip fnp 2>/dev/null || true"]);
  }
}

const capabilities = async (): Promise<readonly string[]> =>
  (JSON.parse(await readFile(new URL("../../packaging/config.json", import.meta.url), "utf8")) as { linux: { capabilities: string[] } }).linux.capabilities;

describe("a plugin with all it asks for", () => {
  it("carries a container: its link, its sysctls, a device of VXLAN, a clean status", () => withVariant(FULL, {}, async () => {
    expect(await startOn(FULL)).toBe(0);
    await statusShows(node, 0, "ready", NETWORK);
    expect(await must(node, ["ip", "-br", "link", "show", "type", "vxlan"])).toMatch(/^flannel\.\d+/);
    const link = /\b(fnp\w+)@/.exec(await must(node, ["ip", "-br", "link", "show", "type", "veth"]))?.[1] ?? "";
    expect(await must(node, ["cat", `/proc/sys/net/ipv4/conf/${link}/proxy_arp`])).toBe("1");
  }));
});

/** What a missing capability makes fail, and what to do. */
const NEEDED: Readonly<Record<string, { readonly sentence: RegExp; readonly fails: RegExp; readonly says: readonly string[] }>> = {
  CAP_NET_ADMIN: { sentence: /links, routes, nftables/, fails: /Cannot .*Operation not permitted/, says: ["Operation not permitted", "Give the plugin CAP_NET_ADMIN"] },
  CAP_SYS_ADMIN: { sentence: /remounting `\/proc\/sys` writable/, fails: /Cannot write 1 to \/proc\/sys\/.*: EROFS/, says: ["/proc/sys", "CAP_SYS_ADMIN"] },
};

describe("a plugin without one capability", () => {
  it("is tried for every capability that packaging/config.json asks for", async () => {
    expect([...await capabilities()].sort()).toEqual(Object.keys(NEEDED).sort());
  });

  it.each(Object.entries(NEEDED))("%s fails at what packaging/README.md says it is for", async (name, { sentence, fails, says }) => {
    expect(sentences.split("\n").find((line) => line.includes(`**${name}**`))).toMatch(sentence);
    const alias = `caps-${name.slice(4).toLowerCase().replace("_", "-")}:latest`;
    await withVariant(alias, { without: name }, async () => {
      const before = await life(node, alias);
      expect(await startOn(alias, fails)).not.toBe(0);
      await statusShows(node, 1, ...says);
      await eventTells(node, "plugin.refused", ...says);
      expect(await life(node, alias)).toEqual(before);
    });
  });
});

describe("a kernel without VXLAN", () => {
  it("is named once in status and in the event log, with what to do; the plugin lives", () => withVariant("caps-novxlan:latest", { ip: NO_VXLAN }, async () => {
    const before = await life(node, "caps-novxlan:latest");
    // Containers of one node reach each other without it, so none is refused.
    expect(await startOn("caps-novxlan:latest")).toBe(0);
    const text = await statusShows(node, 1, "the kernel has no VXLAN", "modprobe vxlan");
    expect(text.split("\nPROBLEMS")[1]?.split("\nSOURCES")[0]?.match(/the kernel has no VXLAN/g)).toHaveLength(1);
    await eventTells(node, "reconcile.diverged", "the kernel has no VXLAN", "modprobe vxlan");
    expect(await must(node, ["ip", "-br", "link", "show", "type", "vxlan"])).toBe("");
    expect(await life(node, "caps-novxlan:latest")).toEqual(before);
  }));
});
