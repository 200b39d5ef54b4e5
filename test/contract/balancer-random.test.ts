/** Random lives of services behind nftables, on this kernel. 500 steps; FNP_TEST_FULL=1: 2,000. FNP_SEED repeats a run. */
import { expect, test } from "@jest/globals";
import { Life } from "./balancer-life.ts";

const FULL = process.env["FNP_TEST_FULL"] === "1";
const STEPS = FULL ? 2_000 : 500;
const SEED = Number(process.env["FNP_SEED"] ?? Date.now() % 1_000_000_007);

test(`${STEPS} random steps`, async () => {
  process.stderr.write(`   seed: FNP_SEED=${SEED}${FULL ? "" : "; 500 steps, 2,000 with FNP_TEST_FULL=1"}\n`);
  const life = await Life.begin({ engine: "nftables" }, SEED);
  try {
    await life.run(STEPS);
    process.stderr.write(`   ${STEPS} steps: ${JSON.stringify(life.did)}\n`);
    expect(life.did.killed).toBeGreaterThan(0);
  } finally {
    await life.close();
  }
}, 600_000);
