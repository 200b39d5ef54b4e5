/**
 * Keeps true: it can be told at once whether build/plugin still is what the sources would make.
 * In: a checkout. Out: a hash of everything in it that decides the plugin's content; fresh or stale, and why.
 * Rule: reads only; prose (*.md) does not count.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";

/** What build/plugin.json says about the folder beside it. */
export interface BuildRecord {
  /** of the sources it was built from, see sourceFingerprint */
  readonly fingerprint: string;
  /** hash of the content, 12 hex digits; also part of the plugin's description */
  readonly build: string;
  /** cache entries it was put together from */
  readonly parts: readonly string[];
  readonly node: string;
  readonly flanneld: string;
  /** of rootfs, as `du` counts it */
  readonly bytes: number;
}

export type Freshness = { readonly stale: false; readonly record: BuildRecord } | { readonly stale: true; readonly why: string };

const SOURCES = ["src", "packaging", "package-lock.json"] as const;

/** Where a checkout's plugin folder and its record are. */
export function buildPaths(checkout: string): { readonly folder: string; readonly record: string } {
  return { folder: join(checkout, "build/plugin"), record: join(checkout, "build/plugin.json") };
}

/** SHA-256 over names and contents, in hex. A few hundred small files: milliseconds. */
export async function sourceFingerprint(checkout: string): Promise<string> {
  const files = (await Promise.all(SOURCES.map((name) => filesBelow(join(checkout, name))))).flat().filter((path) => !path.endsWith(".md"));
  const hash = createHash("sha256");
  for (const path of files.sort()) {
    const content = await readFile(path);
    hash.update(`${relative(checkout, path)}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** Whether build/plugin is what the checkout's sources make. Never rejects over a missing or damaged build. */
export async function pluginFreshness(checkout: string): Promise<Freshness> {
  const paths = buildPaths(checkout);
  const record = await readRecord(paths.record);
  if (record === undefined) return { stale: true, why: "there is no complete build" };
  const config = await readFile(join(paths.folder, "config.json"), "utf8").catch(() => "");
  if (!config.includes(record.build)) return { stale: true, why: "build/plugin is not what build/plugin.json describes" };
  if (record.fingerprint !== (await sourceFingerprint(checkout))) return { stale: true, why: "the sources changed since it was built" };
  return { stale: false, record };
}

async function readRecord(path: string): Promise<BuildRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(path, "utf8")) as Partial<BuildRecord>;
    const complete = typeof record.build === "string" && typeof record.fingerprint === "string" && Array.isArray(record.parts);
    return complete ? (record as BuildRecord) : undefined;
  } catch {
    return undefined;
  }
}

async function filesBelow(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { withFileTypes: true, recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOTDIR") return undefined;
    if (error.code === "ENOENT") return [];
    throw error;
  });
  if (entries === undefined) return [path];
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
