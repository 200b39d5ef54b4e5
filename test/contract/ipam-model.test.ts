/**
 * IPAM on a real etcd, in a real process that is killed again and again: no address twice, none before its rest, none lost.
 *
 * 10,000 random steps; FNP_TEST_FULL=1: 100,000. FNP_SEED repeats a run.
 */
import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GRANT_GRACE_MS, REST_MS } from "../../src/core/addresses.ts";
import type { IpamAnswer } from "../../src/core/state-answer.ts";
import { startEtcd, until, type EtcdServer } from "./etcd-server.ts";
import { World } from "./ipam-world.ts";

const STEPS = process.env["FNP_TEST_FULL"] === "1" ? 100_000 : 10_000;
const SEED = Number(process.env["FNP_SEED"] ?? Date.now() % 1_000_000_007);

let server: EtcdServer;
// In memory, as /run is: on a disk each note would wait for the journal.
const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "fnp-ipam-"));
beforeAll(async () => { server = await startEtcd(); });
afterAll(async () => {
  await server.remove();
  rmSync(folder, { recursive: true, force: true });
});

it(`${STEPS} steps`, async () => {
  process.stderr.write(`   seed: FNP_SEED=${SEED}\n`);
  const world = new World(server.endpoint, folder, SEED);
  try {
    for (let n = 0; n < STEPS; n++) {
      await world.step().catch((cause: unknown) => { throw new Error(`step ${n} of FNP_SEED=${SEED}: ${String(cause)}`, { cause }); });
    }
    await leakless(world);
  } finally {
    await world.life.kill();
  }
  process.stderr.write(`   ${JSON.stringify(world.counts)}\n`);
  expect(world.counts.kills).toBeGreaterThanOrEqual(STEPS / 1_000);
  expect(world.counts.granted).toBeGreaterThan(STEPS / 10);
}, 3_600_000);

/** Everything ends, Docker lists nothing, time passes: nothing but gateways may be held. */
async function leakless(world: World): Promise<void> {
  world.boxes.clear();
  world.vips.clear();
  await world.restart();
  await until(async () => (await world.life.ask({ do: "settled" }))?.ok === true, "etcd's listing");
  await world.life.ask({ do: "docker", listing: { complete: true, endpoints: [], services: [], networks: world.nets.map(({ id, cidr }) => ({ id, cidr, name: id, internal: false, options: {}, index: 1 })) } });
  await world.clock(2 * GRANT_GRACE_MS);
  const report = async (): Promise<IpamAnswer> => (await world.life.ask({ do: "report" }))?.ok as IpamAnswer;
  // What the mirror still shows of an earlier life rests once more.
  await until(async () => {
    await world.life.ask({ do: "fix" });
    await world.clock(REST_MS);
    await world.life.ask({ do: "fix" });
    return (await report()).ranges.every(({ resting }) => resting === 0);
  }, "everything to have rested");
  const { ranges, findings } = await report();
  expect(findings).toEqual([]);
  expect(ranges.length).toBeGreaterThanOrEqual(2 * world.nets.length);
  for (const range of ranges) expect(range).toMatchObject({ used: 0, resting: 0, leaked: 0 });
  const left = (): string[] => server.ctl("get", "--prefix", "/flannel/service-range/", "--print-value-only").split("\n").filter((line) => line.includes('"owner":"swarm"'));
  await world.clock(10 * GRANT_GRACE_MS);
  await until(async () => { await world.tell(); return left().length === 0; }, "the mirror to be empty");
}
