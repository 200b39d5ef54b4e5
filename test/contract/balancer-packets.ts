/** What packets say of a balancer: who answers, whom the server sees, what is refused, what lives on. */
import { expect } from "@jest/globals";
import { B1, B2, drop, OTHER, PAIR, put, server, service, update, VIP } from "./balancer-cases.ts";
import type { Asked, BalancerWorld, Held, Kind, Packets, Place } from "./balancer-world.ts";
import type { Cases } from "./suite.ts";

const KINDS = ["tcp", "udp"] as const;
const NOBODY = "10.1.0.99";
const GATEWAY = "10.1.1.1";

export async function one(packets: Packets, from: Place, kind: Kind, count: number, port?: string): Promise<Asked> {
  const [tally] = await packets.ask(from, kind, [VIP], count, port);
  if (tally === undefined) throw new Error("no tally");
  return tally;
}

/** Round robin within one; nothing lost. */
export function expectEven({ by, refused, silent }: Asked, count: number): void {
  expect({ names: Object.keys(by).sort(), refused, silent }).toEqual({ names: ["b1", "b2"], refused: 0, silent: 0 });
  expect(Math.abs((by["b1"] ?? 0) - count / 2)).toBeLessThanOrEqual(1);
}

async function until(held: Held, wanted: string): Promise<readonly string[]> {
  const answers: string[] = [];
  while (answers.at(-1) !== wanted) {
    answers.push(await held.next());
    if (answers.length > 60) throw new Error(`${wanted} never came: ${answers.join(" ")}`);
  }
  return answers;
}

export const PACKETS: Cases<BalancerWorld> = {
  "connections and datagrams are spread evenly, on every port, and the server sees the client": async (world) => {
    const packets = await world.packets();
    await put(world, ...PAIR);
    for (const kind of KINDS) {
      for (const port of ["8080", "9090"]) {
        const tally = await one(packets, "client", kind, 20, port);
        expectEven(tally, 20);
        expect(tally.peers).toEqual({ "10.1.1.10": 20 });
      }
    }
  },
  "SCTP too, where the kernel has it": async (world) => {
    const packets = await world.packets();
    if (!(await packets.speaks("sctp"))) return void process.stderr.write("   SCTP: not asked for, this kernel has none\n");
    await put(world, ...PAIR);
    const tally = await one(packets, "client", "sctp", 20);
    expectEven(tally, 20);
    expect(tally.peers).toEqual({ "10.1.1.10": 20 });
  },
  "two services asked in turn are each spread evenly": async (world) => {
    const packets = await world.packets();
    await put(world, ...PAIR, service(OTHER), server(OTHER, B1), server(OTHER, B2));
    for (const tally of await packets.ask("client", "tcp", [VIP, OTHER], 20)) expectEven(tally, 20);
  },
  "the host asks, and a server asks its own service and itself": async (world) => {
    const packets = await world.packets();
    await put(world, ...PAIR);
    for (const kind of KINDS) {
      expectEven(await one(packets, "host", kind, 10), 10);
      const itself = await one(packets, "b1", kind, 10);
      expectEven(itself, 10);
      expect(itself.peers).toEqual({ [GATEWAY]: itself.by["b1"], "10.1.1.11": itself.by["b2"] });
    }
  },
  "no server, or no service: refused at once, never a socket of the host": async (world) => {
    const packets = await world.packets();
    const refused = (count: number): Asked => ({ by: {}, peers: {}, refused: count, silent: 0 });
    const everywhere = async (): Promise<void> => {
      for (const from of ["client", "host"] as const) {
        expect(await packets.ask(from, "tcp", [VIP, NOBODY], 10)).toEqual([refused(10), refused(10)]);
        // Kernels refuse datagrams of one client six times, then once a second.
        expect(await packets.ask(from, "udp", [VIP], 1)).toEqual([refused(1)]);
      }
    };
    expect(await packets.ask("client", "udp", [NOBODY], 1)).toEqual([refused(1)]);
    await everywhere();
    await put(world, service(VIP));
    await everywhere();
    await put(world, server(VIP, B1));
    expect((await one(packets, "client", "tcp", 3)).by).toEqual({ b1: 3 });
    await update(world, server(VIP, B1, 0));
    await everywhere();
    await drop(world, service(VIP));
    await everywhere();
  },
  "weight 0: an open connection lives on, new ones go elsewhere": async (world) => {
    const packets = await world.packets();
    await put(world, service(VIP), server(VIP, B1));
    const held = await packets.hold("client", "tcp", VIP);
    await until(held, "b1");
    await put(world, server(VIP, B2));
    await update(world, server(VIP, B1, 0));
    expect((await one(packets, "client", "tcp", 10)).by).toEqual({ b2: 10 });
    for (let n = 0; n < 3; n += 1) expect(await held.next()).toBe("b1");
  },
  "weight 0 of the last server: an open connection lives on, new ones are refused": async (world) => {
    const packets = await world.packets();
    await put(world, service(VIP), server(VIP, B1));
    const held = await packets.hold("client", "tcp", VIP);
    await until(held, "b1");
    await update(world, server(VIP, B1, 0));
    expect(await packets.ask("client", "tcp", [VIP], 10)).toEqual([{ by: {}, peers: {}, refused: 10, silent: 0 }]);
    for (let n = 0; n < 3; n += 1) expect(await held.next()).toBe("b1");
  },
  "weight 0: datagrams of one sender leave at once": async (world) => {
    const packets = await world.packets();
    await put(world, service(VIP), server(VIP, B1));
    const held = await packets.hold("client", "udp", VIP);
    await until(held, "b1");
    await put(world, server(VIP, B2));
    await update(world, server(VIP, B1, 0));
    await until(held, "b2");
    for (let n = 0; n < 3; n += 1) expect(await held.next()).toBe("b2");
    expect((await one(packets, "client", "udp", 6)).by).toEqual({ b2: 6 });
  },
  "a server that goes loses its connections; a sender finds the next one": async (world) => {
    const packets = await world.packets();
    await put(world, service(VIP), server(VIP, B1));
    const [stream, datagrams] = [await packets.hold("client", "tcp", VIP), await packets.hold("client", "udp", VIP)];
    await Promise.all([until(stream, "b1"), until(datagrams, "b1")]);
    await put(world, server(VIP, B2));
    await drop(world, server(VIP, B1));
    await until(datagrams, "b2");
    const after = await stream.next();
    expect([after, await stream.next()]).not.toContain("b1");
  },
  "one client stays with one server under sh": async (world) => {
    const packets = await world.packets();
    await put(world, service(VIP, "sh"), server(VIP, B1), server(VIP, B2));
    const { by, refused, silent } = await one(packets, "client", "tcp", 8);
    expect([Object.values(by), refused, silent]).toEqual([[8], 0, 0]);
  },
};
