/**
 * Keeps true: the host has the programs the build needs, and its own package sources are the only ones used.
 * In: os-release, apt's configuration, PATH. Out: programs that are there; the sources of the host's distribution.
 * Rule: no host name, mirror or suite is written in code.
 */
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { hasProgram, run } from "./run.ts";
import type { Progress } from "./progress.ts";

/** The host's distribution as apt knows it. */
export interface Distribution {
  /** main suite, e.g. "bookworm" */
  readonly suite: string;
  /** address of the archive the main suite comes from */
  readonly mirror: string;
  /** file with the keys the archive is signed with */
  readonly keyring: string;
  /** one-line apt sources of the suite, its updates and its security fixes, sorted */
  readonly sources: readonly string[];
}

interface Target {
  readonly uri: string;
  readonly suite: string;
  readonly component: string;
}

/** Makes sure that the programs can be run; `wanted` maps program → packages that bring it. Only root may install. */
export async function needPrograms(wanted: Readonly<Record<string, readonly string[]>>, progress: Progress): Promise<void> {
  const missing: string[] = [];
  for (const name of Object.keys(wanted)) if (!(await hasProgram(name))) missing.push(name);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((name) => wanted[name] ?? []))];
  const cure = `apt-get install ${packages.join(" ")}`;
  if (process.getuid?.() !== 0 || !(await hasProgram("apt-get"))) {
    throw new Error(`Cannot build the plugin: this machine lacks ${missing.join(", ")}\n  Cure: as root, ${cure}`);
  }
  await progress.step(`installing ${packages.join(" ")}`, async () => {
    await run("apt-get", ["-q", "update"]);
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run("apt-get", ["-qy", "install", "--no-install-recommends", ...packages], { env, cure: `${cure}, then build again` });
  });
}

export function needRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new Error("Cannot build the plugin: its root file system needs device nodes and foreign owners\n  Cure: run the build as root, e.g. sudo ./flannel-np build");
}

/** Reads the distribution from /etc/os-release and apt's configuration. */
export async function distribution(): Promise<Distribution> {
  const release = parseRelease(await readFile("/etc/os-release", "utf8"));
  const format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
  const listed = await run("apt-get", ["indextargets", "--no-release-info", "--format", format, "Created-By: Packages"]);
  const found = parseTargets(listed).filter((each) => each.suite === release.codename || each.suite.startsWith(`${release.codename}-`));
  const main = found.find((each) => each.suite === release.codename && each.component === "main");
  if (main === undefined) {
    throw new Error(
      `Cannot build the base: apt has no source for ${release.codename} main\n  Cure: add the archive of your distribution to /etc/apt/sources.list.d, by code name (${release.codename}), then run apt-get update`,
    );
  }
  const keyring = `/usr/share/keyrings/${release.id}-archive-keyring.gpg`;
  if (!existsSync(keyring)) {
    throw new Error(`Cannot build the base: the keys of the archive are missing (${keyring})\n  Cure: as root, apt-get install ${release.id}-archive-keyring or ${release.id}-keyring`);
  }
  return { suite: main.suite, mirror: main.uri, keyring, sources: sourceLines(found, release.codename) };
}

/** ID and VERSION_CODENAME of an os-release file (os-release(5)). */
export function parseRelease(text: string): { readonly id: string; readonly codename: string } {
  const value = (name: string): string => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  const release = { id: value("ID"), codename: value("VERSION_CODENAME") };
  if (release.id !== "" && release.codename !== "") return release;
  throw new Error("Cannot build the base: /etc/os-release names no distribution with a code name\n  Cure: build on Debian or Ubuntu");
}

/** Lines "address|suite|component" as `apt-get indextargets` prints them. */
export function parseTargets(text: string): readonly Target[] {
  return text.split("\n").flatMap((line) => {
    const [uri, suite, component] = line.split("|");
    return uri === undefined || suite === undefined || component === undefined || uri === "" ? [] : [{ uri, suite, component }];
  });
}

/** Only the suite itself, its updates and its security fixes: backports and proposed packages are a choice the host made for itself. */
function sourceLines(targets: readonly Target[], codename: string): readonly string[] {
  const wanted = new Set([codename, `${codename}-updates`, `${codename}-security`]);
  const lines = targets.filter((each) => wanted.has(each.suite)).map((each) => `deb ${each.uri} ${each.suite} ${each.component}`);
  return [...new Set(lines)].sort();
}
