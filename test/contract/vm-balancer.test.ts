/** The balancer's contract in a virtual machine with Debian's kernel, which has IPVS: both engines, packets and, for IPVS, tables. */
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { fakeBalancer } from "../fakes/balancer.ts";
import { balancerWorld, type BedOptions } from "./balancer-bed.ts";
import { PAIR, put, tableCases } from "./balancer-cases.ts";
import { DAMAGES } from "./balancer-damage.ts";
import { randomLives, stepsOf } from "./balancer-life.ts";
import { expectEven, one, PACKETS } from "./balancer-packets.ts";
import type { BalancerWorld } from "./balancer-world.ts";
import type { Namespace } from "./namespace.ts";
import { contract } from "./suite.ts";
import { VM_START_MS, VmBed } from "./vm-bed.ts";

/** Seconds: an emulated kernel answers late. */
const PATIENCE = 10;
const CASE = { timeoutMs: 400_000 };

let bed: VmBed;
beforeAll(async () => { bed = await VmBed.start(); }, VM_START_MS);
afterAll(() => bed.close());
afterEach(async () => { expect(await bed.failures()).toEqual([]); });

const make = (): Promise<Namespace> => bed.namespace();
const kernel = (engine: BedOptions["engine"]) => (): Promise<BalancerWorld> => balancerWorld({ engine, make, patience: PATIENCE });

contract("balancer ipvs", { fake: () => fakeBalancer("ipvs"), kernel: kernel("ipvs") }, { ...tableCases("ipvs", Object.keys(DAMAGES.ipvs)), ...PACKETS }, CASE);
// Its tables are the business of balancer.test.ts.
contract("balancer nftables in a machine", { fake: () => fakeBalancer("nftables"), kernel: kernel("nftables") }, PACKETS, CASE);

/** On nftables they are many more (balancer-random.test.ts): an emulated machine starts few processes a second. */
const STEPS = stepsOf(100);
test(`${STEPS} random steps with IPVS`, () => randomLives({ engine: "ipvs", make }, STEPS), 50 * CASE.timeoutMs);

/** All that IPVS has in the host, in no order, and the settings of its that are ours for a while. */
async function ipvsOf(host: Namespace): Promise<object> {
  const saved = await host.must("ipvsadm", ["--save", "-n"]);
  const settings = ["conntrack", "expire_nodest_conn", "expire_quiescent_template"].map((name) => `net/ipv4/vs/${name}`);
  return { saved: saved.split("\n").map((line) => line.trim()).filter((line) => line !== "").sort(), settings: await host.sysctls.read(settings), limits: await host.must("ipvsadm", ["-L", "--timeout"]) };
}

test("nftables takes over: what IPVS had of ours is gone, with its settings, what others have there stays", async () => {
  const host = await bed.namespace();
  const [before, former] = [await ipvsOf(host), { value: {} }];
  const earlier = await balancerWorld({ engine: "ipvs", make: () => Promise.resolve(host), former });
  await put(earlier, ...PAIR);
  const theirs = (await earlier.foreign()).split("\n").map((line) => line.trim()).sort();
  expect(await ipvsOf(host)).not.toMatchObject({ settings: (before as { settings: unknown }).settings });
  expect(await ipvsOf(host)).not.toMatchObject({ saved: theirs });
  let asked = 0;
  const later = await balancerWorld({ engine: "nftables", make: () => (asked++ === 0 ? Promise.resolve(host) : make()), former, patience: PATIENCE });
  try {
    expect(await ipvsOf(host)).toEqual({ ...before, saved: theirs });
    expect(former.value).toEqual({});
    const packets = await later.packets();
    await put(later, ...PAIR);
    for (const kind of ["tcp", "udp"] as const) expectEven(await one(packets, "client", kind, 10), 10);
    // A service of our marks that no earlier start of ours made is somebody else's.
    await host.must("ipvsadm", ["-A", "-f", "20480"]);
    await later.damage("the table is gone");
    expect((await host.must("ipvsadm", ["--save", "-n"]))).toMatch(/-A -f 20480 /);
  } finally {
    await later.close();
  }
}, CASE.timeoutMs);
