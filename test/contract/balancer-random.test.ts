/** Random lives of services behind nftables, on this kernel. 500 steps; FNP_TEST_FULL=1: 2,000. */
import { test } from "@jest/globals";
import { randomLives, stepsOf } from "./balancer-life.ts";

const STEPS = stepsOf(500);

test(`${STEPS} random steps`, () => randomLives({ engine: "nftables" }, STEPS), 600_000);
