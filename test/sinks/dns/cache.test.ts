/** What is kept of Docker's resolver's answers, for how long, and what never is. */
import { describe, expect, it } from "@jest/globals";
import { AnswerCache } from "../../../src/sinks/dns/cache.ts";
import { OUT, Packet, TYPE } from "./builders.ts";

interface Told { readonly rcode?: number; readonly ttls?: readonly number[]; readonly soa?: readonly [ttl: number, minimum: number]; readonly truncated?: boolean; readonly type?: number }

function message({ rcode = 0, ttls = [], soa, truncated = false }: Told): Buffer {
  const packet = new Packet();
  Object.assign(packet.header, { id: 1, qr: 1, rd: 1, ra: 1, rcode });
  packet.questions.push({ name: "example.com", type: 1, class: 1 } as never);
  for (const ttl of ttls) packet.answers.push({ name: "example.com", type: 1, class: 1, ttl, address: "192.0.2.1" } as never);
  if (soa !== undefined) {
    packet.authorities.push({ name: "com", type: TYPE.SOA, class: 1, ttl: soa[0], primary: "a", admin: "b", serial: 1, refresh: 1, retry: 1, expiration: 1, minimum: soa[1] } as never);
  }
  const bytes = packet.toBuffer();
  if (truncated) bytes[2] = (bytes[2] ?? 0) | 2;
  return bytes;
}

function kept(told: Told, labels = 2): AnswerCache {
  const cache = new AnswerCache();
  const bytes = message(told);
  cache.store("k", bytes, 0, bytes.length, labels, 0);
  return cache;
}

/** Milliseconds, to the tenth of a second, until it is no longer fresh. */
function freshFor(cache: AnswerCache): number {
  let ms = 0;
  while (cache.fresh("k", ms, OUT, 0) > 0) ms += 100;
  return ms;
}

describe("lifetimes", () => {
  it.each<[string, Told, number, number]>([
    ["the least of its records'", { ttls: [20, 10, 15] }, 2, 10_000], ["never more than 30 s", { ttls: [3_600] }, 2, 30_000], ["nothing that may not be kept", { ttls: [0] }, 2, 0],
    ["a second for what Docker's resolver knows itself", { ttls: [600] }, 2, 1_000], ["a missing name: the SOA's minimum", { rcode: 3, soa: [900, 3] }, 2, 3_000],
    ["or its time to live", { rcode: 3, soa: [2, 900] }, 2, 2_000], ["at most 5 s", { rcode: 3, soa: [900, 900] }, 2, 5_000],
    ["a second when it has one label: it may be a container soon", { rcode: 3, soa: [900, 900] }, 1, 1_000], ["no records of the type", { soa: [900, 4] }, 2, 4_000],
    ["a denial without SOA", { rcode: 3 }, 2, 0], ["SERVFAIL", { rcode: 2, ttls: [10] }, 2, 0], ["REFUSED", { rcode: 5 }, 2, 0], ["what was cut off", { ttls: [10], truncated: true }, 2, 0],
  ])("%s", (_what, told, labels, ms) => expect(freshFor(kept(told, labels))).toBe(ms));

  it("times to live shrink with age, and are never below zero", () => {
    const cache = kept({ ttls: [20, 10] });
    const at = (ms: number): readonly number[] => Packet.parse(Buffer.from(OUT.subarray(0, cache.stale("k", ms, OUT, 0)))).answers.map(({ ttl }) => ttl ?? -1);
    expect([at(0), at(4_999), at(9_000), at(25_000)]).toEqual([[20, 10], [16, 6], [11, 1], [0, 0]]);
  });

  it("is stale for 30 s more, then gone", () => {
    const cache = kept({ ttls: [10] });
    expect([cache.stale("k", 39_900, OUT, 0) > 0, cache.stale("k", 40_000, OUT, 0)]).toEqual([true, 0]);
  });
});

it("remembers a failure for two seconds, and forgets it over an answer", () => {
  const cache = new AnswerCache();
  cache.fail("k", 0);
  expect([cache.failed("k", 1_999), cache.failed("k", 2_000), cache.failed("other", 0)]).toEqual([true, false, false]);
  const bytes = message({ ttls: [10] });
  cache.store("k", bytes, 0, bytes.length, 2, 100);
  expect(cache.failed("k", 200)).toBe(false);
});

it("keeps a bounded number, the newest", () => {
  const cache = new AnswerCache();
  const bytes = message({ ttls: [10] });
  for (let n = 0; n < 1_000; n += 1) cache.store(`k${n}`, bytes, 0, bytes.length, 2, 0);
  expect(Array.from({ length: 1_000 }, (_, n) => n).filter((n) => cache.fresh(`k${n}`, 1, OUT, 0) > 0)).toEqual(Array.from({ length: 128 }, (_, n) => 872 + n));
});

it("takes broken answers for what they are: nothing to keep", () => {
  const bytes = message({ ttls: [10] });
  for (let length = 0; length < bytes.length; length += 1) {
    const cache = new AnswerCache();
    if (length >= 12) cache.store("k", bytes, 0, length, 2, 0);
    expect(cache.fresh("k", 1, OUT, 0)).toBe(0);
  }
});
