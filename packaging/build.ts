/**
 * Keeps true: one command leaves build/plugin/{config.json,rootfs}, which `docker plugin create` takes, on any machine of the
 * distributions we support; a second one with nothing changed does nothing.
 * In: the checkout, the host's package sources. Out: the folder; what was built on standard output. Rule: standard output is the result only.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Command, Option } from "commander";
import { cached, cacheFolder, dropDrafts, entryName, exclusively, type Cache, type Recipe } from "./cache.ts";
import { buildPaths, pluginFreshness, sourceFingerprint, type BuildRecord } from "./fingerprint.ts";
import { distribution, needPrograms, needRoot } from "./host.ts";
import { progressTo } from "./progress.ts";
import { assemble } from "./steps/assemble.ts";
import { baseRecipe } from "./steps/base.ts";
import { flanneldRecipe } from "./steps/flanneld.ts";
import { nodeRecipe } from "./steps/node.ts";

export interface BuildResult extends BuildRecord {
  /** the folder that `docker plugin create` takes */
  readonly folder: string;
  readonly upToDate: boolean;
  readonly seconds: number;
}

const CHECKOUT = join(import.meta.dirname, "..");

/** Programs the build calls, and the Debian packages that bring them. */
const PROGRAMS = { debootstrap: ["debootstrap"], unshare: ["util-linux"], npm: ["npm"] };

/** Builds what is missing or stale. Rejects with "Cannot …" and the cure. */
export async function buildPlugin(cache: Cache): Promise<BuildResult> {
  const begun = performance.now();
  needRoot();
  process.umask(0o022);
  return exclusively(cache.folder, cache.progress, async () => {
    await dropDrafts(cache.folder);
    await needPrograms(PROGRAMS, cache.progress);
    const recipes = { base: await baseRecipe(await distribution()), node: await nodeRecipe(), flanneld: await flanneldRecipe(cache) };
    const done = await current(Object.values(recipes));
    const upToDate = done !== undefined && !cache.force;
    const record = upToDate ? done : await make(cache, recipes);
    const seconds = Math.round(performance.now() - begun) / 1_000;
    return { ...record, folder: buildPaths(CHECKOUT).folder, upToDate, seconds };
  });
}

/** The record of the build that is there, if neither the sources nor a recipe changed since. */
async function current(recipes: readonly Recipe[]): Promise<BuildRecord | undefined> {
  const found = await pluginFreshness(CHECKOUT);
  if (found.stale) return undefined;
  const wanted = recipes.map(entryName);
  return wanted.every((name) => found.record.parts.includes(name)) ? found.record : undefined;
}

/** The slow parts side by side: one waits for the network while another compiles. */
async function make(cache: Cache, recipes: { readonly base: Recipe; readonly node: Recipe; readonly flanneld: Recipe }): Promise<BuildRecord> {
  const fingerprint = await sourceFingerprint(CHECKOUT);
  const [base, node, flanneld] = await Promise.all([cached(cache, recipes.base), cached(cache, recipes.node), cached(cache, recipes.flanneld)]);
  return cache.progress.step("bundle and plugin folder", () => assemble(CHECKOUT, { base, node, flanneld }, fingerprint));
}

async function main(): Promise<void> {
  const command = new Command("flannel-np build")
    .description("Builds the plugin folder build/plugin/{config.json,rootfs} for `docker plugin create`.")
    .addOption(new Option("-o, --output <format>", "form of the result").choices(["text", "json"]).default("text"))
    .option("--force", "make everything anew, distribution packages with their latest updates included", false)
    .addHelpText("after", "\nCaches are kept in /var/cache/flannel-np (FLANNEL_NP_CACHE names another folder). Needs root.")
    .parse();
  const options = command.opts<{ output: string; force: boolean }>();
  const progress = progressTo((line) => process.stderr.write(line));
  const result = await buildPlugin({ folder: cacheFolder(process.env), progress, force: options.force });
  process.stdout.write(options.output === "json" ? `${JSON.stringify(result)}\n` : `${summary(result)}\n`);
}

function summary(result: BuildResult): string {
  const size = `${Math.round(result.bytes / 1_000_000)} MB`;
  const what = `${result.folder}: build ${result.build}, Node ${result.node}, flanneld ${result.flanneld}, ${size}`;
  return result.upToDate ? `up to date: ${what}` : `built in ${result.seconds.toFixed(1)} s: ${what}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1); // at once: the other parts need not be waited for, their programs end with us
  });
}
