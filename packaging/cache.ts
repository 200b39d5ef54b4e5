/**
 * Keeps true: what is slow to make is made once per recipe, is whole or absent, and is made by one process at a time.
 * In: a recipe (everything that decides the content, as strings, and the work). Out: a read-only folder.
 * Rule: entries are never changed in place; a changed recipe is another entry.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join, resolve } from "node:path";
import type { Progress } from "./progress.ts";

export interface Recipe {
  /** what it makes: first part of the entry's folder name */
  readonly kind: string;
  /** everything that decides the content */
  readonly ingredients: readonly string[];
  /** fills the empty folder it is given */
  make(folder: string): Promise<void>;
}

export interface Cache {
  readonly folder: string;
  readonly progress: Progress;
  /** make every entry anew */
  readonly force: boolean;
}

/** Entries of a kind that nobody used for this long are removed when a new one of that kind was made. */
const UNUSED_DAYS = 14;
const LOCK_POLL_MS = 250;

/** The folder all caches of the project live in. */
export function cacheFolder(environment: NodeJS.ProcessEnv): string {
  const chosen = environment["FLANNEL_NP_CACHE"];
  return resolve(chosen === undefined || chosen === "" ? "/var/cache/flannel-np" : chosen, "plugin");
}

/** First 16 hex digits of SHA-256 over the parts, each closed by a zero byte. */
export function digest(parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex").slice(0, 16);
}

export function entryName(recipe: Recipe): string {
  return `${recipe.kind}-${digest(recipe.ingredients)}`;
}

/** The recipe's folder, made now if it is not there. Call it while holding the build lock. */
export async function cached(cache: Cache, recipe: Recipe): Promise<string> {
  const entry = join(cache.folder, entryName(recipe));
  if (existsSync(entry) && !cache.force) {
    const now = new Date();
    await utimes(entry, now, now);
    return entry;
  }
  const draft = join(cache.folder, `draft-${recipe.kind}-${process.pid}`);
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { recursive: true });
  await cache.progress.step(recipe.kind, () => recipe.make(draft));
  await rm(entry, { recursive: true, force: true });
  await rename(draft, entry);
  await dropUnused(cache.folder, recipe.kind);
  return entry;
}

/** Removes what a build that was killed left behind. Call it while holding the build lock. */
export async function dropDrafts(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const names = await readdir(folder);
  for (const name of names.filter((each) => each.startsWith("draft-"))) await rm(join(folder, name), { recursive: true, force: true });
}

async function dropUnused(folder: string, kind: string): Promise<void> {
  const oldest = Date.now() - UNUSED_DAYS * 24 * 3_600_000;
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${kind}-`)) continue;
    const path = join(folder, name);
    if ((await stat(path)).mtimeMs < oldest) await rm(path, { recursive: true, force: true });
  }
}

/**
 * Runs the work while no other build of this cache runs. The lock is a socket in the kernel's abstract name space: it vanishes
 * with the process that holds it, however that ends.
 */
export async function exclusively<T>(folder: string, progress: Progress, work: () => Promise<T>): Promise<T> {
  const name = `\0flannel-np-build-${digest([folder])}`;
  let server = await listen(name);
  if (server === undefined) progress.say("another build is running, waiting for its end");
  while (server === undefined) {
    await new Promise((wake) => setTimeout(wake, LOCK_POLL_MS));
    server = await listen(name);
  }
  try {
    return await work();
  } finally {
    server.close();
  }
}

function listen(name: string): Promise<Server | undefined> {
  return new Promise((answer, fail) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? answer(undefined) : fail(error)));
    server.listen({ path: name }, () => answer(server));
  });
}
