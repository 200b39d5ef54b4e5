/** The table around the balancer, in a kernel: networks and containers come and go one by one and leave the others alone. Needs root. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Cidr, Ipv4, Vni } from "../../src/core/ids.ts";
import { vipFrame, vipKey, vipTable, type FrameOf, type VipChange, type VipEntry } from "../../src/sinks/vip-table.ts";
import { Namespace } from "./namespace.ts";

const signal = new AbortController().signal;
const network = (n: number): VipEntry =>
  ({ kind: "network", network: { vni: (6_514 + n) as Vni, range: `10.${n}.0.0/22` as Cidr, vethPrefix: `fnp005${n}z` } });
const loop = (n: number, host: number): VipEntry => ({ kind: "loop", address: `10.${n}.4.${host}` as Ipv4, gateway: `10.${n}.4.1` as Ipv4 });
const changes = (op: VipChange["op"], ...entries: readonly VipEntry[]): readonly VipChange[] => entries.map((entry) => ({ op, key: vipKey(entry), entry, why: "test" }));
const ENGINES: readonly FrameOf[] = [{ engine: "nftables" }, { engine: "ipvs", marks: { first: 0xf0_0000, last: 0xf0_ffff } }];
let namespace: Namespace;

beforeAll(async () => { namespace = await Namespace.make(); });
afterAll(async () => { await namespace.close(); });

describe.each(ENGINES)("the table around the balancer, %j", (of) => {
  const sink = () => vipFrame(vipTable(namespace.exec, () => performance.now()), of);
  const seen = async (): Promise<readonly VipEntry[]> => {
    const { entries, faults } = await sink().observe(signal);
    expect(faults).toEqual([]);
    return [...entries.values()].filter(({ kind }) => kind !== "frame");
  };

  it("has what it was given, loses one network of several, gets another range for one, and goes", async () => {
    const all = [network(1), network(2), network(3), loop(1, 2), loop(2, 2)];
    await sink().apply(changes("create", { kind: "frame" }, ...all), signal);
    expect(new Set(await seen())).toEqual(new Set(all));
    await sink().apply(changes("delete", loop(2, 2), network(2)), signal);
    expect(new Set(await seen())).toEqual(new Set([network(1), network(3), loop(1, 2)]));
    const moved: VipEntry = { kind: "network", network: { vni: (6_514 + 3) as Vni, range: "10.3.8.0/22" as Cidr, vethPrefix: "fnp0053z" } };
    await sink().apply([...changes("update", moved), ...changes("create", network(4))], signal);
    expect(new Set(await seen())).toEqual(new Set([network(1), moved, network(4), loop(1, 2)]));
    await sink().apply(changes("delete", { kind: "frame" }), signal);
    expect(await namespace.must("nft", ["list", "tables"])).toBe("");
  });
});
