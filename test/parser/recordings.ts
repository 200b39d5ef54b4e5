/** Recorded tool output below test/golden: where it is, per tool and version. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const GOLDEN = join(import.meta.dirname, "..", "golden");

/** All versions for which the file is recorded: [version folder, text]. */
export function recordings(tool: string, file: string): (readonly [folder: string, text: string])[] {
  const folders = readdirSync(GOLDEN).filter((name) => name.startsWith(`${tool}-`) && existsSync(join(GOLDEN, name, file))).sort();
  return folders.map((folder) => [folder, readFileSync(join(GOLDEN, folder, file), "utf8")] as const);
}
