/** What etcd's own answer says about a connection that does not come about, and when it is told. */
import { afterEach, beforeEach, expect, it, jest } from "@jest/globals";
import { reasonsOf, said } from "../../src/sources/etcd-health.ts";
import { etcdError } from "../../src/sources/etcd-errors.ts";

it.each([
  ["3.4 to 3.6, well", '{"health":"true","reason":""}', undefined, undefined],
  ["3.4, no leader", '{"health":"false"}', "unavailable", "start its other members"],
  ["3.5, no leader", '{"health":"false","reason":"RAFT NO LEADER"}', "unavailable", "start its other members"],
  ["3.5, full", '{"health":"false","reason":"ALARM NOSPACE"}', "exhausted", "disarm its NOSPACE alarm"],
  ["TLS asked without", "Client sent an HTTP request to an HTTPS server.\n", "unavailable", "https://"],
])("%s", (_what, body, code, cure) => {
  const { reason } = said(body);
  if (code === undefined) expect(reason).toBeUndefined();
  else expect(etcdError(new Error("No connection established. Last error: null"), "read", undefined, () => reason)).toMatchObject({ code, cure: expect.stringContaining(cure ?? "") });
});

it("an answer of etcd's stays, whatever is said of the connection", () => {
  expect(etcdError(new Error("etcdserver: mvcc: database space exceeded"), "write", undefined, () => "connect ECONNREFUSED")).toMatchObject({ code: "exhausted" });
});

it("a secret that a reason repeats is blanked out", () => {
  expect(etcdError(new Error("No connection established"), "read", "hush", () => "etcd says hush").message).toBe("Cannot read: etcd says ***");
});

beforeEach(() => { jest.useFakeTimers(); });
afterEach(() => { jest.useRealTimers(); });

it("nobody waits: the first failure starts a look, the next is told the best of all endpoints; it is forgotten when nobody looks again", async () => {
  const ranks = { a: { rank: 0, reason: "connect ECONNREFUSED" }, b: { rank: 2, reason: "etcd says RAFT NO LEADER" }, c: { rank: 1, reason: "unable to verify" } } as const;
  let looks = 0;
  const why = reasonsOf({ endpoints: ["a", "b", "c"] }, (endpoint) => { looks += 1; return Promise.resolve(ranks[endpoint as keyof typeof ranks]); });
  expect(why()).toBeUndefined();
  expect(why()).toBeUndefined();
  await jest.advanceTimersByTimeAsync(0);
  expect([why(), looks]).toEqual(["etcd says RAFT NO LEADER", 3]);
  await jest.advanceTimersByTimeAsync(2_100);
  expect([why(), looks]).toEqual(["etcd says RAFT NO LEADER", 6]);
  await jest.advanceTimersByTimeAsync(15_100);
  expect(why()).toBeUndefined();
});
