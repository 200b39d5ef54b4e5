/** Servers for many namespaces in one process: each answers for its own, and nothing of them outlives its close. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { lookup as resolveName } from "node:dns";
import { closeSync, openSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import type { NetnsPath } from "../../src/core/ids.ts";
import { inNetns, openNetnsSockets } from "../../src/sinks/netns-sockets.ts";
import { runCommand } from "../../src/sinks/exec.ts";
import { giveBack, takeOver } from "../../src/sinks/dns/takeover.ts";
import { addresses, ask, bed, dial, framed, namespacesOfThreads, openFiles, question, read, table, until, zone, type Bed } from "./dns-bed.ts";
import { Namespace } from "./namespace.ts";

const MANY = 50;
const made: Namespace[] = [];
const sandbox = (n: number): string => `sandbox${n}`;
const netnsInode = async (namespace: Namespace): Promise<bigint> => (await stat(namespace.path, { bigint: true })).ino;

beforeAll(async () => { for (let n = 0; n < MANY; n += 1) made.push(await Namespace.make()); });
afterAll(async () => { for (const namespace of made) await namespace.close().catch(() => undefined); });

const first = (): Namespace => made[0] as Namespace;

describe("hops", () => {
  it("leave every thread where it was, under file and name work", async () => {
    const here = readlinkSync("/proc/self/ns/net");
    const netns = openSync(first().path, "r");
    let busy = true;
    const files = (async () => { while (busy) await Promise.all(Array.from({ length: 8 }, () => readFile("/proc/self/status"))); })();
    const names = (async () => { while (busy) await new Promise((done) => { resolveName("localhost", done); }); })();
    const inside = new Set<string>();
    for (let hop = 0; hop < 5_000; hop += 1) {
      inside.add(inNetns(netns, () => readlinkSync("/proc/thread-self/ns/net")));
      if (hop % 50 === 0) await new Promise((turn) => { setImmediate(turn); });
    }
    busy = false;
    await Promise.all([files, names]);
    closeSync(netns);
    expect([...inside]).toEqual([`net:[${String(await netnsInode(first()))}]`]);
    expect(new Set(namespacesOfThreads())).toEqual(new Set([here]));
  });

  it("come back when what was done there throws, and refuse what is no namespace", () => {
    const here = readlinkSync("/proc/thread-self/ns/net");
    const before = openFiles();
    const netns = openSync(first().path, "r");
    expect(() => inNetns(netns, () => { throw new Error("inside"); })).toThrow("inside");
    closeSync(netns);
    expect(() => openNetnsSockets("/proc/self/status")).toThrow(/Cannot enter a network namespace: EINVAL/);
    expect(() => openNetnsSockets("/run/netns/there-is-none")).toThrow(/there is no such file/);
    expect(readlinkSync("/proc/thread-self/ns/net")).toBe(here);
    expect(openFiles()).toBe(before);
  });
});

describe("serving", () => {
  let world: Bed;
  const zones = Array.from({ length: MANY }, (_, n) => zone(`n${n}`, { web: addresses(`10.0.${n}.1`) }));
  const whole = table(zones, Object.fromEntries(zones.map(({ network }, n) => [sandbox(n), [network]])));

  beforeAll(async () => {
    world = await bed();
    world.serving.setTable(whole);
  });
  afterAll(async () => { await world.serving.stop(); });

  it(`gives each of ${MANY} namespaces its own answer, by UDP and TCP on one port`, async () => {
    const ports = await Promise.all(made.map((namespace, n) => world.serving.open(sandbox(n), namespace.path)));
    const said = await Promise.all(made.map((namespace, n) => ask(namespace, ports[n]?.port ?? 0, "web")));
    expect(said.map((answer) => answer?.addresses)).toEqual(made.map((_, n) => [`10.0.${n}.1`]));
    for (const n of [0, 17, MANY - 1]) {
      const stream = dial(made[n] as Namespace, ports[n]?.port ?? 0);
      stream.write(framed(question("web")));
      const bytes = await new Promise<Buffer>((done) => { stream.once("data", done); });
      stream.destroy();
      expect(read(bytes.subarray(2)).addresses).toEqual([`10.0.${n}.1`]);
    }
    expect(ports.map((port) => port.inode)).toEqual(await Promise.all(made.map(netnsInode)));
  });

  it("opens a sandbox once, however often it is asked", async () => {
    const before = openFiles();
    const again = await Promise.all(Array.from({ length: 5 }, () => world.serving.open(sandbox(0), first().path)));
    expect(new Set(again.map(({ port }) => port))).toEqual(new Set([world.serving.observe().get(sandbox(0))?.port]));
    expect(openFiles()).toBe(before);
  });

  it("refuses what it cannot open, and goes on", async () => {
    await expect(world.serving.open("gone", "/run/netns/there-is-none" as NetnsPath)).rejects.toMatchObject({ code: "not-found" });
    await expect(world.serving.open("file", "/proc/self/status" as NetnsPath)).rejects.toMatchObject({ code: "invalid" });
    expect(world.serving.observe().has("gone")).toBe(false);
    expect((await ask(first(), world.serving.observe().get(sandbox(0))?.port ?? 0, "web"))?.addresses).toEqual(["10.0.0.1"]);
  });

  it("says nothing to a sandbox that the table does not know", async () => {
    const other = await Namespace.make();
    const { port } = await world.serving.open("unknown", other.path);
    expect(await ask(other, port, "web", 500)).toBeUndefined();
    await world.serving.close("unknown");
    await other.close();
  });

  it("changes over when the table does", async () => {
    const port = world.serving.observe().get(sandbox(1))?.port ?? 0;
    const changed = { ...whole, zones: new Map(whole.zones).set(zones[1]?.network as never, zone("n1", { web: addresses("10.0.1.77"), api: addresses("10.0.1.5") })) };
    const says = (...list: readonly string[]) => async (): Promise<boolean> => (await ask(made[1] as Namespace, port, "web"))?.addresses.join() === list.join();
    world.serving.setTable(changed);
    await until("the new address is told", says("10.0.1.77"));
    world.serving.setTable(whole);
    await until("the old address is told", says("10.0.1.1"));
  });

  it("survives its thread: same ports, an event, and clients are answered again", async () => {
    const port = world.serving.observe().get(sandbox(2))?.port ?? 0;
    const files = openFiles();
    const poison = { addresses: [], texts: null } as never;
    world.serving.setTable({ ...whole, zones: new Map([["n2", zone("n2", { web: poison })]] as never) });
    await until("the thread's end is told", () => world.events.some(({ event }) => event === "dns.thread-lost"));
    world.serving.setTable(whole);
    await until("answers come again", async () => (await ask(made[2] as Namespace, port, "web", 300))?.addresses[0] === "10.0.2.1");
    expect(world.serving.observe().get(sandbox(2))?.port).toBe(port);
    expect(openFiles()).toBe(files);
  });

  it("lets go of a namespace that was deleted under it, when it is closed", async () => {
    const other = await Namespace.make();
    const inode = await netnsInode(other);
    await world.serving.open("short", other.path);
    await other.close();
    const held = (): boolean => readdirSync("/proc/self/fd").some((fd) => { try { return statSync(`/proc/self/fd/${fd}`, { bigint: true }).ino === inode; } catch { return false; } });
    expect(held()).toBe(true);
    await world.serving.close("short");
    expect(held()).toBe(false);
  });

  it("closes every file of every sandbox, and the kernel has no socket left there", async () => {
    const { port } = await world.serving.open(sandbox(3), (made[3] as Namespace).path);
    const listening = async (): Promise<string> => (await (made[3] as Namespace).must("cat", ["/proc/net/udp", "/proc/net/tcp"])).toLowerCase();
    expect(await listening()).toContain(`0b00007f:${port.toString(16).padStart(4, "0")}`);
    for (const name of [...world.serving.observe().keys()]) await world.serving.close(name);
    expect(await listening()).not.toContain("0b00007f:");
    expect(world.serving.observe().size).toBe(0);
  });
});

it("knows which sandbox is not reached from inside, and which is", async () => {
  const world = await bed();
  const [one, other] = [await Namespace.make(), await Namespace.make()];
  const signal = AbortSignal.timeout(60_000);
  world.serving.setTable(table([zone("n", {})], { one: ["n"], other: ["n"] }));
  for (const [name, { path }] of [["one", one], ["other", other]] as const) await takeOver(runCommand, path, (await world.serving.open(name, path)).port, signal);
  world.serving.unheard();
  await giveBack(runCommand, one.path, signal);
  await until("it is missed", () => world.serving.unheard().includes("one"), 10_000);
  // Both have had their turn at least twice when one was missed twice.
  const missed: string[] = [];
  await until("it is missed again", () => { missed.push(...world.serving.unheard()); return missed.length >= 2; }, 20_000);
  expect(new Set(missed)).toEqual(new Set(["one"]));
  await world.serving.stop();
  await Promise.all([one.close(), other.close()]);
});

it("a stopped server leaves no file and no thread", async () => {
  const { serving } = await bed();
  await serving.stop();
  const before = openFiles();
  const threads = readdirSync("/proc/self/task").length;
  for (let n = 0; n < 5; n += 1) {
    const world = await bed();
    world.serving.setTable(table([zone("n", { web: addresses("10.0.0.1") })], { s: ["n"] }));
    const { port } = await world.serving.open("s", first().path);
    expect((await ask(first(), port, "web"))?.addresses).toEqual(["10.0.0.1"]);
    await world.serving.stop();
  }
  expect(openFiles()).toBe(before);
  expect(readdirSync("/proc/self/task").length).toBeLessThanOrEqual(threads);
});
