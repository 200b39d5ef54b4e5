/** The socket: one JSON answer per call, in time, whatever arrives; both error keys; every call told. */
import { afterEach, describe, expect, test } from "@jest/globals";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OperatorError } from "../../src/core/errors.ts";
import { METHODS, type MethodName } from "../../src/plugin/protocol.ts";
import { BODIES, NETWORK } from "./bodies.ts";
import { live, type Live } from "./live-socket.ts";

const open: Live[] = [];
async function started(...args: Parameters<typeof live>): Promise<Live> {
  const server = await live(...args);
  open.push(server);
  return server;
}
afterEach(async () => { await Promise.all(open.splice(0).map((server) => server.close())); });

const never = new Promise<never>(() => undefined);
const names = Object.keys(METHODS) as MethodName[];
const carrying = names.filter((name) => METHODS[name].takesBody);
const bodyOf = (name: MethodName): string => (BODIES[name] === undefined ? "" : `${JSON.stringify(BODIES[name])}\n`);

/** Asserts the one error format and gives its text. */
function refusalOf(answer: { status: number; type: string; text: string }, status = 500): string {
  expect(answer.status).toBe(status);
  expect(answer.type).toBe("application/json");
  const { Err, Error: same, ...rest } = JSON.parse(answer.text) as { Err: string; Error: string };
  expect(rest).toEqual({});
  expect(same).toBe(Err);
  return Err;
}

describe("answers", () => {
  test.each(names)("%s answers its captured body with a JSON object", async (name) => {
    const server = await started();
    const answer = await server.post(`/${name}`, bodyOf(name));
    expect(answer).toMatchObject({ status: 200, type: "application/json" });
    expect(typeof JSON.parse(answer.text)).toBe("object");
    expect(server.events).toEqual([{ event: "plugin.request", fields: { method: name, durationMs: expect.any(Number), outcome: "answered" } }]);
  });

  test("each driver call reaches the method of its name", async () => {
    const server = await started();
    const wanted = new Map([
      ["IpamDriver.RequestPool", "requestPool"], ["IpamDriver.ReleasePool", "releasePool"],
      ["IpamDriver.RequestAddress", "requestAddress"], ["IpamDriver.ReleaseAddress", "releaseAddress"],
      ["NetworkDriver.AllocateNetwork", "allocateNetwork"], ["NetworkDriver.FreeNetwork", "freeNetwork"],
      ["NetworkDriver.CreateNetwork", "createNetwork"], ["NetworkDriver.DeleteNetwork", "deleteNetwork"],
      ["NetworkDriver.CreateEndpoint", "createEndpoint"], ["NetworkDriver.DeleteEndpoint", "deleteEndpoint"],
      ["NetworkDriver.Join", "join"], ["NetworkDriver.Leave", "leave"],
    ]);
    for (const name of names) await server.post(`/${name}`, bodyOf(name));
    expect(server.noted.map(({ method }) => method).sort()).toEqual([...wanted.values()].sort());
    for (const [name, method] of wanted) {
      const again = await started();
      await again.post(`/${name}`, bodyOf(name as MethodName));
      expect(again.noted.map((noted) => noted.method)).toEqual([method]);
    }
  });

  test("fixed answers wait for nobody and say what swarm needs", async () => {
    const server = await started({ ready: never });
    const said = async (name: MethodName): Promise<unknown> => JSON.parse((await server.post(`/${name}`)).text);
    expect(await said("Plugin.Activate")).toEqual({ Implements: ["NetworkDriver", "IpamDriver"] });
    expect(await said("NetworkDriver.GetCapabilities")).toMatchObject({ Scope: "global", ConnectivityScope: "local" });
    expect(await said("IpamDriver.GetCapabilities")).toEqual({ RequiresMACAddress: true, RequiresRequestReplay: false });
    expect(await said("IpamDriver.GetDefaultAddressSpaces")).toEqual({ LocalDefaultAddressSpace: "fnp-local", GlobalDefaultAddressSpace: "fnp-global" });
  });

  test("calls are answered in parallel", async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    const server = await started({ network: { leave: () => gate } });
    const slow = server.post("/NetworkDriver.Leave", bodyOf("NetworkDriver.Leave"));
    expect((await server.post("/IpamDriver.ReleasePool", bodyOf("IpamDriver.ReleasePool"))).status).toBe(200);
    release();
    expect(await slow).toMatchObject({ status: 200, text: "{}" });
  });
});

describe("refusals", () => {
  test.each(carrying)("%s refuses an empty body: dockerd repeats interrupted calls without one", async (name) => {
    const server = await started();
    for (const empty of ["", "\n"]) expect(refusalOf(await server.post(`/${name}`, empty))).toContain("the body is empty");
    expect(server.noted).toEqual([]);
  });

  test("a driver's error is shown with its cure, and told with its network", async () => {
    const error = new OperatorError("exhausted", "Cannot take a subnet: none is left", { cure: "Make NETWORK_SUBNET_SIZE smaller" });
    const server = await started({ network: { createNetwork: () => Promise.reject(error) } });
    const answer = await server.post("/NetworkDriver.CreateNetwork", bodyOf("NetworkDriver.CreateNetwork"));
    expect(refusalOf(answer)).toBe("Cannot take a subnet: none is left. Make NETWORK_SUBNET_SIZE smaller");
    expect(server.events).toEqual([{ event: "plugin.refused", fields: {
      method: "NetworkDriver.CreateNetwork", code: "exhausted", reason: "Cannot take a subnet: none is left",
      cure: "Make NETWORK_SUBNET_SIZE smaller", network: NETWORK,
    } }]);
  });

  test("a bug in a driver, thrown or answered, is a refusal", async () => {
    const endless: { self?: object } = {};
    endless.self = endless;
    const server = await started({
      network: { leave: () => { throw new TypeError("x is undefined"); }, join: () => Promise.resolve(endless as never) },
    });
    expect(refusalOf(await server.post("/NetworkDriver.Leave", bodyOf("NetworkDriver.Leave")))).toBe("x is undefined");
    expect(refusalOf(await server.post("/NetworkDriver.Join", bodyOf("NetworkDriver.Join")))).toContain("circular");
  });

  test("what is not JSON, unknown, not POST or too large", async () => {
    const server = await started({ maxBodyBytes: 1_000 });
    expect(refusalOf(await server.post("/IpamDriver.ReleasePool", "{\"PoolID\":"))).toContain("not JSON");
    expect(refusalOf(await server.post("/NetworkDriver.Nothing", "{}"), 404)).toContain("/NetworkDriver.Nothing");
    for (const path of ["/", "/constructor", "/__proto__", "//", "/NetworkDriver.Join/x"]) refusalOf(await server.post(path, "{}"), 404);
    expect(refusalOf(await server.post("/Plugin.Activate", "", "GET"), 405)).toContain("GET");
    expect(refusalOf(await server.post("/IpamDriver.ReleasePool", "x".repeat(200_000)), 413)).toContain("1000 bytes");
    expect(await server.post("/Plugin.Activate")).toMatchObject({ status: 200 });
  });

  test("a call that takes too long is refused in time and its work is told to stop", async () => {
    let stopped = false;
    const server = await started({
      deadlineMs: 50,
      network: { leave: (_request, signal) => { signal.addEventListener("abort", () => { stopped = true; }); return never; } },
    });
    expect(refusalOf(await server.post("/NetworkDriver.Leave", bodyOf("NetworkDriver.Leave")))).toContain("not done within 0.05 s");
    expect(stopped).toBe(true);
    expect(server.events[0]?.fields).toMatchObject({ code: "timeout" });
  });

  test("an operator that will never be ready refuses driver calls with the reason", async () => {
    const ready = Promise.reject(new OperatorError("invalid", "Cannot use VNI_START: \"x\" is no number", { cure: "Set e.g. VNI_START=6514" }));
    const server = await started({ ready });
    expect(refusalOf(await server.post("/IpamDriver.RequestPool", bodyOf("IpamDriver.RequestPool")))).toBe("Cannot use VNI_START: \"x\" is no number. Set e.g. VNI_START=6514");
    expect((await server.post("/NetworkDriver.GetCapabilities")).status).toBe(200);
  });
});

describe("the connection", () => {
  const raw = (path: string, text: string): Promise<string> => new Promise((resolve, reject) => {
    const socket = connect(path, () => { socket.write(text); });
    let got = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => { got += chunk; }).on("error", reject).on("close", () => { resolve(got); });
  });

  test("a stale socket is replaced, the new one is root's alone", async () => {
    const folder = await mkdtemp(join(tmpdir(), "fnp-stale-"));
    const socketPath = join(folder, "deeper", "s.sock");
    const first = await started({ socketPath });
    const second = await started({ socketPath });
    expect((await second.post("/Plugin.Activate")).status).toBe(200);
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    await first.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("a path that cannot be used is an error with a cure", async () => {
    const folder = await mkdtemp(join(tmpdir(), "fnp-bad-"));
    await writeFile(join(folder, "file"), "");
    await expect(live({ socketPath: join(folder, "file", "x.sock") })).rejects.toMatchObject({ code: "unavailable", cure: expect.any(String) });
    await rm(folder, { recursive: true, force: true });
  });

  test("dockerd's probe, its empty Host and what is no HTTP at all", async () => {
    const server = await started();
    await new Promise<void>((resolve) => { const probe = connect(server.socketPath, () => { probe.end(); }); probe.on("close", () => { resolve(); }); });
    expect(await raw(server.socketPath, "POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).toContain("\"Implements\"");
    expect(await raw(server.socketPath, "nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 [^]*"Err":/);
    expect((await server.post("/Plugin.Activate")).status).toBe(200);
  });

  test("a body cut off ends nothing but its own call", async () => {
    const server = await started();
    const socket = connect(server.socketPath);
    socket.write("POST /IpamDriver.ReleasePool HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"Poo");
    await new Promise((resolve) => { socket.once("connect", resolve); });
    socket.destroySoon();
    await expect((async () => { while (server.events.length === 0) await new Promise(setImmediate); })()).resolves.toBeUndefined();
    expect(server.events[0]).toMatchObject({ event: "plugin.refused", fields: { code: "unavailable" } });
    expect((await server.post("/Plugin.Activate")).status).toBe(200);
  });

  test("close waits for the call under way", async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    let begun = (): void => undefined;
    const running = new Promise<void>((resolve) => { begun = resolve; });
    const server = await started({ network: { leave: async () => { begun(); await gate; } } });
    const call = server.post("/NetworkDriver.Leave", bodyOf("NetworkDriver.Leave"));
    await running;
    open.splice(0);
    release();
    const [answer] = await Promise.all([call, call.then(() => server.close())]);
    expect(answer.status).toBe(200);
  });
});
