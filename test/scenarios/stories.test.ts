/**
 * The whole operator over facilities in memory: what follows from each step is what the golden file says, and with one call in ten
 * failing it is the same; nothing goes that Docker has, nothing on the word of a source that is away.
 *
 * FNP_GOLDEN=write renews the files; FNP_SEED repeats a run.
 */
import { describe, expect, it } from "@jest/globals";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { STORIES } from "./stories.ts";
import { play, type Played } from "./story.ts";

const SEED = Number(process.env["FNP_SEED"] ?? 7);
const golden = (name: string): string => fileURLToPath(new URL(`golden/${name}.txt`, import.meta.url));

function renew(name: string, transcript: string): void {
  writeFileSync(golden(name), transcript);
  process.stdout.write(`golden ${name}: written\n`);
}

describe.each(Object.entries(STORIES))("%s", (name, story) => {
  let undisturbed: Played | undefined;
  const plain = async (): Promise<Played> => (undisturbed ??= await play(story, { seed: SEED, rate: 0 }));

  it("goes as written down", async () => {
    const { transcript, broken } = await plain();
    if (process.env["FNP_GOLDEN"] === "write") renew(name, transcript);
    expect(broken).toEqual([]);
    expect(transcript).toBe(readFileSync(golden(name), "utf8"));
  });

  it("ends in the same with one call in ten failing", async () => {
    const { last, broken, faults, deletes } = await play(story, { seed: SEED, rate: 0.1 });
    process.stdout.write(`${name}: ${faults} faults, ${deletes} deletes looked at, FNP_SEED=${SEED}\n`);
    expect(broken).toEqual([]);
    expect(faults).toBeGreaterThan(0);
    expect(last).toEqual((await plain()).last);
  });
});
