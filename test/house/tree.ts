/**
 * The checkout as the house rules see it: paths relative to its root, and their text.
 *
 * Rule: what is built, installed or fetched is not part of the house.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const FOREIGN = new Set(["node_modules", ".git", "build", "coverage", "dist"]);

/** Every file below a folder, sorted; hidden folders are not looked into. */
export function filesBelow(folder: string): readonly string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return FOREIGN.has(entry.name) || entry.name.startsWith(".") ? [] : filesBelow(path);
    return entry.isFile() ? [path] : [];
  }).sort();
}

export const textOf = (path: string): string => readFileSync(join(ROOT, path), "utf8");
export const exists = (path: string): boolean => existsSync(join(ROOT, path));

/** True if a rule has something to check; says so if not, since a rule without a room looks like a rule that holds. */
export function roomFor(rule: string, found: boolean, missing: string): boolean {
  if (!found) process.stderr.write(`house: "${rule}" checks nothing yet: ${missing}\n`);
  return found;
}
