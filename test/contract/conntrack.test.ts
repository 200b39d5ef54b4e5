/** Letting go of connections, by the kernel's own table: those to a server that is out go, all others stay. Needs root. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Ipv4 } from "../../src/core/ids.ts";
import { countFlows, forget, type Flow } from "../../src/sinks/balancer/flows.ts";
import type { Conntrack } from "../../src/sinks/conntrack.ts";
import { Namespace } from "./namespace.ts";

const signal = new AbortController().signal;
const VIP = "10.1.0.5" as Ipv4;
const OUT = "10.1.4.9" as Ipv4;
const STAYS = "10.1.4.10" as Ipv4;
const flow = (which: Flow["which"], address: Ipv4 = OUT): Flow => ({ vip: VIP, address, which });
let namespace: Namespace;

beforeAll(async () => { namespace = await Namespace.make(); });
afterAll(async () => { await namespace.close(); });

/** A connection of a container to the VIP, led on to a server. */
const connect = (protocol: "tcp" | "udp", port: number, server: Ipv4): Promise<string> => namespace.must("conntrack", [
  "-I", "-p", protocol, "-s", "10.1.4.2", "-d", VIP, "-r", server, "-q", "10.1.4.2", "--sport", String(port), "--dport", "80", "--reply-port-src", "80", "--reply-port-dst", String(port),
  "-t", "600", ...(protocol === "tcp" ? ["--state", "ESTABLISHED"] : []),
]);

async function left(): Promise<string[]> {
  const { stdout } = await namespace.tell("conntrack", ["-L"]);
  return stdout.split("\n").filter((line) => line.includes(VIP)).map((line) => `${line.split(" ")[0] ?? ""} ${/src=(10\.1\.4\.(?:9|10)) /.exec(line)?.[1] ?? ""}`).sort();
}

describe("letting go of connections", () => {
  it("takes datagrams alone, or all, of the pairs it is told, in one call", async () => {
    await connect("udp", 5000, OUT);
    await connect("tcp", 5001, OUT);
    await connect("udp", 5002, STAYS);
    await connect("tcp", 5003, STAYS);
    expect(await left()).toEqual([`tcp ${STAYS}`, `tcp ${OUT}`, `udp ${STAYS}`, `udp ${OUT}`]);
    await forget(namespace.conntrack, [flow("datagrams")], signal);
    expect(await left()).toEqual([`tcp ${STAYS}`, `tcp ${OUT}`, `udp ${STAYS}`]);
    await forget(namespace.conntrack, [flow("all"), flow("datagrams", STAYS)], signal);
    expect(await left()).toEqual([`tcp ${STAYS}`]);
  });

  it("is no failure when there are none, and asks nobody about no pair", async () => {
    await forget(namespace.conntrack, [flow("all"), flow("datagrams")], signal);
    const nobody: Conntrack = { find: () => Promise.reject(new Error("nobody was to be asked")), end: () => Promise.reject(new Error("nobody was to be asked")) };
    await forget(nobody, [], signal);
    expect(await left()).toEqual([`tcp ${STAYS}`]);
  });
});

describe("a long table", () => {
  const MANY = 4_000;
  const lines = (count: number): string => Array.from({ length: count }, (_, n) => `-I -p udp -s 10.1.4.2 -d ${VIP} -r ${n % 2 === 0 ? OUT : STAYS} -q 10.1.4.2 --sport ${10_000 + n} --dport 80 --reply-port-src 80 --reply-port-dst ${10_000 + n} -t 600\n`).join("");
  const counted = async (): Promise<readonly (number | undefined)[]> => {
    const counts = await countFlows(namespace.conntrack, signal);
    return [OUT, STAYS].map((address) => counts.get(`${VIP}>${address}`));
  };

  it("is read in pieces, and half of it ended", async () => {
    await namespace.must("sh", ["-c", 'f=$(mktemp) && cat >"$f" && conntrack --load-file "$f"; rm "$f"'], lines(MANY));
    // One stays of the cases before.
    expect(await counted()).toEqual([MANY / 2, MANY / 2 + 1]);
    await forget(namespace.conntrack, [flow("datagrams")], signal);
    expect(await counted()).toEqual([undefined, MANY / 2 + 1]);
    expect(await left()).toHaveLength(MANY / 2 + 1);
  });

  it("has no more than was there, whoever ended it", async () => {
    const found = await namespace.conntrack.find(({ protocol }) => protocol === 17, signal);
    await namespace.must("conntrack", ["-D", "-p", "udp"]);
    await namespace.conntrack.end(found, signal);
    // Another connection between the same ends is not the one that was found.
    await connect("udp", 10_001, STAYS);
    await namespace.conntrack.end(found, signal);
    expect(await left()).toEqual([`tcp ${STAYS}`, `udp ${STAYS}`]);
  });

  it("counts what is open", async () => {
    await namespace.must("conntrack", ["-I", "-p", "tcp", "-s", "10.1.4.2", "-d", VIP, "-r", OUT, "-q", "10.1.4.2", "--sport", "6000", "--dport", "80", "--reply-port-src", "80", "--reply-port-dst", "6000", "-t", "60", "--state", "TIME_WAIT"]);
    expect(await counted()).toEqual([undefined, 2]);
  });
});
