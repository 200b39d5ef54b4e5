/** Our nft table: what `apply` writes, `observe` reads back, and every change inside it is seen. */
import { expect } from "@jest/globals";
import type { Cidr, Vni } from "../../src/core/ids.ts";
import { vethPrefix, vxlanLink } from "../../src/core/names.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import { nftTable, type IsolatedNetwork, type NftTableChange, type ObservedNftTable } from "../../src/sinks/nft-table.ts";
import { faulty } from "../fakes/faulty.ts";
import { FakeNft } from "../fakes/nft-table.ts";
import { Namespace } from "./namespace.ts";
import { contract, type World } from "./suite.ts";

const signal = new AbortController().signal;
interface NftWorld extends World {
  readonly table: Sink<ObservedNftTable, NftTableChange>;
  gone(): Promise<void>;
  /** `command` for nft; `fault`: the words in which the change is expected to be seen. */
  disturb(command: string, fault: string): Promise<void>;
}

async function kernelWorld(): Promise<NftWorld> {
  const host = await Namespace.make();
  const nft = async (text: string): Promise<void> => { await host.must("nft", ["-f", "-"], `${text}\n`); };
  await nft("table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }\n }\ntable inet fnp { set links { type ifname; }\n }");
  return { table: nftTable(host.exec), gone: () => nft("delete table ip fnp"), disturb: nft, close: () => host.close() };
}

function fakeWorld(): Promise<NftWorld> {
  const fake = new FakeNft();
  return Promise.resolve({
    table: fake.table, close: () => Promise.resolve(), gone: () => Promise.resolve(fake.gone()),
    disturb: (_command, fault) => Promise.resolve(fake.disturbed(fault)),
  });
}

const network = (vni: number, cidr: string): IsolatedNetwork =>
  ({ vni: vni as Vni, cidr: cidr as Cidr, vethPrefix: vethPrefix(vni as Vni), vxlan: vxlanLink(vni as Vni) });
const THREE = [network(101, "10.1.0.0/16"), network(6514, "10.2.16.0/20"), network(9_999_999, "192.168.7.128/25")];
const write = (networks: readonly IsolatedNetwork[]): NftTableChange[] => [{ op: "update", key: "table", why: "test", table: { networks } }];

/** Each by itself, on a table of two networks. */
const DISTURBANCES: readonly (readonly [command: string, fault: string])[] = [
  ["add rule ip fnp isolate counter", "rule 3 of chain isolate is not ours"],
  ["insert rule ip fnp net-101 accept", "rule 3 of chain net-101 is not ours"],
  ["add chain ip fnp mine", "chain mine is not ours"],
  ["flush chain ip fnp isolate", "rule 1 of chain isolate is missing"],
  ["flush set ip fnp links", "set links was changed"],
  ["delete element ip fnp links-101 { \"flannel.101\" }", "set links-101 was changed"],
  ["add chain ip fnp isolate { policy drop; }", "chain isolate was changed"],
  ["add table ip fnp { flags dormant; }", "table fnp was changed"],
];

contract<NftWorld>("nft-table", { fake: fakeWorld, kernel: kernelWorld }, {
  "no table is an empty one; other tables are not ours": async ({ table }) => {
    expect(await table.observe(signal)).toEqual({ networks: [], faults: [] });
  },
  "what is written is read back, also when written twice": async ({ table }) => {
    for (const _ of [1, 2]) {
      await table.apply(write(THREE), signal);
      expect(await table.observe(signal)).toEqual({ networks: THREE, faults: [] });
    }
  },
  "a hundred networks": async ({ table }) => {
    const many = Array.from({ length: 100 }, (_, n) => network(7000 + n, `10.${n}.0.0/16`));
    await table.apply(write(many), signal);
    expect(await table.observe(signal)).toEqual({ networks: many, faults: [] });
  },
  "a network comes, one goes, one changes its block": async ({ table }) => {
    await table.apply(write(THREE), signal);
    const next = [network(101, "10.5.0.0/16"), network(102, "10.6.0.0/16"), ...THREE.slice(2)];
    await table.apply(write(next), signal);
    expect(await table.observe(signal)).toEqual({ networks: next, faults: [] });
  },
  "without networks the table goes, also when it is gone": async ({ table }) => {
    await table.apply(write(THREE), signal);
    for (const _ of [1, 2]) await table.apply(write([]), signal);
    expect(await table.observe(signal)).toEqual({ networks: [], faults: [] });
  },
  "a deleted table is seen and written again": async ({ table, gone }) => {
    await table.apply(write(THREE), signal);
    await gone();
    expect(await table.observe(signal)).toEqual({ networks: [], faults: [] });
    await table.apply(write(THREE), signal);
    expect(await table.observe(signal)).toEqual({ networks: THREE, faults: [] });
  },
  ...Object.fromEntries(DISTURBANCES.map(([command, fault]) => [`seen and undone: ${command}`, async ({ table, disturb }: NftWorld) => {
    await table.apply(write(THREE.slice(0, 2)), signal);
    await disturb(command, fault);
    expect((await table.observe(signal)).faults).toContain(fault);
    await table.apply(write(THREE.slice(0, 2)), signal);
    expect(await table.observe(signal)).toEqual({ networks: THREE.slice(0, 2), faults: [] });
  }])),
  "a table that cannot be had leaves the old one whole": async ({ table }) => {
    await table.apply(write(THREE), signal);
    const twice = [...THREE, { ...network(102, "10.9.0.0/16"), vethPrefix: vethPrefix(101 as Vni) }];
    await expect(table.apply(write(twice), signal)).rejects.toMatchObject({ code: "unavailable" });
    expect(await table.observe(signal)).toEqual({ networks: THREE, faults: [] });
  },
  "repeating gets there although every third call fails": async ({ table }) => {
    const unsure = faulty(table, { seed: 3, rate: 0.34 });
    for (let done = false; !done;) done = await unsure.apply(write(THREE), signal).then(() => true, () => false);
    expect(await table.observe(signal)).toEqual({ networks: THREE, faults: [] });
  },
});
