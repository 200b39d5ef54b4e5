/**
 * Keeps true: build/plugin is whole or absent, and no two different builds look alike to Docker's store.
 * In: cache entries, the bundled code, packaging/config.json. Out: build/plugin and its record build/plugin.json.
 * Rule: files of the cache are linked, never copied where a link will do, and never written.
 */
import { createHash } from "node:crypto";
import { chmod, copyFile, link, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { buildPaths, type BuildRecord } from "../fingerprint.ts";
import { run } from "../run.ts";
import { bundle } from "./app.ts";
import { flanneldVersion } from "./flanneld.ts";

export interface Parts {
  readonly base: string;
  readonly node: string;
  readonly flanneld: string;
}

/** Puts the plugin folder together beside its final place, then swaps it in. */
export async function assemble(checkout: string, parts: Parts, fingerprint: string): Promise<BuildRecord> {
  const paths = buildPaths(checkout);
  const draft = `${paths.folder}.draft`;
  const root = join(draft, "rootfs");
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { recursive: true });
  await copyTree(join(parts.base, "rootfs"), root);
  await linkFile(join(parts.node, "node"), join(root, "usr/bin/node"));
  await linkFile(join(parts.flanneld, "flanneld"), join(root, "usr/bin/flanneld"));
  await addApp(checkout, root);
  const record = await describe(checkout, draft, parts, fingerprint);
  await rm(paths.record, { force: true });
  await rm(paths.folder, { recursive: true, force: true });
  await rename(draft, paths.folder);
  await writeFile(paths.record, `${JSON.stringify(record, null, 2)}\n`);
  return record;
}

async function addApp(checkout: string, root: string): Promise<void> {
  const folder = join(root, "opt/flannel-np");
  await bundle(checkout, folder);
  const launcher = join(root, "usr/bin/flannel-np");
  await writeFile(launcher, '#!/bin/sh\nexec /usr/bin/node /opt/flannel-np/cli.js "$@"\n');
  await chmod(launcher, 0o755);
}

/**
 * `docker plugin create` refuses a config or a layer its store knows already: the content's hash goes into both.
 */
async function describe(checkout: string, draft: string, parts: Parts, fingerprint: string): Promise<BuildRecord> {
  const root = join(draft, "rootfs");
  const config = JSON.parse(await readFile(join(checkout, "packaging/config.json"), "utf8")) as Record<string, unknown>;
  const names = [parts.base, parts.node, parts.flanneld].map((path) => basename(path));
  const build = await contentHash(join(root, "opt"), [...names, JSON.stringify(config)]);
  const node = (await run(join(parts.node, "node"), ["--version"])).trim();
  const flanneld = await flanneldVersion(join(parts.flanneld, "flanneld"));
  await writeFile(join(root, "opt/flannel-np/build.json"), `${JSON.stringify({ build, node, flanneld })}\n`);
  const described = { ...config, description: `${String(config["description"])} (build ${build})` };
  await writeFile(join(draft, "config.json"), `${JSON.stringify(described, null, 2)}\n`);
  const bytes = Number((await run("du", ["-s", "-B1", root])).split("\t")[0]);
  return { fingerprint, build, parts: names, node, flanneld, bytes };
}

async function contentHash(folder: string, seeds: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const seed of seeds) hash.update(seed).update("\0");
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files.sort()) hash.update(`${relative(folder, file)}\0`).update(await readFile(file));
  return hash.digest("hex").slice(0, 12);
}

/** Hard links where both places are on one file system, else copies. */
async function copyTree(from: string, to: string): Promise<void> {
  try {
    await run("cp", ["-al", from, to]);
  } catch {
    await rm(to, { recursive: true, force: true });
    await run("cp", ["-a", "--reflink=auto", from, to]);
  }
}

async function linkFile(from: string, to: string): Promise<void> {
  await link(from, to).catch(() => copyFile(from, to));
}
