/** The accept chain: chain and jump in the flavour that Docker uses, in the right place, and nothing of Docker's touched. */
import { expect } from "@jest/globals";
import type { Sink } from "../../src/core/reconciler.ts";
import { acceptChain, type AcceptChainChange, type Flavour, type ObservedAcceptChain } from "../../src/sinks/iptables.ts";
import { faulty } from "../fakes/faulty.ts";
import { FakeIptables } from "../fakes/iptables.ts";
import { Namespace } from "./namespace.ts";
import { contract, type World } from "./suite.ts";

const signal = new AbortController().signal;
interface IptablesWorld extends World {
  readonly chain: Sink<ObservedAcceptChain, AcceptChainChange>;
  /** Lines as for `iptables-restore --noflush`, by somebody else. */
  by(flavour: Flavour, ...lines: readonly string[]): Promise<void>;
  /** Rules of FORWARD, as `iptables-save` spells them. */
  forward(flavour: Flavour): Promise<readonly string[]>;
  /** True when reading has made no table of iptables-legacy. */
  legacyUntouched(): Promise<boolean>;
}

const forwardOf = (text: string): string[] => text.split("\n").filter((line) => line.startsWith("-A FORWARD ")).map((line) => line.slice(11));

async function kernelWorld(): Promise<IptablesWorld> {
  const host = await Namespace.make();
  const names = (): Promise<string> => host.must("cat", ["/proc/net/ip_tables_names"]);
  return {
    chain: acceptChain(host.exec, names), close: () => host.close(),
    by: async (flavour, ...lines) => { await host.must(`iptables-${flavour}-restore`, ["--noflush"], ["*filter", ...lines, "COMMIT", ""].join("\n")); },
    forward: async (flavour) => forwardOf(await host.must(`iptables-${flavour}-save`, ["-t", "filter"])),
    legacyUntouched: async () => (await names()) === "",
  };
}

function fakeWorld(): Promise<IptablesWorld> {
  const fake = new FakeIptables();
  return Promise.resolve({
    chain: fake.chain, close: () => Promise.resolve(), by: (flavour, ...lines) => Promise.resolve(fake.by(flavour, ...lines)),
    forward: (flavour) => Promise.resolve(forwardOf(fake.save(flavour))), legacyUntouched: () => Promise.resolve(true),
  });
}

const change = (op: AcceptChainChange["op"]): AcceptChainChange[] => [{ op, key: "chain", why: "test" }];
const right = (...flavours: readonly Flavour[]): ObservedAcceptChain => ({ flavours, present: true, faults: [] });
const DOCKER = [":DOCKER-USER - [0:0]", ":DOCKER-FORWARD - [0:0]", "-A DOCKER-USER -j RETURN", "-I FORWARD -j DOCKER-FORWARD", "-I FORWARD -j DOCKER-USER"];
const OURS = "-j FNP-FORWARD";

/** Each by itself, on a chain that was right. */
const DISTURBANCES: readonly (readonly [lines: readonly string[], fault: string])[] = [
  [["-D FORWARD -j FNP-FORWARD"], "nft: the jump from FORWARD is missing"],
  [["-A FORWARD -j FNP-FORWARD"], "nft: 2 jumps from FORWARD instead of one"],
  [["-D FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-USER"], "nft: the jump stands before DOCKER-USER's"],
  [["-A FNP-FORWARD -i fnp+ -j DROP"], "nft: the rules of FNP-FORWARD were changed"],
  [["-F FNP-FORWARD"], "nft: the rules of FNP-FORWARD were changed"],
  [["-D FORWARD -j FNP-FORWARD", "-I FORWARD 2 -i fnp+ -j FNP-FORWARD"], "nft: a jump from FORWARD has a condition"],
  [["-D FORWARD -j FNP-FORWARD", "-F FNP-FORWARD", "-X FNP-FORWARD"], "nft: FNP-FORWARD is missing"],
];

contract<IptablesWorld>("iptables", { fake: fakeWorld, kernel: kernelWorld }, {
  "a host without Docker's chains uses nft, and legacy stays unread": async ({ chain, forward, legacyUntouched }) => {
    expect(await chain.observe(signal)).toEqual({ flavours: ["nft"], present: false, faults: ["nft: FNP-FORWARD is missing"] });
    await chain.apply(change("create"), signal);
    expect(await chain.observe(signal)).toEqual(right("nft"));
    expect(await forward("nft")).toEqual([OURS]);
    expect(await legacyUntouched()).toBe(true);
  },
  "the jump follows DOCKER-USER's, also when written twice": async ({ chain, by, forward }) => {
    await by("nft", ...DOCKER);
    for (const _ of [1, 2]) {
      await chain.apply(change("create"), signal);
      expect(await forward("nft")).toEqual(["-j DOCKER-USER", OURS, "-j DOCKER-FORWARD"]);
      expect(await chain.observe(signal)).toEqual(right("nft"));
    }
  },
  "a rule between DOCKER-USER's jump and ours is its owner's business": async ({ chain, by }) => {
    await by("nft", ...DOCKER);
    await chain.apply(change("create"), signal);
    await by("nft", "-I FORWARD 2 -i docker0 -j ACCEPT");
    expect(await chain.observe(signal)).toEqual(right("nft"));
  },
  "Docker making its chains anew after us leaves ours right": async ({ chain, by, forward }) => {
    await chain.apply(change("create"), signal);
    await by("nft", ...DOCKER);
    expect(await chain.observe(signal)).toEqual(right("nft"));
    expect(await forward("nft")).toEqual(["-j DOCKER-USER", "-j DOCKER-FORWARD", OURS]);
  },
  ...Object.fromEntries(DISTURBANCES.map(([lines, fault]) => [`seen and undone: ${lines.join("; ")}`, async ({ chain, by, forward }: IptablesWorld) => {
    await by("nft", ...DOCKER);
    await chain.apply(change("create"), signal);
    await by("nft", ...lines);
    expect((await chain.observe(signal)).faults).toContain(fault);
    await chain.apply(change("update"), signal);
    expect(await chain.observe(signal)).toEqual(right("nft"));
    const rules = await forward("nft");
    expect(rules.indexOf(OURS)).toBe(rules.indexOf("-j DOCKER-USER") + 1);
  }])),
  "Docker on legacy: the chain is there and only there": async ({ chain, by, forward }) => {
    await by("legacy", ...DOCKER);
    await chain.apply(change("create"), signal);
    expect(await chain.observe(signal)).toEqual(right("legacy"));
    expect(await forward("legacy")).toEqual(["-j DOCKER-USER", OURS, "-j DOCKER-FORWARD"]);
    expect(await forward("nft")).toEqual([]);
  },
  "a chain left in the flavour that Docker has left is removed": async ({ chain, by, forward }) => {
    await chain.apply(change("create"), signal);
    await by("legacy", ...DOCKER);
    expect(await chain.observe(signal)).toEqual({
      flavours: ["legacy"], present: true, faults: ["nft: FNP-FORWARD is left over", "legacy: FNP-FORWARD is missing"],
    });
    await chain.apply(change("update"), signal);
    expect(await chain.observe(signal)).toEqual(right("legacy"));
    expect(await forward("nft")).toEqual([]);
  },
  "Docker's chains in both flavours: both drop, so both accept": async ({ chain, by, forward }) => {
    await by("nft", ...DOCKER);
    await by("legacy", ...DOCKER);
    await chain.apply(change("create"), signal);
    expect(await chain.observe(signal)).toEqual(right("nft", "legacy"));
    for (const flavour of ["nft", "legacy"] as const) expect((await forward(flavour))[1]).toBe(OURS);
  },
  "all of ours goes, Docker's stays, also when repeated": async ({ chain, by, forward }) => {
    await by("nft", ...DOCKER);
    await chain.apply(change("create"), signal);
    await by("nft", "-A FORWARD -j FNP-FORWARD");
    for (const _ of [1, 2]) await chain.apply(change("delete"), signal);
    expect(await chain.observe(signal)).toMatchObject({ present: false });
    expect(await forward("nft")).toEqual(["-j DOCKER-USER", "-j DOCKER-FORWARD"]);
  },
  "a chain that a stranger's rule uses is not torn out": async ({ chain, by, forward }) => {
    await by("nft", ...DOCKER);
    await chain.apply(change("create"), signal);
    await by("nft", "-I DOCKER-USER -j FNP-FORWARD");
    await expect(chain.apply(change("delete"), signal)).rejects.toMatchObject({ code: "unavailable" });
    expect(await forward("nft")).toEqual(["-j DOCKER-USER", OURS, "-j DOCKER-FORWARD"]);
  },
  "repeating gets there although every third call fails": async ({ chain }) => {
    const unsure = faulty(chain, { seed: 5, rate: 0.34 });
    for (let done = false; !done;) done = await unsure.apply(change("create"), signal).then(() => true, () => false);
    expect(await chain.observe(signal)).toEqual(right("nft"));
  },
});
