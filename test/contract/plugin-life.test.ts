/**
 * The real process under kill -9: the built plugin on its driver socket, a real etcd, a real kernel, Docker's socket played.
 *
 * Random calls, some lost, some repeated, some out of order; no address twice, none before its rest, nothing left when all is over.
 * 1,000 steps; FNP_TEST_FULL=1: 10,000. FNP_SEED repeats the choices (the kernel's and etcd's timing is their own). The 10,000 and
 * 100,000 steps of ipam-model.test.ts run the same modules with a clock that can be moved.
 */
import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { REST_MS } from "../../src/core/addresses.ts";
import type { IpamAnswer } from "../../src/core/state-answer.ts";
import { until } from "./etcd-server.ts";
import { PluginStand, whyNoBuild } from "./plugin-stand.ts";
import { PluginWorld } from "./plugin-world.ts";

const FULL = process.env["FNP_TEST_FULL"] === "1";
const STEPS = FULL ? 10_000 : 1_000;
const SEED = Number(process.env["FNP_SEED"] ?? Date.now() % 1_000_000_007);
const missing = whyNoBuild();

const stand = new PluginStand();
const world = new PluginWorld(stand, SEED);
beforeAll(async () => {
  if (missing !== undefined) return;
  await stand.open();
  await world.desk.listen(stand.docker);
  await stand.start();
}, 180_000);
afterAll(async () => {
  world.desk.close();
  await stand.close();
});

it(`${STEPS} steps against the process that Docker would start`, async () => {
  if (missing !== undefined) {
    process.stderr.write(`   not run: ${missing}\n`);
    return;
  }
  process.stderr.write(`   seed: FNP_SEED=${SEED}\n`);
  const since = performance.now();
  for (let n = 0; n < STEPS; n += 1) {
    await world.step().catch((cause: unknown) => { throw new Error(`step ${n} of FNP_SEED=${SEED}: ${String(cause)}`, { cause }); });
  }
  await world.restart();
  process.stderr.write(`   ${JSON.stringify(world.counts)} in ${Math.round((performance.now() - since) / 1_000)} s\n`);
  await leakless();
  expect(world.counts.kills).toBeGreaterThan(STEPS / 100);
  expect(world.counts.granted).toBeGreaterThan(STEPS / 5);
}, 3_600_000);

/** All containers end, unheard: Docker's listing alone tells. No link is left; what is leaked is named, rests, and is free. */
async function leakless(): Promise<void> {
  world.desk.answers = true;
  world.desk.boxes.clear();
  world.desk.tell("container", "die", "all");
  await until(async () => {
    await stand.debug("/reconcile?only=endpoints", "POST");
    return stand.links("fnp").length <= 1;
  }, "every link of a container to be gone", 180_000);
  const node = async (): Promise<IpamAnswer["ranges"]> => {
    const answer = (await stand.debug("/ipam/fix", "POST"))?.body as unknown as IpamAnswer | undefined;
    return (answer?.ranges ?? []).filter((range) => range.node !== "services");
  };
  await until(async () => {
    const ranges = await node();
    return ranges.length > 0 && ranges.every(({ used, leaked }) => used === 0 && leaked === 0);
  }, "nothing to be used or leaked", 240_000);
  await until(async () => (await node()).every(({ resting }) => resting === 0), "everything to have rested", 3 * REST_MS);
}
