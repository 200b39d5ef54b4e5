/** Addresses and blocks: parsing refuses, arithmetic agrees with plain counting. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import * as ids from "../../src/core/ids.ts";

const value = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const address = value.map(ids.fromNumber);
const cidr = fc.tuple(address, fc.integer({ min: 0, max: 32 })).map(([base, length]) => ids.cidrOf(base, length));

const ip = (text: string): ids.Ipv4 => ids.parseIpv4(text) ?? (() => { throw new Error(text); })();
const block = (text: string): ids.Cidr => ids.parseCidr(text) ?? (() => { throw new Error(text); })();

describe("addresses", () => {
  it.each(["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.-4", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "0x1.2.3.4", "a.b.c.d", "::1", "1,2,3,4"])("%j is none", (text) => {
    expect(ids.parseIpv4(text)).toBeUndefined();
  });

  it("are spelled in one way", () => expect(ids.parseIpv4("010.001.0.09")).toBe("10.1.0.9"));

  it("and their numbers are each other's inverse", () => fc.assert(fc.property(value, (n) => {
    expect(ids.toNumber(ids.fromNumber(n))).toBe(n);
    expect(ids.parseIpv4(ids.fromNumber(n))).toBe(ids.fromNumber(n));
  })));

  it("never throws on any text", () => fc.assert(fc.property(fc.string(), (text) => {
    for (const parse of [ids.parseIpv4, ids.parseCidr, ids.parseMac, ids.parseFlannelId]) expect(() => parse(text)).not.toThrow();
  })));
});

describe("blocks", () => {
  it.each(["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8", "10.0.0.0/ 8", "10.0.0.0/8.0"])("%j is none", (text) => {
    expect(ids.parseCidr(text)).toBeUndefined();
  });

  it.each([["10.1.2.3/8", "10.0.0.0/8"], ["255.255.255.255/1", "128.0.0.0/1"], ["1.2.3.4/0", "0.0.0.0/0"], ["1.2.3.4/32", "1.2.3.4/32"]])("%s is %s", (text, masked) => {
    expect(ids.parseCidr(text)).toBe(masked);
  });

  it.each([
    ["0.0.0.0/0", 0, 2 ** 32, "255.255.255.255"], ["10.0.0.0/20", 20, 4096, "10.0.15.255"], ["192.168.1.128/25", 25, 128, "192.168.1.255"], ["1.2.3.4/32", 32, 1, "1.2.3.4"],
  ])("%s: length %d, %d addresses, last %s", (text, length, size, last) => {
    expect([ids.prefixLength(block(text)), ids.sizeOf(block(text)), ids.lastOf(block(text))]).toEqual([length, size, last]);
  });

  it("hold their first and last address and neither neighbour", () => fc.assert(fc.property(cidr, (c) => {
    const [first, last] = [ids.toNumber(ids.baseOf(c)), ids.toNumber(ids.lastOf(c))];
    expect(ids.contains(c, ids.fromNumber(first))).toBe(true);
    expect(ids.contains(c, ids.fromNumber(last))).toBe(true);
    if (first > 0) expect(ids.contains(c, ids.fromNumber(first - 1))).toBe(false);
    if (last < 2 ** 32 - 1) expect(ids.contains(c, ids.fromNumber(last + 1))).toBe(false);
    expect(last - first + 1).toBe(ids.sizeOf(c));
    expect(ids.parseCidr(c)).toBe(c);
  })));

  it("overlap exactly when one lies within the other", () => fc.assert(fc.property(cidr, cidr, (a, b) => {
    expect(ids.overlaps(a, b)).toBe(ids.within(a, b) || ids.within(b, a));
    expect(ids.overlaps(a, b)).toBe(ids.overlaps(b, a));
    expect(ids.within(a, a)).toBe(true);
  })));

  it("are divided into sub-blocks without gap or overlap", () => fc.assert(fc.property(
    fc.tuple(address, fc.integer({ min: 1, max: 28 }), fc.integer({ min: 0, max: 4 })), ([base, length, bits]) => {
      const whole = ids.cidrOf(base, length);
      const parts = Array.from({ length: 2 ** bits }, (_, n) => ids.subBlock(whole, length + bits, n));
      expect(parts[0] && ids.baseOf(parts[0])).toBe(ids.baseOf(whole));
      parts.forEach((part, n) => {
        expect(ids.within(whole, part)).toBe(true);
        expect(ids.toNumber(ids.baseOf(part))).toBe(ids.toNumber(ids.baseOf(whole)) + n * ids.sizeOf(part));
      });
    })));

  it("count their addresses from the network address", () => {
    expect(ids.nth(block("10.0.0.0/24"), 0)).toBe("10.0.0.0");
    expect(ids.nth(block("10.0.255.0/24"), 256)).toBe("10.1.0.0");
    expect(ids.contains(block("10.0.0.0/24"), ip("10.0.1.0"))).toBe(false);
  });
});

describe("identifiers", () => {
  it.each(["", "-a", ".a", "a/b", "a b", "a\n", "é", "a".repeat(129)])("%j cannot be a segment of a key", (text) => expect(ids.parseFlannelId(text)).toBeUndefined());
  it.each(["a", "0b2f-11", "My.net_1", "a".repeat(128)])("%j can", (text) => expect(ids.parseFlannelId(text)).toBe(text));

  it("that we make are new, and could have been a user's", () => {
    const made = Array.from({ length: 1000 }, ids.newFlannelId);
    expect(new Set(made).size).toBe(made.length);
    expect(made.filter((id) => ids.parseFlannelId(id) === undefined)).toEqual([]);
    expect(ids.newBootId()).not.toBe(ids.newBootId());
  });

  it.each([["AA:bb:0c:DD:00:01", "aa:bb:0c:dd:00:01"], ["aa:bb:cc:dd:ee", undefined], ["aabb:cc:dd:ee:ff", undefined], ["gg:bb:cc:dd:ee:ff", undefined]])("MAC %s", (text, mac) => {
    expect(ids.parseMac(text)).toBe(mac);
  });
});
