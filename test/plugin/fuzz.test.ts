/**
 * Broken bodies through the live socket: each gets a JSON answer, and a driver only ever sees what was decoded.
 * FNP_FUZZ_PER_METHOD and FNP_FUZZ_SEED make it longer or different.
 */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { parseCidr, parseFlannelId, parseIpv4, parseMac } from "../../src/core/ids.ts";
import { METHODS, type MethodName } from "../../src/plugin/protocol.ts";
import { BODIES } from "./bodies.ts";
import { live, type Answer, type Live } from "./live-socket.ts";
import { mutations } from "./mutate.ts";

const PER_METHOD = Number(process.env["FNP_FUZZ_PER_METHOD"] ?? 500);
const SEED = Number(process.env["FNP_FUZZ_SEED"] ?? 1);
/** Calls at a time, as many as a busy dockerd has. */
const AT_ONCE = 8;

let server: Live;
beforeAll(async () => { server = await live(); });
afterAll(async () => { await server.close(); });

const isId = (value: unknown): boolean => typeof value === "string" && /^[A-Za-z0-9][\w-]{0,127}$/.test(value);
const isText = (value: unknown): boolean => typeof value === "string" && value.length <= 4_096;
const isAddress = (value: unknown): boolean => typeof value === "string" && parseIpv4(value) === value;
const isCidr = (value: unknown): boolean => typeof value === "string" && parseCidr(value) === value;
const isMac = (value: unknown): boolean => typeof value === "string" && parseMac(value) === value;
const oneOf = (...values: readonly unknown[]) => (value: unknown): boolean => values.includes(value);
const record = (value: unknown): Readonly<Record<string, unknown>> => value as Readonly<Record<string, unknown>>;
const isTextMap = (value: unknown): boolean => Object.values(record(value)).every(isText);
const isPort = (value: unknown): boolean => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65_535;
const listOf = (each: (value: unknown) => boolean) => (value: unknown): boolean => Array.isArray(value) && value.every(each);
const isInterface = (value: unknown): boolean => isAddress(record(value)["address"]) && isCidr(`0.0.0.0/${String(record(value)["prefixLength"])}`);

/** What each field of a decoded request may be, whatever arrived; a field without a rule fails the test. */
const RULES: Readonly<Record<string, (value: unknown) => boolean>> = {
  network: isId, endpoint: isId, caller: oneOf("manager", "node"), family: oneOf("ipv4", "ipv6"),
  purpose: oneOf("gateway", "endpoint", "manager-address"), internal: oneOf(true, false), ipv6Enabled: oneOf(true, false),
  flannelId: (value) => typeof value === "string" && parseFlannelId(value) === value, pool: isCidr, subPool: isCidr,
  address: (value) => (typeof value === "string" ? isAddress(value) : isInterface(value)), mac: isMac, userMac: isMac,
  endpointName: isText, ipv6Address: isText, options: isTextMap, driverOptions: isTextMap, ipv6: listOf(isText),
  sandboxKey: (value) => isText(value) && /^\/[^\0]*$/.test(String(value)),
  ipv4: listOf((item) => isCidr(record(item)["pool"]) && (record(item)["gateway"] === undefined || isInterface(record(item)["gateway"]))),
  ports: (value) => listOf((item) => isPort(record(item)["port"]))(record(value)["exposed"])
    && listOf((item) => isPort(record(item)["port"]) && isPort(record(item)["hostPort"]) && isText(record(item)["hostIp"]))(record(value)["published"]),
};

function expectDecoded(method: string, request: unknown): void {
  for (const [field, value] of Object.entries(record(request))) {
    if (value !== undefined && RULES[field]?.(value) !== true) throw new Error(`${method} was called with ${field} = ${String(JSON.stringify(value)).slice(0, 500)}`);
  }
}

function expectJson(body: string, { status, type, text }: Answer): void {
  const answer: unknown = JSON.parse(text);
  const refused = status === 500 && typeof record(answer)["Err"] === "string" && record(answer)["Err"] === record(answer)["Error"];
  if (type !== "application/json" || typeof answer !== "object" || answer === null || !(status === 200 || refused)) {
    throw new Error(`${JSON.stringify(body.slice(0, 500))} was answered ${status} ${text}`);
  }
}

async function sendAll(path: string, bodies: Iterator<string>): Promise<number> {
  let sent = 0;
  const lane = async (): Promise<void> => {
    for (let next = bodies.next(); next.done !== true; next = bodies.next()) {
      expectJson(next.value, await server.post(path, next.value));
      sent += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return sent;
}

describe("mutated bodies", () => {
  const names = Object.keys(METHODS) as MethodName[];
  test.each(names.map((name, index) => [name, SEED * 1_000 + index] as const))("%s (seed %i)", async (name, seed) => {
    const before = server.noted.length;
    expect(await sendAll(`/${name}`, mutations(BODIES[name], PER_METHOD, seed))).toBe(PER_METHOD);
    for (const { method, request } of server.noted.slice(before)) expectDecoded(method, request);
    expect((await server.post("/Plugin.Activate")).status).toBe(200);
  });

  test("some got through: the mutations are not all hopeless", () => {
    const reached = new Set(server.noted.map(({ method }) => method));
    expect([...reached].sort()).toEqual([
      "allocateNetwork", "createEndpoint", "createNetwork", "deleteEndpoint", "deleteNetwork", "freeNetwork", "join", "leave",
      "releaseAddress", "releasePool", "requestAddress", "requestPool",
    ]);
  });
});
