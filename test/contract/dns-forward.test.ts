/**
 * What is not ours goes to Docker's own resolver and comes back; here a resolver of the test's stands in its place, on 127.0.0.11:53
 * of the namespace, and says everything a resolver may say, or nothing.
 */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import dgram from "node:dgram";
import { closeSync, openSync } from "node:fs";
import net from "node:net";
import type { Ipv4 } from "../../src/core/ids.ts";
import { AF_INET, bind, listen, QUIET, SOCK_DGRAM, SOCK_STREAM, socket } from "../../src/sinks/libc.ts";
import { inNetns } from "../../src/sinks/netns-sockets.ts";
import { addresses, ask, bed, dial, framed, question, read, table, until, zone, type Bed } from "./dns-bed.ts";
import { Namespace } from "./namespace.ts";

type Reply = (query: Buffer) => Buffer | readonly Buffer[];
interface Heard { readonly query: Buffer; readonly from: string; readonly transport: "udp" | "tcp" }

class Resolver {
  reply: Reply = () => [];
  readonly heard: Heard[] = [];
  readonly #udp = dgram.createSocket("udp4");
  readonly #tcp = net.createServer((client) => this.#serve(client));

  async start({ path }: Namespace): Promise<void> {
    const netns = openSync(path, "r");
    const home = Buffer.from([AF_INET, 0, 0, 53, 127, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0]);
    const [udp, tcp] = inNetns(netns, () => [SOCK_DGRAM, SOCK_STREAM].map((kind) => {
      const fd = socket(AF_INET, kind | QUIET, 0);
      if (bind(fd, home, 16) < 0 || (kind === SOCK_STREAM && listen(fd, 16) < 0)) throw new Error("no place for the resolver");
      return fd;
    })) as [number, number];
    closeSync(netns);
    this.#udp.on("message", (query, { address, port }) => {
      // A message that says it is an answer is nobody's query: the server feels for its own rules with one, and here are none.
      if (((query[2] ?? 0) & 0x80) !== 0) return;
      this.heard.push({ query, from: address, transport: "udp" });
      for (const answer of [this.reply(query)].flat()) this.#udp.send(answer, port, address);
    });
    await new Promise<void>((ready) => { this.#udp.bind({ fd: udp }, ready); });
    await new Promise<void>((ready) => { this.#tcp.listen({ fd: tcp }, ready); });
  }

  stop(): void {
    this.#udp.close();
    this.#tcp.close();
  }

  #serve(client: net.Socket): void {
    client.on("error", () => undefined);
    client.on("data", (bytes: Buffer) => {
      const query = bytes.subarray(2);
      this.heard.push({ query, from: client.remoteAddress ?? "", transport: "tcp" });
      for (const answer of [this.reply(query)].flat()) client.write(framed(answer));
    });
  }
}

/** The query turned into an answer: rcode and records of one address. */
const answer = (query: Buffer, rcode = 0, list: readonly string[] = [], ttl = 60, tail = Buffer.alloc(0)): Buffer => {
  const end = query.indexOf(0, 12) + 5;
  const records = list.map((address) => Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, ttl >> 8, ttl & 255, 0, 4, ...address.split(".").map(Number)]));
  const made = Buffer.concat([query.subarray(0, end), ...records, tail]);
  made[2] = 0x81;
  made[3] = 0x80 | rcode;
  made.writeUInt16BE(list.length, 6);
  made.writeUInt32BE(0, 8);
  return made;
};

let world: Bed;
let namespace: Namespace;
let resolver: Resolver;
let port = 0;

async function open(cache: boolean): Promise<void> {
  world = await bed(cache);
  world.serving.setTable(table([zone("net", { web: addresses("10.0.0.1") })], { s: ["net"], quiet: ["net"] }));
  ({ port } = await world.serving.open("s", namespace.path));
}

// One namespace a case: what a closed TCP connection leaves (TIME_WAIT) keeps its port from the next resolver.
beforeEach(async () => {
  namespace = await Namespace.make();
  resolver = new Resolver();
  await resolver.start(namespace);
});
afterEach(async () => {
  resolver.stop();
  await world.serving.stop();
  await namespace.close();
});

/** By TCP, on a connection of its own. */
async function askTcp(query: Buffer): Promise<ReturnType<typeof read>> {
  const client = dial(namespace, port);
  client.write(framed(query));
  const bytes = await new Promise<Buffer>((done, fail) => { client.once("data", done); client.once("close", () => fail(new Error("closed"))); });
  client.destroy();
  return read(bytes.subarray(2));
}

describe("a query on its way", () => {
  beforeEach(() => open(false));

  it("comes from the exempt address, by the transport it came on, unchanged but for its id", async () => {
    resolver.reply = (query) => answer(query, 0, ["192.0.2.7"]);
    // A type nobody knows, AD and CD set, EDNS0 with DO and an option nobody knows.
    const odd = Buffer.concat([question("Odd.example", 65_280, 0x0102), Buffer.from([0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 6, 0xfd, 0xe9, 0, 2, 7, 7])]);
    odd[3] = 0x30;
    odd[11] = 1;
    expect((await ask(namespace, port, odd))?.bytes.readUInt16BE(0)).toBe(0x0102);
    expect((await askTcp(odd)).bytes.readUInt16BE(0)).toBe(0x0102);
    expect(resolver.heard.map(({ from, transport }) => [from, transport])).toEqual([["127.0.0.33", "udp"], ["127.0.0.33", "tcp"]]);
    for (const { query } of resolver.heard) expect(query.subarray(2).toString("hex")).toBe(odd.subarray(2).toString("hex"));
  });

  it.each([["NXDOMAIN", 3], ["SERVFAIL", 2], ["REFUSED", 5], ["NOTIMP", 4], ["FORMERR", 1]])("%s comes back as it is", async (_name, rcode) => {
    resolver.reply = (query) => answer(query, rcode);
    expect((await ask(namespace, port, "none.example"))?.rcode).toBe(rcode);
    expect((await askTcp(question("none.example"))).rcode).toBe(rcode);
  });

  it("an answer larger than a datagram's plain room comes whole, and a cut one stays marked", async () => {
    resolver.reply = (query) => answer(query, 0, Array.from({ length: 200 }, (_, n) => `192.0.2.${n}`));
    expect((await ask(namespace, port, "big.example"))?.addresses).toHaveLength(200);
    expect((await askTcp(question("big.example"))).addresses).toHaveLength(200);
    resolver.reply = (query) => { const cut = answer(query); cut[2] = 0x83; return cut; };
    expect((await ask(namespace, port, "cut.example"))?.truncated).toBe(true);
  });

  it("takes nothing for its answer that is not: another id, another question, a query", async () => {
    resolver.reply = (query) => {
      const bad = answer(query, 0, ["203.0.113.66"]);
      const forged = [Buffer.from(bad), Buffer.from(bad), Buffer.from(bad), Buffer.alloc(3)] as const;
      forged[0].writeUInt16BE((query.readUInt16BE(0) + 1) & 0xffff, 0);
      forged[1][13] = 0x7a;
      forged[2][2] = 0x01;
      return [...forged, answer(query, 0, ["192.0.2.1"])];
    };
    expect((await ask(namespace, port, "fake.example"))?.addresses).toEqual(["192.0.2.1"]);
  });

  it("reverse names that are none go on, ours do not", async () => {
    resolver.reply = (query) => answer(query, 3);
    for (const name of ["1.2.3.in-addr.arpa", "x.0.0.10.in-addr.arpa", "999.0.0.10.in-addr.arpa", "8.8.8.8.in-addr.arpa"]) expect((await ask(namespace, port, question(name, 12)))?.rcode).toBe(3);
    expect(resolver.heard).toHaveLength(4);
    expect((await ask(namespace, port, question("9.0.0.10.in-addr.arpa", 12)))?.rcode).toBe(3);
    expect((await ask(namespace, port, question("web", 28)))?.rcode).toBe(0);
    expect(resolver.heard).toHaveLength(4);
  });
});

describe("no answer", () => {
  it("is SERVFAIL before the client gives up, by UDP and TCP; an answer that comes after all serves the next attempt", async () => {
    await open(true);
    const waiting: Buffer[] = [];
    resolver.reply = (query) => { waiting.push(Buffer.from(query)); return []; };
    const before = Date.now();
    const said = await Promise.all([ask(namespace, port, "slow.example", 10_000), askTcp(question("slow.example"))]);
    expect(said.map((each) => each?.rcode)).toEqual([2, 2]);
    expect(Date.now() - before).toBeLessThan(10_000);
    // Known to fail: told so at once, without another query.
    expect((await ask(namespace, port, "slow.example"))?.rcode).toBe(2);
    expect(resolver.heard).toHaveLength(2);
  });

  it("at a place where nobody listens is SERVFAIL at once, and the way is found again", async () => {
    await open(true);
    resolver.stop();
    expect((await ask(namespace, port, "lost.example"))?.rcode).toBe(2);
    expect((await askTcp(question("lost.example"))).rcode).toBe(2);
    resolver = new Resolver();
    await resolver.start(namespace);
    resolver.reply = (query) => answer(query, 0, ["192.0.2.9"]);
    expect((await ask(namespace, port, "found.example"))?.addresses).toEqual(["192.0.2.9"]);
  });

  it("one container's limit is its own: what is more is told so at once, and others are not touched", async () => {
    await open(true);
    const other = await Namespace.make();
    const { port: otherPort } = await world.serving.open("quiet", other.path);
    const flood = Array.from({ length: 300 }, (_, n) => ask(namespace, port, `n${n}.example`, 10_000));
    await until("the limit is met", () => world.serving.counters().limited > 0);
    expect((await ask(namespace, port, "web"))?.addresses).toEqual(["10.0.0.1"]);
    expect((await ask(other, otherPort, "web"))?.addresses).toEqual(["10.0.0.1"]);
    const said = await Promise.all(flood);
    expect(said.every((each) => each?.rcode === 2)).toBe(true);
    expect(resolver.heard.length).toBe(128);
    await world.serving.close("quiet");
    await other.close();
  });
});

describe("the cache", () => {
  const told = async (name: string): Promise<string> => { const said = await ask(namespace, port, name, 10_000); return said === undefined ? "silence" : `${said.rcode} ${said.addresses.join()}`; };

  it("answers again without asking, case kept; forgets when told to; another container has its own", async () => {
    await open(true);
    resolver.reply = (query) => answer(query, 0, ["192.0.2.1"]);
    expect([await told("a.example"), await told("A.exAmple")]).toEqual(["0 192.0.2.1", "0 192.0.2.1"]);
    expect((await ask(namespace, port, "A.EXAMPLE"))?.bytes.includes("EXAMPLE")).toBe(true);
    expect(resolver.heard).toHaveLength(1);
    await world.serving.flush("s");
    await until("it was forgotten", async () => { await told("a.example"); return resolver.heard.length === 2; });
    world.serving.setCache(false);
    await until("it is off", async () => { await told("a.example"); return resolver.heard.length === 3; });
    expect(world.serving.counters().cached).toBeGreaterThan(1);
  });

  it("keeps what is missing for the time its SOA says, and stands in with what was true while no answer comes", async () => {
    await open(true);
    const soa = Buffer.from([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 60]);
    resolver.reply = (query) => { const made = answer(query, 3, [], 60, soa); made.writeUInt16BE(1, 8); return made; };
    expect([await told("none.example"), await told("none.example")]).toEqual(["3 ", "3 "]);
    expect(resolver.heard).toHaveLength(1);
    resolver.reply = (query) => answer(query, 0, ["192.0.2.1"], 1);
    expect(await told("short.example")).toBe("0 192.0.2.1");
    resolver.reply = () => [];
    await until("the answer is stale", async () => { await told("short.example"); return world.serving.counters().stale > 0; });
    resolver.reply = (query) => answer(query, 2);
    expect(await told("short.example")).toBe("0 192.0.2.1");
  });
});

it("a name that a container of ours gave up is denied, whatever Docker's resolver kept, and not remembered", async () => {
  await open(true);
  world.serving.setTable(table([zone("net", { fresh: addresses("10.0.0.1") }, { pointers: new Map([["10.0.0.1" as Ipv4, "fresh.net-net"]]) })], { s: ["net"] }));
  resolver.reply = (query) => answer(query, 0, ["10.0.0.1"], 600);
  expect((await ask(namespace, port, "former"))?.rcode).toBe(3);
  expect(await askTcp(question("former"))).toMatchObject({ rcode: 3, addresses: [] });
  expect(world.serving.counters().former).toBe(2);
  resolver.reply = (query) => answer(query, 0, ["172.18.0.2"], 600);
  expect((await ask(namespace, port, "former"))?.addresses).toEqual(["172.18.0.2"]);
});

it("each query of a watched sandbox is told, with where its answer came from", async () => {
  await open(true);
  resolver.reply = (query) => answer(query, 0, ["192.0.2.1"]);
  const lines: string[] = [];
  const stop = await world.serving.watch("s", { line: ({ name, type, transport, outcome, via }) => lines.push(`${name} ${type} ${transport} ${outcome} ${via}`), ended: () => lines.push("ended") });
  for (const name of ["web", "a.example", "a.example"]) await ask(namespace, port, name);
  await askTcp(question("web", 28));
  await until("all are told", () => lines.length >= 4);
  stop();
  await world.serving.open("s", namespace.path);
  await ask(namespace, port, "web");
  expect(lines).toEqual(["web 1 udp answered zone", "a.example 1 udp answered forward", "a.example 1 udp answered cached", "web 28 tcp nodata zone"]);
});
