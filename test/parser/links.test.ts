/** The words of ip, as recorded, and the lines we write for it. */
import { describe, expect, it, test } from "@jest/globals";
import { parseFailures } from "../../src/sinks/links/batch.ts";
import { gatewayKey } from "../../src/core/gateway.ts";
import { parseEndpoints, parseGateways, withFaults } from "../../src/sinks/links/parse.ts";
import { endpointLines, endpointRemoval, gatewayLines, hostMac, linkSettings } from "../../src/sinks/links/render.ts";
import { ENDPOINTS, GATEWAY } from "./recorded-world.ts";
import { recordings } from "./recordings.ts";

const documents = (text: string): readonly unknown[] => text.split("\n").filter((line) => line.trim() !== "").map((line): unknown => JSON.parse(line));

describe("recorded output", () => {
  test.each(recordings("iproute2", "gateways.json"))("%s: gateways", (_version, text) => {
    const [routes, ...addresses] = documents(text);
    expect(parseGateways(routes, addresses.flat(), "0")).toEqual(new Map(GATEWAY.map((entry) => [gatewayKey(entry), entry])));
  });

  test.each(recordings("iproute2", "endpoints.json"))("%s: endpoints", (_version, text) => {
    const [routes, links] = documents(text);
    const found = parseEndpoints(routes, links).map((bare) => withFaults(bare, linkSettings(bare.link).map(({ value }) => value)));
    expect(found).toEqual(expect.arrayContaining(ENDPOINTS.map(({ link, alias, mtuBytes, peer, address, source }) =>
      ({ link, alias, mtuBytes, peer: { name: peer, mtuBytes }, routes: [{ address, source }], faults: [] }))));
    expect(found).toHaveLength(2);
  });

  test.each(recordings("iproute2", "batch-errors.txt"))("%s: every failing line is found", (_version, text) => {
    const lines = ENDPOINTS.flatMap((endpoint) => endpointLines({ ...endpoint, joined: true }, undefined));
    // The line for the peer is harmless: it may be inside the container.
    const failing = lines.filter(({ harmless }) => harmless === undefined).map(({ text: line }) => ({ text: line, reason: expect.stringMatching(/^Cannot find device/) as unknown }));
    expect(parseFailures(text, lines)).toEqual(failing);
  });
});

describe("what is not understood", () => {
  it.each([[undefined], [null], [[]], [{}], ["text"], [[null, 7, { dst: "default", type: "local" }, { dst: "fe80::/64", type: "unreachable" }]]])("%j is nothing of ours", (document) => {
    expect(parseGateways(document, document, undefined)).toEqual(new Map());
    expect(parseEndpoints(document, document)).toEqual([]);
  });

  it("links of other names are not ours", () => {
    const links = ["fnp-gw", "fnq000000000abc", "veth0", "fnp0002t", "fnp0002taaaaaaaX"].map((ifname) => ({ ifname, flags: ["UP"] }));
    expect(parseEndpoints([], links)).toEqual([]);
  });
});

describe("errors of a batch", () => {
  const lines = [{ text: "link add name x" }, { text: "link delete dev y", harmless: /Cannot find device/ }, { text: "route replace z" }];
  const text = "RTNETLINK answers: File exists\nCommand failed -:1\nCannot find device \"y\"\nCommand failed -:2\nError: Invalid prefsrc address.\nCommand failed -:3\n";

  it("belong to their lines; harmless ones are none", () => expect(parseFailures(text, lines)).toEqual([
    { text: "link add name x", reason: "File exists" }, { text: "route replace z", reason: "Invalid prefsrc address." },
  ]));
  it("do not mind a kernel that lacks dummy links", () => {
    const made = gatewayLines(GATEWAY.map((entry) => ({ op: "create", key: "", why: "", entry })));
    // Linux 6.18 without dummy; 5.x says the second; with dummy the third comes from the line that would make a bridge.
    for (const said of ["Error: Unknown device type.", "RTNETLINK answers: Operation not supported"]) expect(parseFailures(`${said}\nCommand failed -:1\n`, made)).toEqual([]);
    expect(parseFailures("RTNETLINK answers: File exists\nCommand failed -:2\n", made)).toEqual([]);
  });
  it("of no line are none", () => expect(parseFailures("", lines)).toEqual([]));
});

describe("lines for ip", () => {
  it("make a gateway from the bottom up and take it away from the top down", () => {
    const changes = (op: "create" | "delete"): string[] =>
      gatewayLines([...GATEWAY].reverse().map((entry) => ({ op, key: "", why: "", entry }))).map(({ text }) => text.split(" ").slice(0, 3).join(" "));
    expect(changes("create")).toEqual([
      "link add name", "link add name", "link set dev", "address replace 10.1.1.1/32", "route replace local", "route replace unreachable", "route replace unreachable",
    ]);
    expect(changes("delete")).toEqual(["route delete unreachable", "route delete unreachable", "route delete local", "address delete 10.1.1.1/32", "link delete dev"]);
  });

  it("make no new pair for a container that already runs", () => {
    for (const endpoint of ENDPOINTS) {
      expect(endpointLines({ ...endpoint, joined: true }, undefined).some(({ text }) => text.startsWith("link add"))).toBe(false);
      expect(endpointLines(endpoint, undefined)[0]?.text).toBe(
        `link add name ${endpoint.link} mtu 1450 address ${hostMac(endpoint.alias)} type veth peer name ${endpoint.peer} mtu 1450`);
    }
  });

  it("take an absent link for removed", () => expect(endpointRemoval("x").harmless?.test("Cannot find device \"x\"")).toBe(true));
  it("give each endpoint a locally administered address of its own", () => {
    const macs = ENDPOINTS.map(({ alias }) => hostMac(alias));
    for (const mac of macs) expect(mac).toMatch(/^0a(:[0-9a-f]{2}){5}$/);
    expect(new Set(macs).size).toBe(ENDPOINTS.length);
  });
});
