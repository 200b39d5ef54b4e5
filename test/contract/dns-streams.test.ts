/** Connections and floods on live sockets: many queries on one connection, clients that lie, dawdle or never read, and noise. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import dgram from "node:dgram";
import { closeSync, openSync } from "node:fs";
import type net from "node:net";
import { AF_INET, bind, QUIET, SOCK_DGRAM, socket } from "../../src/sinks/libc.ts";
import { inNetns } from "../../src/sinks/netns-sockets.ts";
import { Mutator, QUESTIONS } from "../sinks/dns/mutate.ts";
import { addresses, ask, bed, dial, framed, openFiles, question, read, residentKib, table, until, zone, type Bed } from "./dns-bed.ts";
import { Namespace } from "./namespace.ts";

let world: Bed;
let busy: Namespace;
let calm: Namespace;
let port = 0;
let calmPort = 0;
const many = Array.from({ length: 1_000 }, (_, n) => `10.2.${n >> 8}.${n & 255}`);

beforeAll(async () => {
  [busy, calm, world] = await Promise.all([Namespace.make(), Namespace.make(), bed()]);
  world.serving.setTable(table([zone("n", { web: addresses("10.0.0.1"), many: addresses(...many) })], { busy: ["n"], calm: ["n"] }));
  ({ port } = await world.serving.open("busy", busy.path));
  ({ port: calmPort } = await world.serving.open("calm", calm.path));
});
afterAll(async () => {
  await world.serving.stop();
  await Promise.all([busy.close(), calm.close()]);
});

/** Everything a connection says, cut into messages. */
function heard(client: net.Socket): { readonly messages: Buffer[]; readonly ended: () => boolean } {
  let rest = Buffer.alloc(0);
  let ended = false;
  const messages: Buffer[] = [];
  client.on("data", (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      messages.push(Buffer.from(rest.subarray(2, 2 + rest.readUInt16BE(0))));
      rest = Buffer.from(rest.subarray(2 + rest.readUInt16BE(0)));
    }
  });
  for (const event of ["end", "close", "error"]) client.on(event, () => { ended = true; });
  return { messages, ended: () => ended };
}
const calmAnswers = async (): Promise<boolean> => (await ask(calm, calmPort, "web"))?.addresses[0] === "10.0.0.1";

describe("one connection", () => {
  it("carries a thousand queries at once, byte by byte or all in one, each answered once", async () => {
    const client = dial(busy, port);
    const { messages } = heard(client);
    const queries = Buffer.concat(Array.from({ length: 1_000 }, (_, id) => framed(question("web", 1, id))));
    for (let at = 0; at < 200; at += 1) client.write(queries.subarray(at, at + 1));
    client.write(queries.subarray(200));
    await until("all are answered", () => messages.length === 1_000);
    expect(new Set(messages.map((message) => message.readUInt16BE(0))).size).toBe(1_000);
    expect(new Set(messages.flatMap((message) => read(message).addresses))).toEqual(new Set(["10.0.0.1"]));
    client.destroy();
  });

  it("that is closed for writing still gets its answers, then its end", async () => {
    const client = dial(busy, port);
    const { messages, ended } = heard(client);
    client.end(Buffer.concat([framed(question("web")), framed(question("many"))]));
    await until("its end", ended);
    expect(messages.map((message) => read(message).addresses.length)).toEqual([1, 1_000]);
  });

  it.each<[string, Buffer]>([["a length of none", Buffer.from([0, 0, 1])], ["a length below a header", framed(Buffer.alloc(11))], ["a length beyond any question", Buffer.from([0xff, 0xff, 1, 2, 3])]])(
    "that begins with %s is cut", async (_what, bytes) => {
      const client = dial(busy, port);
      const { ended } = heard(client);
      client.write(bytes);
      await until("its end", ended);
      client.destroy();
    });

  it("that never finishes a message, or says nothing, is cut after its time", async () => {
    const clients = [dial(busy, port), dial(busy, port)];
    const ends = clients.map((client) => heard(client).ended);
    const dawdle = setInterval(() => { if (clients[0]?.writable === true) clients[0].write(Buffer.from([0])); }, 700);
    clients[0]?.write(Buffer.from([0, 200]));
    await until("both ends", () => ends.every((ended) => ended()), 60_000);
    clearInterval(dawdle);
    for (const client of clients) client.destroy();
  });

  it("that asks for much and reads nothing is held back, then cut; its neighbour notices nothing", async () => {
    const client = dial(busy, port);
    const { ended } = heard(client);
    client.pause();
    const before = residentKib();
    const queries = Buffer.concat(Array.from({ length: 2_000 }, (_, id) => framed(question("many", 1, id))));
    client.write(queries);
    await until("it is cut", async () => { expect(await calmAnswers()).toBe(true); return ended() || world.serving.counters().connectionsCut >= 6; }, 60_000);
    // 2,000 answers of 16 kB are 32 MB: they were not made.
    expect(residentKib() - before).toBeLessThan(24_000);
    client.destroy();
  });
});

it("a sandbox has 64 connections; the one silent longest makes room", async () => {
  const files = openFiles();
  const clients = Array.from({ length: 80 }, () => dial(busy, port));
  const ends = clients.map((client) => heard(client).ended);
  await until("the first are cut", () => ends.filter((ended) => ended()).length === 16);
  const last = clients.at(-1) as net.Socket;
  const { messages } = heard(last);
  last.write(framed(question("web")));
  await until("the last is answered", () => messages.length === 1);
  for (const client of clients) client.destroy();
  await until("all files are closed", () => openFiles() <= files);
});

it("ten thousand broken messages on the live socket: it goes on, no larger, and its neighbour is answered meanwhile", async () => {
  const netns = openSync(busy.path, "r");
  const fd = inNetns(netns, () => {
    const made = socket(AF_INET, SOCK_DGRAM | QUIET, 0);
    bind(made, Buffer.from([AF_INET, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), 16);
    return made;
  });
  closeSync(netns);
  const client = dgram.createSocket({ type: "udp4", lookup: (host, _options, done) => { done(null, host, 4); } });
  await new Promise<void>((ready) => { client.bind({ fd }, ready); });
  let answers = 0;
  client.on("message", () => { answers += 1; });
  const mutator = new Mutator(QUESTIONS, 11);
  const total = (): number => world.serving.counters().udp;
  const [start, files] = [total(), openFiles()];
  try {
    // A full socket drops what is more: sent until enough was read.
    for (let n = 0; total() - start < 10_000 && n < 200_000; n += 1) {
      const message = Buffer.from(mutator.into.subarray(0, mutator.next()));
      await new Promise((sent) => { client.send(message, port, "127.0.0.11", sent); });
      if (n % 100 === 0) expect(await calmAnswers()).toBe(true);
    }
  } finally {
    client.close();
  }
  expect(total() - start).toBeGreaterThanOrEqual(10_000);
  expect(answers).toBeGreaterThan(1_000);
  expect(world.serving.counters().failed).toBe(0);
  expect(world.events).toEqual([]);
  expect((await ask(busy, port, "web"))?.addresses).toEqual(["10.0.0.1"]);
  await until("what was forwarded has ended", () => openFiles() <= files + 1, 60_000);
  expect(world.serving.observe().size).toBe(2);
});
