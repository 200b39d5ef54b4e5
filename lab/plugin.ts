/**
 * Keeps true: each node runs the plugin that build/plugin holds, under the alias and with the settings its record names.
 * In: a node, its record, a build. Out: plugin created, set, enabled; or left alone when nothing differs.
 * Rule: settings are changed only while the plugin is disabled (the engine refuses otherwise); what a node got is noted beside its disk.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { askDocker } from "./docker-api.ts";
import { LabError } from "./errors.ts";
import type { LabNode } from "./node.ts";
import { ETCD_URL, recipeHash } from "./plan.ts";
import { must } from "./run.ts";
import { cacheFolder, nodeFolder } from "./state.ts";
import type { PluginRecord } from "./state.ts";

export const ALIAS = "flannel-np:latest";
export const BUILD_FOLDER = fileURLToPath(new URL("../build/plugin", import.meta.url));
/** Templates nobody used for this long are removed. */
const UNUSED_MS = 3 * 24 * 3_600_000;

export interface PluginBuild {
  readonly folder: string;
  /** Changes with the content: the build puts a hash of it into config.json. */
  readonly hash: string;
  /** Names of the variables config.json declares. */
  readonly variables: readonly string[];
}

const configFile = z.object({ env: z.array(z.object({ name: z.string() })).nullish() });
const pluginList = z.array(z.object({ Name: z.string(), Enabled: z.boolean() }));

/** Reads build/plugin; a LabError with the cure when it is not there. */
export async function pluginBuild(folder = BUILD_FOLDER): Promise<PluginBuild> {
  const text = await readFile(`${folder}/config.json`, "utf8").catch(() => undefined);
  if (text === undefined) throw new LabError(`Cannot install the plugin: ${folder}/config.json is missing`, "build it: ./flannel-np build");
  const config = configFile.parse(JSON.parse(text));
  return { folder, hash: createHash("sha256").update(text).digest("hex").slice(0, 12), variables: (config.env ?? []).map((one) => one.name) };
}

/** What a lab's plugin needs to know, as far as the build has a variable for it; `given` wins. */
export function settingsFor(build: PluginBuild, given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const defaults = Object.entries({ ETCD_ENDPOINTS: ETCD_URL, ETCD_PREFIX: "/flannel" }).filter(([name]) => build.variables.includes(name));
  return { ...Object.fromEntries(defaults), ...given };
}

const templatePlace = (rootfsKey: string, alias: string, build: PluginBuild): string => `${cacheFolder()}/lab-plugins/${rootfsKey}-${recipeHash([alias, build.hash])}`;

/** The engine's plugin folder with this build in it, if an earlier node left a copy: then creating it (10 s of gzip) is spared. */
export async function templateFor(rootfsKey: string, alias: string, build: PluginBuild): Promise<string> {
  const place = templatePlace(rootfsKey, alias, build);
  const now = new Date();
  return utimes(place, now, now).then(() => place, () => "");
}

/** Makes the node run this build; true when something was changed. */
export async function ensurePlugin(node: LabNode, lab: string, rootfsKey: string, plugin: PluginRecord, build: PluginBuild): Promise<boolean> {
  const noteFile = `${nodeFolder(lab, node.name)}/plugin.json`;
  const note = JSON.stringify({ alias: plugin.alias, build: build.hash, settings: settingsFor(build, plugin.settings) });
  const found = await listed(node, plugin.alias);
  if (found?.Enabled && await readFile(noteFile, "utf8").catch(() => "") === note) return false;
  await rm(noteFile, { force: true });
  const used = `${nodeFolder(lab, node.name)}/plugin.used`;
  const pristine = node.record.template === templatePlace(rootfsKey, plugin.alias, build) && !await access(used).then(() => true, () => false);
  if (found && !pristine) await removePlugin(node, plugin.alias);
  // From here on the node's plugin folder is no longer what the template holds.
  await writeFile(used, "");
  if (!found || !pristine) {
    await createPlugin(node, plugin.alias, build);
    if (node.record.template === "" && node.record.kind === "netns") await keepTemplate(`${nodeFolder(lab, node.name)}/docker/plugins`, templatePlace(rootfsKey, plugin.alias, build));
  }
  await node.docker("plugin", "set", plugin.alias, ...Object.entries(settingsFor(build, plugin.settings)).map(([name, value]) => `${name}=${value}`));
  await node.docker("plugin", "enable", ...(node.record.kind === "vm" ? ["--timeout", "180"] : []), plugin.alias);
  await writeFile(noteFile, note);
  return true;
}

async function listed(node: LabNode, alias: string): Promise<{ readonly Enabled: boolean } | undefined> {
  const list = pluginList.parse(await askDocker(`list the plugins of ${node.name}`, { socket: node.socket, method: "GET", path: "/plugins" }));
  return list.find((plugin) => plugin.Name === alias);
}

/** `-f`: the engine's own use count does not come back to 0 reliably. */
async function removePlugin(node: LabNode, alias: string): Promise<void> {
  await node.exec(["docker", "plugin", "disable", "-f", alias]);
  await node.docker("plugin", "rm", "-f", alias);
}

/** Streams the folder into the engine: nothing of it has to be visible in the node. */
export async function createPlugin(node: LabNode, alias: string, build: PluginBuild): Promise<void> {
  const tar = spawn("tar", ["-C", build.folder, "--numeric-owner", "-cf", "-", "config.json", "rootfs"], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise<number | null>((resolve) => tar.once("close", resolve));
  const path = `/plugins/create?name=${encodeURIComponent(alias)}`;
  await askDocker(`create the plugin ${alias} on ${node.name}`, { socket: node.socket, method: "POST", path, archive: tar.stdout, timeoutMs: 180_000 });
  if (await ended !== 0) throw new LabError(`Cannot create the plugin ${alias} on ${node.name}: ${build.folder} changed while it was read`, "repeat the command");
}

/** Copies a freshly created, never enabled plugin folder; of two nodes at once one wins. */
async function keepTemplate(source: string, place: string): Promise<void> {
  const half = `${place}.half-${process.pid}-${Math.trunc(performance.now() * 1000)}`;
  await mkdir(`${cacheFolder()}/lab-plugins`, { recursive: true });
  await must("keep a copy of the created plugin", "cp", ["-a", source, half]);
  await rename(half, place).catch(() => rm(half, { recursive: true, force: true }));
  await dropUnusedTemplates(`${cacheFolder()}/lab-plugins`);
}

async function dropUnusedTemplates(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const { mtimeMs } = await stat(`${folder}/${name}`);
    if (Date.now() - mtimeMs > UNUSED_MS) await rm(`${folder}/${name}`, { recursive: true, force: true });
  }
}
