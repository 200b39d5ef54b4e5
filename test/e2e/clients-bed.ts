/**
 * An image of programs whose resolvers differ: glibc's getent, Python and Node on glibc; lab/box has busybox and Go.
 *
 * In:  the root file system the lab made for its newest engine, the plugin's own Node.  Out: lab/clients on every node.
 * Rule: imported as a plain root file system (`docker import`): no registry, no build.
 */
import { rm } from "node:fs/promises";
import type { Lab } from "../../lab/lab.ts";
import { BUILD_FOLDER } from "../../lab/plugin.ts";
import { engineNamed } from "../../lab/plan.ts";
import { newestRootfs } from "../../lab/rootfs/cache.ts";
import { run } from "../../lab/run.ts";
import { must } from "./bed.ts";

export const CLIENTS = "lab/clients:latest";
const PROGRAMS = ["sh", "dash", "env", "getent", "sleep", "python3*"].map((name) => `usr/bin/${name}`);
const LIBRARIES = ["ld-linux*", "libc.*", "libm.*", "libdl.*", "libpthread.*", "libresolv.*", "librt.*", "libutil.*", "libz.*", "libexpat.*", "libstdc++.*", "libgcc_s.*", "libselinux.*", "libpcre2-8.*", "libnss_dns.*", "libnss_files.*"]
  .map((name) => `usr/lib/*-linux-gnu/${name}`);
const REST = ["bin", "lib", "lib64", "usr/lib/ld-linux*", "usr/lib64", "usr/lib/python3.*", "etc/nsswitch.conf", "etc/host.conf", "etc/passwd", "etc/group"];

export async function importClients(lab: Lab): Promise<void> {
  const { folder } = await newestRootfs(engineNamed("28"), () => undefined);
  const pack = `cd '${folder}' && tar -cf "$1" --exclude='*/__pycache__' $(ls -d ${[...PROGRAMS, ...LIBRARIES, ...REST].join(" ")} 2>/dev/null) -C "$2" usr/bin/node`;
  for (const node of lab.nodes) {
    const { exitCode, stderr } = await run("sh", ["-c", pack, "pack", `${node.root}/srv/clients.tar`, `${BUILD_FOLDER}/rootfs`]);
    if (exitCode !== 0) throw new Error(`Cannot pack ${CLIENTS}: ${stderr}`);
    await must(node, ["docker", "import", "/srv/clients.tar", CLIENTS]);
    await rm(`${node.root}/srv/clients.tar`);
  }
}

export const dropClients = async (lab: Lab): Promise<void> => { for (const node of lab.nodes) await node.exec(["docker", "rmi", "-f", CLIENTS]); };

/** Program → script that prints the addresses of $1, one per line. */
export const GLIBC: Readonly<Record<string, string>> = {
  "glibc's getent": "getent ahostsv4 $1 | while read -r address _; do echo $address; done",
  "Python": "python3 -c 'import socket, sys; [print(a[4][0]) for a in socket.getaddrinfo(sys.argv[1], None, socket.AF_INET)]' $1",
  "Node's lookup": "node -e 'require(\"dns\").lookup(process.argv[1], { all: true }, (e, l) => { if (e) throw e; l.forEach((a) => console.log(a.address)); })' $1",
  "Node's resolve4": "node -e 'require(\"dns\").resolve4(process.argv[1], (e, l) => { if (e) throw e; l.forEach((a) => console.log(a)); })' $1",
};
export const BOX: Readonly<Record<string, string>> = {
  "Go": "box look $1",
  "busybox nslookup": "nslookup $1 | awk '/^Name:/ { answer = 1 } answer && /^Address/ { print $NF }'",
};

/** Every program's addresses of every name, each once and in order, in a container of its own with these options. */
export async function askedBy(lab: Lab, nodeName: string, programs: Readonly<Record<string, string>>, image: string, network: string, names: readonly string[], options: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const lines = Object.entries(programs).flatMap(([program, script], n) => [`f${n}() { ${script}; }`, ...names.map((name) => `echo "# ${program}: ${name}"; f${n} ${name} 2>&1`)]);
  const text = await must(lab.node(nodeName), ["docker", "run", "--rm", "--network", network, ...options, image, "sh", "-c", lines.join("\n")], 120_000);
  return Object.fromEntries(text.split(/^# /m).filter((block) => block !== "").map((block) => {
    const [question = "", ...found] = block.split("\n");
    return [question, [...new Set(found.filter((line) => line !== ""))].sort().join(" ")];
  }));
}
