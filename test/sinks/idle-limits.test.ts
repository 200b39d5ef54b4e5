/** Limits for silent connections: raised with the frame, put back with it, never lowered. */
import { beforeEach, expect, it } from "@jest/globals";
import type { Sink } from "../../src/core/reconciler.ts";
import { withIdleLimits, type FormerValues } from "../../src/sinks/balancer.ts";
import type { Sysctls } from "../../src/sinks/sysctls.ts";
import type { VipChange, VipEntry, VipState } from "../../src/sinks/vip-table.ts";

const signal = new AbortController().signal;
const FRAME: VipEntry = { kind: "frame" };
const change = (op: VipChange["op"]): readonly VipChange[] => [{ op, key: "frame", entry: FRAME, why: "test" }];
let kernel: Map<string, string>;
let noted: Readonly<Record<string, string>>;
let isThere: boolean;
let sink: Sink<VipState, VipChange>;

const path = (name: string): string => `net/netfilter/nf_conntrack_tcp_timeout_${name}`;
const set = (name: string, value: number): void => { kernel.set(path(name), String(value)); };
const get = (name: string): number => Number(kernel.get(path(name)));
const sysctls: Sysctls = {
  read: async (paths) => paths.map((one) => kernel.get(one)),
  write: async (settings) => { for (const [one, value] of settings) if (kernel.has(one)) kernel.set(one, value); },
};
const faults = async (): Promise<readonly string[]> => (await sink.observe(signal)).faults;

beforeEach(() => {
  kernel = new Map();
  set("close_wait", 60);
  set("established", 432_000);
  set("fin_wait", 120);
  [noted, isThere] = [{}, false];
  const frame: Sink<VipState, VipChange> = {
    observe: async () => ({ entries: new Map(isThere ? [["frame", FRAME]] : []), faults: [] }),
    apply: async ([first]) => { isThere = first?.op !== "delete"; },
  };
  const former: FormerValues = { read: () => noted, write: (values) => { noted = values; } };
  sink = withIdleLimits(frame, { sysctls, former });
});

it("half-closed connections live as long as idle ones while there is a frame, and as before after it", async () => {
  expect(await faults()).toEqual([]);
  await sink.apply(change("create"), signal);
  expect([get("close_wait"), get("established"), get("fin_wait"), await faults()]).toEqual([7_260, 432_000, 120, []]);
  await sink.apply(change("update"), signal);
  await sink.apply(change("delete"), signal);
  expect([get("close_wait"), get("established"), noted]).toEqual([60, 432_000, {}]);
});

it("one that a hand made shorter is a fault, repaired, and what the hand gets back", async () => {
  await sink.apply(change("create"), signal);
  set("close_wait", 100);
  set("established", 600);
  expect(await faults()).toEqual(["net/netfilter/nf_conntrack_tcp_timeout_close_wait is 100 s", "net/netfilter/nf_conntrack_tcp_timeout_established is 600 s"]);
  await sink.apply(change("update"), signal);
  expect([get("close_wait"), get("established")]).toEqual([7_260, 7_260]);
  await sink.apply(change("delete"), signal);
  expect([get("close_wait"), get("established")]).toEqual([100, 600]);
});

it("one that a hand made longer stays, before, then and after", async () => {
  set("established", 9_000);
  await sink.apply(change("create"), signal);
  set("close_wait", 8_000);
  expect(await faults()).toEqual([]);
  await sink.apply(change("update"), signal);
  await sink.apply(change("delete"), signal);
  expect([get("close_wait"), get("established")]).toEqual([8_000, 9_000]);
});

it("a kernel that does not track connections has none", async () => {
  kernel.clear();
  await sink.apply(change("create"), signal);
  expect([await faults(), noted]).toEqual([[], {}]);
});
