/** Letting go of connections, by the kernel's own table: those to a server that is out go, all others stay. Needs root. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Ipv4 } from "../../src/core/ids.ts";
import { forget, type Flow } from "../../src/sinks/balancer/conntrack.ts";
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
    await forget(namespace.exec, [flow("datagrams")], signal);
    expect(await left()).toEqual([`tcp ${STAYS}`, `tcp ${OUT}`, `udp ${STAYS}`]);
    await forget(namespace.exec, [flow("all"), flow("datagrams", STAYS)], signal);
    expect(await left()).toEqual([`tcp ${STAYS}`]);
  });

  it("is no failure when there are none, and asks nobody about no pair", async () => {
    await forget(namespace.exec, [flow("all"), flow("datagrams")], signal);
    await forget(() => { throw new Error("nobody was to be asked"); }, [], signal);
    expect(await left()).toEqual([`tcp ${STAYS}`]);
  });
});
