/**
 * Keeps true: each lab has one switch (a bridge in a namespace of its own), one host behind a router, and no way to this machine's network.
 * In: lab id, host names, addresses. Out: namespaces and cables, present or gone.
 * Rule: links are made inside the lab's namespaces; none ever exists in the machine's own.
 */
import { readdir } from "node:fs/promises";
import { LAN, OUTSIDE, macOf, namespaceName, portName } from "../plan.ts";
import { must, run } from "../run.ts";
import { until } from "../wait.ts";

const FOLDER = "/run/netns";
export const namespacePath = (lab: string, host: string): string => `${FOLDER}/${namespaceName(lab, host)}`;

const BRIDGE = "lab0";
/** Containers of several nodes share the LAN: the switch itself must neither filter nor redirect what it carries. */
const SWITCH_SYSCTLS = [
  "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0", "net.ipv4.conf.all.send_redirects=0",
  "net.ipv4.conf.default.send_redirects=0", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0", "net.ipv4.ip_forward=1",
];

async function batch(what: string, lines: readonly string[]): Promise<void> {
  await must(what, "ip", ["-batch", "-"], { input: `${lines.join("\n")}\n` });
}

export async function namespaces(lab: string): Promise<readonly string[]> {
  const names = await readdir(FOLDER).catch(() => []);
  return names.filter((name) => name.startsWith(namespaceName(lab, "")));
}

const exists = async (lab: string, host: string): Promise<boolean> => (await namespaces(lab)).includes(namespaceName(lab, host));

async function hasLink(lab: string, host: string, link: string): Promise<boolean> {
  return (await run("ip", ["-n", namespaceName(lab, host), "link", "show", "dev", link])).exitCode === 0;
}

/** The switch and the host behind it. Safe to repeat; a half-made one is made anew, which unplugs nothing that works. */
export async function makeSwitch(lab: string): Promise<void> {
  if (await exists(lab, "switch") && await hasLink(lab, "switch", "out0")) return;
  const [sw, outside] = [namespaceName(lab, "switch"), namespaceName(lab, "outside")];
  for (const half of [sw, outside]) await run("ip", ["netns", "del", half]);
  await batch(`make the switch of lab ${lab}`, [`netns add ${sw}`, `netns add ${outside}`]);
  // Absent without br_netfilter: then nothing filters bridged packets anyway.
  await run("nsenter", [`--net=${namespacePath(lab, "switch")}`, "sysctl", "-qe", "-w", ...SWITCH_SYSCTLS]);
  await must(`make the switch of lab ${lab}`, "ip", ["-n", sw, "-batch", "-"], {
    input: `${[
      "link set lo up", `link add ${BRIDGE} type bridge forward_delay 0`, `addr add ${LAN.router}/${LAN.bits} dev ${BRIDGE}`, `link set ${BRIDGE} up`,
      `link add out0 type veth peer name eth0 netns ${outside}`, `addr add ${OUTSIDE.router}/${OUTSIDE.bits} dev out0`, "link set out0 up",
    ].join("\n")}\n`,
  });
  await must(`make the outside host of lab ${lab}`, "ip", ["-n", outside, "-batch", "-"], {
    input: `${["link set lo up", `addr add ${OUTSIDE.host}/${OUTSIDE.bits} dev eth0`, "link set eth0 up", `route add default via ${OUTSIDE.router}`].join("\n")}\n`,
  });
}

/** A namespace with a cable to the switch; its end, eth0, is left without address (a node sets it up itself). */
export async function plugIn(lab: string, host: string, address: string): Promise<void> {
  const [sw, name, port] = [namespaceName(lab, "switch"), namespaceName(lab, host), portName(host)];
  if (await exists(lab, host) && await hasLink(lab, host, "eth0")) return;
  await unplug(lab, host);
  await batch(`plug ${host} into the switch of lab ${lab}`, [`netns add ${name}`]);
  await must(`plug ${host} into the switch of lab ${lab}`, "ip", ["-n", sw, "-batch", "-"], {
    input: `link add ${port} type veth peer name eth0 address ${macOf(address)} netns ${name}\nlink set ${port} master ${BRIDGE} up\n`,
  });
}

/** The switch's port of a virtual machine: a tap device, whose other end is the emulator. */
export async function plugTap(lab: string, host: string): Promise<void> {
  if (await hasLink(lab, "switch", portName(host))) return;
  const what = `plug ${host} into the switch of lab ${lab}`;
  await must(what, "ip", ["-n", namespaceName(lab, "switch"), "tuntap", "add", "dev", portName(host), "mode", "tap"]);
  await must(what, "ip", ["-n", namespaceName(lab, "switch"), "link", "set", portName(host), "master", BRIDGE, "up"]);
}

export async function unplugTap(lab: string, host: string): Promise<void> {
  await run("ip", ["-n", namespaceName(lab, "switch"), "link", "del", portName(host)]);
}

/** A LAN host that is only a network namespace, with address and default route. */
export async function makeHost(lab: string, host: string, address: string): Promise<void> {
  await plugIn(lab, host, address);
  await must(`set up host ${host} of lab ${lab}`, "ip", ["-n", namespaceName(lab, host), "-batch", "-"], {
    input: `${["link set lo up", `addr replace ${address}/${LAN.bits} dev eth0`, "link set eth0 up", `route replace default via ${LAN.router}`].join("\n")}\n`,
  });
}

/** Removes the namespace and its cable, and waits until the cable is gone (the kernel takes namespaces down in its own time). */
export async function unplug(lab: string, host: string): Promise<void> {
  await run("ip", ["-n", namespaceName(lab, "switch"), "link", "del", portName(host)]);
  await run("ip", ["netns", "del", namespaceName(lab, host)]);
  await until({ what: `unplug ${host} from lab ${lab}`, timeoutMs: 20_000, cure: "repeat the command" },
    async () => (await hasLink(lab, "switch", portName(host)) ? undefined : true));
}

/** The cable: up or down at the switch's end, as if it were pulled there. */
export async function setCable(lab: string, host: string, state: "up" | "down"): Promise<void> {
  await must(`set the cable of ${host} ${state}`, "ip", ["-n", namespaceName(lab, "switch"), "link", "set", portName(host), state]);
}

/** Host pids that stand in any network namespace of the lab. */
export async function namespacePids(lab: string): Promise<readonly number[]> {
  const lists = await Promise.all((await namespaces(lab)).map((name) => run("ip", ["netns", "pids", name])));
  return lists.flatMap((list) => list.stdout.split("\n").map(Number).filter((pid) => pid > 1));
}

export async function removeNamespaces(lab: string): Promise<void> {
  for (const name of await namespaces(lab)) await must(`remove namespace ${name}`, "ip", ["netns", "del", name]);
}
