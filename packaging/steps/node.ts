/**
 * Keeps true: the plugin runs on one pinned Node, checked against the lock file's checksum.
 * In: packaging/node/{package.json,package-lock.json,.npmrc}. Out: the program, without symbols where `strip` is there.
 * Rule: the package manager decides by this machine's processor which of the pinned packages it takes.
 */
import { chmod, cp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Recipe } from "../cache.ts";
import { hasProgram, run } from "../run.ts";

const FOLDER = join(import.meta.dirname, "../node");
const FILES = ["package.json", "package-lock.json", ".npmrc"] as const;

export async function nodeRecipe(): Promise<Recipe> {
  const pins = await Promise.all(FILES.map((name) => readFile(join(FOLDER, name), "utf8")));
  return {
    kind: "node",
    ingredients: [process.arch, ...pins, await readFile(import.meta.filename, "utf8")],
    async make(folder) {
      const install = join(folder, "install");
      for (const name of FILES) await cp(join(FOLDER, name), join(install, name));
      await run("npm", ["ci", "--ignore-scripts"], { cwd: install, cure: "check that the machine reaches its npm registry (npm ping), then build again" });
      const program = join(folder, "node");
      await rename(join(install, `node_modules/${packageName()}/bin/node`), program);
      await rm(install, { recursive: true });
      await chmod(program, 0o755);
      if (await hasProgram("strip")) await run("strip", [program]);
      await run(program, ["--version"]);
    },
  };
}

function packageName(): string {
  if (process.arch === "x64" || process.arch === "arm64") return `node-linux-${process.arch}`;
  throw new Error(`Cannot build the plugin for ${process.arch}: there is no Node package for it\n  Cure: build on an x64 or arm64 machine`);
}
