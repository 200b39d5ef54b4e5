/** Bytes in, bytes out, read by dns2: flags, record types, EDNS0, truncation, and everything that is not a question. */
import { describe, expect, it } from "@jest/globals";
import { DROP, FORWARD, Responder } from "../../../src/sinks/dns/responder.ts";
import { wireText } from "../../../src/sinks/dns/wire.ts";
import { addressesOf, answered, named, Packet, query, sandbox, say, served, table, TYPE, zone, type Answer } from "./builders.ts";

const many = Array.from({ length: 1_000 }, (_, n) => `10.2.${n >> 8}.${n & 255}`);
const whole = table("compatible", [zone("net", {
  names: {
    "web": { addresses: named("10.0.0.1", "10.0.0.2", "10.0.0.3").addresses, texts: ["service=web node=n1", "x".repeat(300)] }, "many": named(...many), "none": named(), "dotted.name": named("10.0.0.9"),
    // As the table's orders spell it.
    [wireText("Grüße")]: named("10.0.0.8"), "ab": named("10.0.0.7"),
  },
  pointers: { "10.0.0.1": "web.1.net" },
  services: { "_http._tcp.web": [served(80, "web.net", "10.0.0.1", "10.0.0.2"), served(8080, "web.net", "10.0.0.1", "10.0.0.2")] }, ttlSeconds: 30,
})], [sandbox(["net"]), sandbox(["net"], { store: "web" }, "linked")]);

function responder(): Responder {
  const made = new Responder();
  made.setTable(whole, whole.sandboxes);
  return made;
}
const one = responder();
const soa = ({ packet }: Answer): unknown => packet.authorities[0];

describe("A", () => {
  it("answers like Docker's server: AA clear, RA set, RD and CD as asked, one time to live", () => {
    expect(answered(one, query("web")).flags).toBe(0x8180);
    expect(answered(one, query("web", { flags: 0x0000 })).flags).toBe(0x8080);
    expect(answered(one, query("web", { flags: 0x0110 })).flags).toBe(0x8190);
    const said = answered(one, query("web", { id: 0xbeef }));
    expect(said.bytes.readUInt16BE(0)).toBe(0xbeef);
    expect(addressesOf(said)).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    expect(new Set(said.packet.answers.map(({ ttl }) => ttl))).toEqual(new Set([30]));
  });

  it("echoes the question's case, and so do the records", () => {
    const said = answered(one, query("WeB.nEt"));
    expect(said.packet.questions[0]?.name).toBe("WeB.nEt");
    expect(said.packet.answers.map(({ name }) => name)).toEqual(["WeB.nEt", "WeB.nEt", "WeB.nEt"]);
  });

  it("shuffles: each address comes first about equally often", () => {
    const firsts = new Map<string, number>();
    for (let n = 0; n < 3_000; n += 1) {
      const [record] = answered(one, query("web")).packet.answers;
      const address = record !== undefined && "address" in record ? String(record.address) : "";
      firsts.set(address, (firsts.get(address) ?? 0) + 1);
    }
    // 1,000 each expected, deviation 26: eight of them.
    for (const address of whole.zones.values().next().value?.names.get("web")?.addresses ?? []) expect(Math.abs((firsts.get(address) ?? 0) - 1_000)).toBeLessThan(210);
  });

  it("takes names of any bytes that a zone can hold", () => {
    expect(addressesOf(answered(one, query(Buffer.from("grüße", "utf8").toString("latin1"))))).toEqual(["10.0.0.8"]);
    expect(say(one, query("gr\u00fc\u00dfe"))).toBe(FORWARD);
    expect(addressesOf(answered(one, query("dotted.name")))).toEqual(["10.0.0.9"]);
    // One label with a dot in it is another name.
    const oneLabel = query("dotted-name");
    oneLabel[oneLabel.indexOf("-".charCodeAt(0))] = 0x2e;
    expect(say(one, oneLabel)).toBe(FORWARD);
    const withNul = query("a-b");
    withNul[withNul.indexOf("-".charCodeAt(0))] = 0;
    expect(say(one, withNul)).toBe(FORWARD);
  });

  it("keeps views of containers with links apart", () => {
    expect(say(one, query("store"))).toBe(FORWARD);
    expect(addressesOf(answered(one, query("store"), { name: "linked" }))).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    expect(say(one, query("web"), { name: "stranger" })).toBe(DROP);
  });
});

describe("other types of a known name", () => {
  it.each([["AAAA", 28], ["MX", 15], ["NS", 2], ["SOA", 6], ["CNAME", 5], ["HTTPS", 65], ["SRV", 33], ["PTR", 12], ["unassigned", 64_000]])("%s is NODATA with SOA, never asked elsewhere", (_name, type) => {
    const said = answered(one, query("web.net", { type }));
    expect([said.rcode, said.packet.answers.length, said.packet.authorities.length]).toEqual([0, 0, 1]);
    expect(soa(said)).toMatchObject({ name: "web.net", type: TYPE.SOA, ttl: 5, minimum: 5 });
  });

  it("a name without addresses is NODATA, not NXDOMAIN", () => expect(answered(one, query("none"))).toMatchObject({ rcode: 0, packet: { answers: [] } }));
  it("another class of a known name is NODATA as well", () => expect(answered(one, query("web", { class: 3 }))).toMatchObject({ rcode: 0, packet: { answers: [] } }));
  it("TXT says who stands behind it, long texts in pieces of 255 bytes", () => {
    const said = answered(one, query("web", { type: TYPE.TXT, edns: 4096 }));
    expect(said.packet.answers.map((answer) => ("data" in answer ? (answer.data as readonly string[]).join("|") : "")).sort()).toEqual(["service=web node=n1", `${"x".repeat(255)}|${"x".repeat(45)}`]);
  });
  it("ANY is one record set (RFC 8482)", () => expect(answered(one, query("web", { type: 255 })).packet.answers.map(({ type }) => type)).toEqual([1, 1, 1]));
  it("PTR of an address, NXDOMAIN of an unknown one with its SOA above it", () => {
    expect(answered(one, query("1.0.0.10.in-addr.arpa", { type: TYPE.PTR })).packet.answers[0]).toMatchObject({ type: TYPE.PTR, domain: "web.1.net", ttl: 30 });
    const missing = answered(one, query("77.0.0.10.in-addr.arpa", { type: TYPE.PTR }));
    expect([missing.rcode, soa(missing)]).toMatchObject([3, { name: "0.0.10.in-addr.arpa", type: TYPE.SOA }]);
    expect(answered(one, query("1.0.0.10.in-addr.arpa"))).toMatchObject({ rcode: 0, packet: { answers: [] } });
    expect(say(one, query("8.8.8.8.in-addr.arpa", { type: TYPE.PTR }))).toBe(FORWARD);
  });
  it("SRV names ports and targets, with their addresses", () => {
    const said = answered(one, query("_http._tcp.web", { type: TYPE.SRV }));
    expect(said.packet.answers.map((answer) => ("port" in answer ? [answer.port, answer.target] : [])).sort()).toEqual([[80, "web.net"], [8080, "web.net"]]);
    expect(said.packet.additionals.map((record) => ("address" in record ? [record.name, record.address] : []))).toEqual([["web.net", "10.0.0.1"], ["web.net", "10.0.0.2"]]);
  });
  it("names of nobody are asked elsewhere, whatever the type", () => { for (const type of [1, 28, 15, 16, 33, 255, 65]) expect(say(one, query("example.com", { type }))).toBe(FORWARD); });
});

describe("room", () => {
  it.each([[undefined, 512], [512, 512], [100, 512], [1_232, 1_232], [4_096, 4_096], [65_535, 4_096]])("EDNS0 %s: at most %s bytes by UDP, marked as cut off", (edns, limit) => {
    const said = answered(one, query("many", edns === undefined ? {} : { edns }));
    expect(said.truncated).toBe(true);
    expect(said.bytes.length).toBeLessThanOrEqual(limit);
    expect(said.bytes.length).toBeGreaterThan(limit - 16);
    expect(said.packet.errors).toEqual([]);
    expect(said.packet.additionals.length).toBe(edns === undefined ? 0 : 1);
  });
  it("by TCP all thousand records come, each once", () => {
    const said = answered(one, query("many"), { udp: false });
    expect([said.truncated, addressesOf(said)]).toEqual([false, [...many].sort()]);
  });
  it("addresses of SRV targets that do not fit are left out without the mark", () => {
    const full = answered(one, query("_http._tcp.web", { type: TYPE.SRV }));
    const tight = say(one, query("_http._tcp.web", { type: TYPE.SRV }), { room: full.bytes.length - 1 });
    expect(tight).toMatchObject({ truncated: false, packet: { answers: { length: 2 }, additionals: { length: 1 } } });
  });
  it("EDNS0 is answered with EDNS0, DO echoed; an unknown version with BADVERS", () => {
    const asked = query("web", { edns: 1_232 });
    asked[asked.length - 4] = 0x80;
    const said = answered(one, asked);
    expect([...said.bytes.subarray(-11)]).toEqual([0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0]);
    asked[asked.length - 5] = 1;
    const refused = answered(one, asked);
    expect([refused.rcode, [...refused.bytes.subarray(-11, -4)]]).toEqual([0, [0, 0, 41, 0x10, 0, 1, 0]]);
  });
  it("options of EDNS0 are no reason to refuse", () => {
    const cookie = Buffer.concat([query("web", { edns: 1_232 }).subarray(0, -2), Buffer.from([0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])]);
    expect(addressesOf(answered(one, cookie))).toHaveLength(3);
  });
});

describe("what is no question", () => {
  const cut = (length: number): Buffer => query("web").subarray(0, length);
  const counts = (at: number, value: number): Buffer => { const made = query("web"); made.writeUInt16BE(value, at); return made; };
  const name = (bytes: readonly number[]): Buffer => Buffer.concat([query("").subarray(0, 12), Buffer.from(bytes), Buffer.from([0, 1, 0, 1])]);
  const long = (labels: number, last: number): readonly number[] => [...Array.from({ length: labels }, () => [63, ...Array<number>(63).fill(97)]).flat(), last, ...Array<number>(last).fill(97), 0];

  it.each<[string, Buffer, number]>([
    ["an answer", query("web", { flags: 0x8180 }), DROP], ["nothing", Buffer.alloc(0), DROP], ["half a header", cut(11), DROP],
  ])("%s is dropped", (_what, message, nothing) => expect(say(one, message)).toBe(nothing));

  it.each<[string, Buffer, number]>([
    ["a header alone", cut(12), 1], ["a name cut off", cut(14), 1], ["a question cut off", cut(19), 1], ["no question", counts(4, 0), 1], ["two questions", counts(4, 2), 1],
    ["65,535 questions", counts(4, 65_535), 1], ["answers that are not there", counts(6, 1), 1], ["additional records that are not there", counts(10, 9), 1],
    ["a pointer to itself", name([0xc0, 12]), 1], ["a pointer ahead", name([0xc0, 14, 3, 119, 101, 98, 0]), 1], ["a pointer to nowhere", name([0xff, 0xff]), 1],
    ["a pointer after a label", name([3, 119, 101, 98, 0xc0, 12]), 1], ["a label of kind 01", name([0x40, 97, 0]), 1], ["a label of kind 10", name([0x80, 97, 0]), 1],
    ["256 bytes of name", name(long(3, 62)), 1],
    ["two OPT records", Buffer.concat([counts(10, 2), query("", { edns: 512 }).subarray(-11), query("", { edns: 512 }).subarray(-11)]), 1],
    ["OPT of a name", Buffer.concat([counts(10, 1), Buffer.from([1, 97]), query("", { edns: 512 }).subarray(-11)]), 1],
    ["OPT whose data is not there", Buffer.concat([counts(10, 1), query("", { edns: 512 }).subarray(-11, -1), Buffer.from([9])]), 1],
    ["an update", query("web", { flags: 0x2800 }), 4], ["a notification", query("web", { flags: 0x2000 }), 4],
  ])("%s is refused by RFC: code %#", (_what, message, rcode) => {
    const said = answered(one, message);
    expect(said.rcode).toBe(rcode);
    expect(said.bytes.length).toBe(12);
    expect(said.bytes.readUInt16BE(2) & 0x8000).toBe(0x8000);
    expect(said.bytes.readUInt16BE(4)).toBe(0);
  });

  it("a name of 255 bytes is a name", () => expect(say(one, name(long(3, 61)))).toBe(FORWARD));
  it("bytes after the message change nothing", () => expect(addressesOf(answered(one, Buffer.concat([query("web"), Buffer.from("tail")])))).toHaveLength(3));
  it("the root is asked elsewhere", () => expect(say(one, query("", { type: 2 }))).toBe(FORWARD));
});

it("a new table holds from the next message on", () => {
  const changing = responder();
  expect(addressesOf(answered(changing, query("ab")))).toEqual(["10.0.0.7"]);
  const next = table("compatible", [zone("net", { names: { ab: named("10.0.0.77") } })], [sandbox(["net"])]);
  changing.setTable(next, next.sandboxes);
  expect(addressesOf(answered(changing, query("ab")))).toEqual(["10.0.0.77"]);
  expect(say(changing, query("web"))).toBe(FORWARD);
  expect(Packet.parse(query("ab")).questions[0]?.name).toBe("ab");
});
