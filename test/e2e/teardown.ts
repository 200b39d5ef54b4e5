/** After the last suite: the lab goes, unless it was asked to stay. */
import { rm } from "node:fs/promises";
import { findLab } from "../../lab/lab.ts";
import { LAB_ID } from "./bed.ts";
import { BASELINE } from "./setup.ts";

export default async function teardown(): Promise<void> {
  if (process.env["FNP_E2E_KEEP"] === "1") return;
  await rm(BASELINE, { recursive: true, force: true });
  await (await findLab(LAB_ID))?.down();
}
