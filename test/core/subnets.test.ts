/** How a range is divided: properties over all sizes, and flannel's own limits. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { baseOf, cidrOf, fromNumber, overlaps, prefixLength, sizeOf, subBlock, toNumber, within, type Cidr } from "../../src/core/ids.ts";
import { divide, divisionProblem, fitsPool, flannelConfig, freeNodeSubnet, freePool, hostLengthFor, nodeSubnets, SERVICE_RANGE_MIN } from "../../src/core/subnets.ts";
import { cidr, ip, pool } from "../plan/builders.ts";

const networks = fc.tuple(fc.integer({ min: 8, max: 28 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.integer({ min: 2, max: 14 }))
  .filter(([length, , more]) => length + more <= 30)
  .map(([length, at, more]) => ({ network: cidrOf(fromNumber(at), length), host: length + more }));
const divided = fc.tuple(networks, fc.constantFrom(0, 0, 1, 100, 1024, 4096, 2 ** 20)).map(([{ network, host }, wanted]) => ({
  wanted, one: pool(1, { cidr: network, ...divide(network, host, wanted) }),
}));
const forAll = <T>(some: fc.Arbitrary<T>, check: (value: T) => void): void => fc.assert(fc.property(some, check), { numRuns: 100 });

describe("divide", () => {
  it("puts the service range first, in whole node subnets, and leaves room for nodes", () => {
    forAll(divided, ({ one }) => {
      const block = 2 ** (32 - one.hostSubnetLength);
      expect(baseOf(one.serviceRange)).toBe(baseOf(one.cidr));
      expect(within(one.cidr, one.serviceRange)).toBe(true);
      expect(sizeOf(one.serviceRange) % block).toBe(0);
      expect(nodeSubnets(one)).toBeGreaterThanOrEqual(3);
      expect(nodeSubnets(one) * block + sizeOf(one.serviceRange)).toBe(sizeOf(one.cidr));
    });
  });

  it("gives at least 1,024 service addresses wherever the network has room, and what was asked for", () => {
    forAll(divided, ({ one, wanted }) => {
      const most = Math.max(2 ** (32 - one.hostSubnetLength), sizeOf(one.cidr) / 4);
      expect(sizeOf(one.serviceRange)).toBeGreaterThanOrEqual(Math.min(wanted === 0 ? SERVICE_RANGE_MIN : wanted, most));
    });
  });

  it.each<[string, number, number, string]>([
    ["10.1.0.0/20", 25, 0, "10.1.0.0/22"], ["10.1.0.0/16", 24, 0, "10.1.0.0/22"], ["10.1.0.0/16", 20, 0, "10.1.0.0/20"],
    ["10.1.0.0/16", 24, 2000, "10.1.0.0/21"], ["10.1.0.0/24", 28, 0, "10.1.0.0/26"], ["10.1.0.0/24", 26, 0, "10.1.0.0/26"], ["10.1.0.0/16", 24, 1, "10.1.0.0/24"],
  ])("%s in /%i, %i service addresses: %s", (network, host, wanted, expected) => expect(divide(cidr(network), host, wanted).serviceRange).toBe(expected));

  it.each<[string, number, string]>([
    ["10.1.0.0/20", 21, "holds 2 node subnets of /21"], ["10.1.0.0/20", 20, "holds 1 node subnets"], ["10.1.0.0/20", 16, "holds 0 node subnets"],
    ["10.1.0.0/20", 31, "has 2 addresses; flannel needs /30"],
  ])("%s in /%i is refused with the arithmetic", (network, host, reason) => {
    expect(() => divide(cidr(network), host, 0)).toThrow(expect.objectContaining({ code: "invalid", message: expect.stringContaining(reason), cure: expect.any(String) }));
  });

  it("chooses for a range of the user's a node subnet that divides it, or says why none does", () => {
    for (let length = 8; length <= 30; length++) {
      const problem = divisionProblem(length, hostLengthFor(cidr(`10.0.0.0/${length}`), 25));
      expect(problem === undefined).toBe(length <= 28);
    }
  });
});

describe("node subnets", () => {
  it("are given until none is left, never twice, never out of the service range, always as flannel would", () => {
    const small = divided.filter(({ one }) => nodeSubnets(one) <= 64);
    forAll(small, ({ one }) => {
      const held = new Set<Cidr>();
      for (let next = freeNodeSubnet(one, held); next !== undefined; next = freeNodeSubnet(one, held)) {
        expect(fitsPool(one, next)).toBe(true);
        expect([...held].some((other) => overlaps(other, next))).toBe(false);
        held.add(next);
      }
      expect(held.size).toBe(nodeSubnets(one));
      const config = flannelConfig(one);
      expect([[...held][0], [...held].at(-1)].map((subnet) => subnet?.split("/")[0])).toEqual([config["SubnetMin"], config["SubnetMax"]]);
    });
  });

  it.each<[string, boolean]>([
    ["10.1.4.0/24", true], ["10.1.255.0/24", true], ["10.1.3.0/24", false], ["10.1.0.0/22", false], ["10.1.4.0/25", false], ["10.1.4.0/23", false], ["10.2.4.0/24", false],
  ])("%s fits: %s", (subnet, expected) => expect(fitsPool(pool(1), cidr(subnet))).toBe(expected));

  it("are found from any start on, round the end", () => {
    forAll(fc.tuple(divided, fc.nat(), fc.nat()), ([{ one }, start, kept]) => {
      const count = nodeSubnets(one);
      if (count > 64) return;
      const every = Array.from({ length: count }, (_, n) => freeNodeSubnet(one, new Set(), n) ?? one.cidr);
      expect(new Set(every).size).toBe(count);
      expect(freeNodeSubnet(one, new Set(every.filter((_, n) => n !== kept % count)), start)).toBe(every[kept % count]);
    });
  });

  it("are described to flannel in its own words", () => {
    expect(flannelConfig(pool(1))).toEqual({ Network: "10.1.0.0/16", SubnetLen: 24, SubnetMin: "10.1.4.0", SubnetMax: "10.1.255.0", Backend: { Type: "vxlan", VNI: 101 } });
    expect(flannelConfig({ ...pool(1), backend: undefined as never })).toMatchObject({ Backend: { Type: "vxlan" } });
  });
});

describe("a free pool", () => {
  const blocks = fc.array(fc.tuple(fc.integer({ min: 10, max: 30 }), fc.nat(2 ** 20)).map(([length, at]) => cidrOf(fromNumber(toNumber(ip("10.0.0.0")) + at * 16), length)), { maxLength: 12 });

  it("lies in the ranges, is aligned, touches nothing taken; none is found only when none is free", () => {
    forAll(fc.tuple(blocks, fc.integer({ min: 16, max: 24 })), ([taken, length]) => {
      const ranges: readonly Cidr[] = [cidr("10.0.0.0/15"), cidr("10.4.0.0/20")];
      const every = ranges.flatMap((range) => prefixLength(range) > length ? [] : Array.from({ length: 2 ** (length - prefixLength(range)) }, (_, n) => subBlock(range, length, n)));
      const free = every.filter((candidate) => !taken.some((other) => overlaps(candidate, other)));
      expect(freePool(ranges, length, taken)).toBe(free[0]);
    });
  });

  it("survives the end of the address space", () => {
    expect(freePool([cidr("255.255.0.0/16")], 17, [cidr("255.255.0.0/17")])).toBe("255.255.128.0/17");
    expect(freePool([cidr("255.255.0.0/16")], 17, [cidr("255.255.0.0/17"), cidr("255.255.255.255/32")])).toBeUndefined();
    expect(freePool([cidr("0.0.0.0/0")], 8, [cidr("0.0.0.0/1"), cidr("128.0.0.0/1")])).toBeUndefined();
  });

  it("is none where the ranges are too small or too few", () => {
    expect(freePool([cidr("10.0.0.0/24")], 20, [])).toBeUndefined();
    expect(freePool([], 20, [])).toBeUndefined();
  });
});
