/** names.md case by case, and what belongs to whom: the pure decision. */
import { describe, expect, it } from "@jest/globals";
import { lookup, type Found } from "../../../src/sinks/dns/lookup.ts";
import type { DnsMode, DnsSandbox, DnsZone } from "../../../src/sinks/dns/vocabulary.ts";
import { named, sandbox, served, table, zone } from "./builders.ts";

function find(mode: DnsMode, zones: readonly DnsZone[], asker: DnsSandbox, name: string, ranges?: readonly string[]): Found {
  return lookup(table(mode, zones, [asker], ranges), asker, name);
}
const said = (found: Found): readonly string[] | string => (found.kind === "name" ? [...found.addresses].sort() : found.kind);

// A service's VIP (.1) or tasks (.11, .12) and a container (.2) of the same name, in network 10 "internal" and 20 "web".
const both = [
  zone("internal", { names: { "my-name": named("10.10.0.2", "10.10.0.1"), "my-alias": named("10.10.0.2", "10.10.0.11", "10.10.0.12") } }),
  zone("web", { names: { "my-name": named("10.20.0.2", "10.20.0.1"), "my-alias": named("10.20.0.2", "10.20.0.11", "10.20.0.12") } }),
];
const case5 = [zone("internal", { names: { "my-name": named("10.10.0.1") } }), zone("web", { names: { "my-name": named("10.20.0.1", "10.20.0.2") } })];
const case6 = [both[0] as DnsZone, zone("web", { names: { "my-name": named("10.20.0.1"), "my-name.internal": named("10.20.0.9") } })];
const asker = sandbox(["internal", "web"]);
const internal = ["10.10.0.1", "10.10.0.2"];
const web = ["10.20.0.1", "10.20.0.2"];
const tasks = ["10.10.0.11", "10.10.0.12", "10.10.0.2"];

describe("names.md", () => {
  it.each<[string, readonly DnsZone[], string, readonly string[], readonly string[]]>([
    ["1", both, "my-name", internal, [...internal, ...web]],
    ["2", both, "my-name.internal", internal, internal],
    ["3", both, "my-name.web", web, web],
    ["4", both, "my-alias", tasks, [...tasks, "10.20.0.11", "10.20.0.12", "10.20.0.2"]],
    ["5", case5, "my-name", ["10.10.0.1"], ["10.10.0.1", ...web]],
    ["6", case6, "my-name.internal", ["10.20.0.9"], ["10.20.0.9"]],
  ])("case %s", (_case, zones, name, compatible, complete) => {
    expect(said(find("compatible", zones, asker, name))).toEqual(compatible);
    expect(said(find("complete", zones, asker, name))).toEqual([...complete].sort());
  });

  it("the asker's order of networks decides, not the table's", () =>
    expect(said(find("compatible", both, sandbox(["web", "internal"]), "my-name"))).toEqual(web));

  it("a network that the asker is not in says nothing, named or not", () => {
    const outsider = sandbox(["web"]);
    for (const mode of ["compatible", "complete"] as const) {
      expect(said(find(mode, both, outsider, "my-name"))).toEqual(web);
      expect(said(find(mode, both, outsider, "my-name.internal"))).toBe("elsewhere");
      expect(said(find(mode, both, sandbox([]), "my-name"))).toBe("elsewhere");
    }
  });
});

describe("variations", () => {
  const zones = [
    zone("c", { names: { "a.b": named("10.0.0.1"), "x": named("10.0.0.2") } }), zone("b.c", { names: { a: named("10.0.0.3"), x: named("10.0.0.4") } }),
  ];
  it.each([
    ["a.b.c", ["10.0.0.1"]], ["a.b", ["10.0.0.1"]], ["x.b.c", ["10.0.0.4"]], ["x.c", ["10.0.0.2"]], ["a.c", "elsewhere"], ["a.b.c.d", "elsewhere"], ["", "elsewhere"],
    [".c", "elsewhere"], ["a.", "elsewhere"],
  ])("%s", (name, answer) => expect(said(find("compatible", zones, sandbox(["c", "b.c"]), name))).toEqual(answer));

  it("a name without addresses hides no other network's, and is known when it stands alone", () => {
    const empty = [zone("internal", { names: { web: named() } }), zone("web", { names: { web: named("10.20.0.1") } })];
    expect(said(find("compatible", empty, asker, "web"))).toEqual(["10.20.0.1"]);
    expect(said(find("compatible", empty, sandbox(["internal"]), "web"))).toEqual([]);
  });

  it("in complete mode the shortest time to live of all holds for all", () => {
    const zones = [zone("a", { names: { x: named("10.0.0.1") }, ttlSeconds: 60 }), zone("b", { names: { x: named("10.0.0.2") }, ttlSeconds: 7 })];
    expect(find("complete", zones, sandbox(["a", "b"]), "x")).toMatchObject({ ttlSeconds: 7 });
    expect(find("compatible", zones, sandbox(["a", "b"]), "x")).toMatchObject({ ttlSeconds: 60 });
  });
});

describe("links", () => {
  const zones = [zone("net", { names: { db: named("10.0.0.5"), postgres: named("10.0.0.6"), odd: named("10.0.0.7") } })];
  const linked = sandbox(["net"], { db: "postgres", store: "postgres", odd: "gone" });
  it.each([["db", ["10.0.0.6"]], ["store", ["10.0.0.6"]], ["store.net", ["10.0.0.6"]], ["postgres", ["10.0.0.6"]], ["odd", ["10.0.0.7"]]])("%s", (name, answer) =>
    expect(said(find("compatible", zones, linked, name))).toEqual(answer));
  it("belong to one container", () => expect(said(find("compatible", zones, sandbox(["net"]), "store"))).toBe("elsewhere"));
});

describe("reverse names", () => {
  const zones = [zone("net", { pointers: { "10.1.2.3": "web.1.net" } }), zone("other", { pointers: { "10.1.9.9": "secret.other" } })];
  const at = (name: string): Found => find("compatible", zones, sandbox(["net"]), `${name}.in-addr.arpa`, ["10.1.0.0/16", "10.99.0.0/20"]);
  it("known", () => expect(at("3.2.1.10")).toEqual({ kind: "pointer", target: "web.1.net", ttlSeconds: 5 }));
  it.each([
    ["4.2.1.10", "missing"], ["9.9.1.10", "missing"], ["1.3.2.1.10", "missing"], ["2.1.10", "empty"], ["1.10", "empty"], ["10", "elsewhere"],
    ["1.16.99.10", "elsewhere"], ["1.15.99.10", "missing"], ["1.0.99.10", "missing"], ["0.99.10", "empty"], ["99.10", "elsewhere"],
    ["8.8.8.8", "elsewhere"], ["256.2.1.10", "elsewhere"], ["03.2.1.10", "elsewhere"], ["a.2.1.10", "elsewhere"], ["3..1.10", "elsewhere"], ["-3.2.1.10", "elsewhere"], ["", "elsewhere"],
  ])("%s is %s", (name, kind) => expect(at(name).kind).toBe(kind));
});

describe("services' ports", () => {
  const zones = ["a", "b"].map((name, n) => zone(name, { names: { web: named(`10.${n}.0.1`) }, services: { "_http._tcp.web": [served(80, `web.${name}`, `10.${n}.0.1`)] } }));
  const targets = (mode: DnsMode, name: string): readonly string[] | string => {
    const found = find(mode, zones, sandbox(["a", "b"]), name);
    return found.kind === "service" ? found.services.map(({ target }) => target) : found.kind;
  };
  it("follow the same rules as names", () => {
    expect(targets("compatible", "_http._tcp.web")).toEqual(["web.a"]);
    expect(targets("complete", "_http._tcp.web")).toEqual(["web.a", "web.b"]);
    expect(targets("compatible", "_http._tcp.web.b")).toEqual(["web.b"]);
    expect(targets("compatible", "_https._tcp.web")).toBe("elsewhere");
  });
});
