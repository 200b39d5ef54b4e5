/** What a change of services writes: as much as it changes, however many there are. */
import { describe, expect, it } from "@jest/globals";
import type { Ipv4 } from "../../src/core/ids.ts";
import { NO_SERVICES, renderServices, type NftTable, type NftWish } from "../../src/sinks/balancer/nft-services.ts";

const ip = (text: string): Ipv4 => text as Ipv4;
const servers = (count: number, offset = 0): Ipv4[] => Array.from({ length: count }, (_, n) => ip(`10.1.1.${n + offset}`));
const wish = (vip: Ipv4, ready: readonly Ipv4[], scheduler: "rr" | "sh" = "rr"): NftWish => ({ vip, scheduler, ready, draining: [] });
const put = (table: NftTable, ...wishes: readonly NftWish[]): ReturnType<typeof renderServices> =>
  renderServices(table, new Map(wishes.map((one) => [one.vip, one])), 1_000);
const vips = Array.from({ length: 5_000 }, (_, n) => ip(`10.2.${n >> 8}.${n & 255}`));
const full = put(NO_SERVICES, ...vips.map((vip) => wish(vip, servers(10)))).table;
const [first = ip(""), last = ip("")] = [vips[0], vips.at(-1)];
const linesOf = (text: string): string[] => text.trimEnd().split("\n");

describe("five thousand services of ten servers", () => {
  it("a thousand count by themselves, the others share one chain", () => {
    expect(full.chains.size).toBe(1_001);
    expect(full.services.get(first)?.target).toBe(`vip-${first}`);
    expect(full.services.get(last)?.target).toBe("any-10");
  });
  it("a server replaced is one slot", () => {
    const { text } = put(full, wish(first, [...servers(9), ip("10.1.1.99")]));
    expect(linesOf(text)).toEqual([
      `delete element ip fnp-vips slots { ${first} . 9 }`, `add element ip fnp-vips slots { ${first} . 9 : 10.1.1.99 }`,
    ]);
  });
  it("a server more is one slot and one chain", () => {
    expect(linesOf(put(full, wish(last, servers(11))).text)).toEqual([
      `delete element ip fnp-vips vips { ${last} }`,
      "add chain ip fnp-vips any-11", "flush chain ip fnp-vips any-11", "add rule ip fnp-vips any-11 dnat to ip daddr . numgen random mod 11 map @slots",
      `add element ip fnp-vips slots { ${last} . 10 : 10.1.1.10 }`, `add element ip fnp-vips vips { ${last} : goto any-11 }`,
    ]);
    expect(linesOf(put(full, wish(first, servers(11))).text)).toHaveLength(4);
  });
  it("what is so already writes nothing", () => {
    expect(put(full, wish(first, servers(10)), wish(last, servers(10))).text).toBe("");
  });
  it("the last one out takes its chain along", () => {
    const { table } = put(NO_SERVICES, wish(first, servers(3)), wish(last, servers(4), "sh"));
    const { text, table: none } = renderServices(table, new Map([[first, undefined], [last, undefined]]), 1_000);
    expect(linesOf(text).slice(-4)).toEqual([`flush chain ip fnp-vips vip-${first}`, `delete chain ip fnp-vips vip-${first}`, "flush chain ip fnp-vips sh-4", "delete chain ip fnp-vips sh-4"]);
    expect([none.chains.size, none.services.size]).toEqual([0, 0]);
  });
  it("one server, or none, needs no counter", () => {
    const { table } = put(NO_SERVICES, wish(first, servers(1)), wish(last, []));
    expect([...table.chains]).toEqual([["any-1", 1], ["any-0", 0]]);
  });
});
