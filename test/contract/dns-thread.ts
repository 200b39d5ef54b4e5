/** The answering thread's code as Node 20 can run it: jest and tsx transform TypeScript in their own thread alone. */
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";

const ROOT = join(import.meta.dirname, "../..");

/** One file, bundled beside the packages that it loads. */
export async function threadFile(): Promise<URL> {
  const folder = join(dirname(createRequire(join(ROOT, "package.json")).resolve("koffi")), "../.cache/dns-thread");
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `${process.pid}.mjs`);
  const banner = 'import { createRequire as bundleRequire } from "node:module"; const require = bundleRequire(import.meta.url);';
  await build({
    entryPoints: [join(ROOT, "src/sinks/dns/worker.ts")], bundle: true, platform: "node", format: "esm", target: "node20", external: ["koffi"], banner: { js: banner }, outfile, logLevel: "silent",
  });
  return pathToFileURL(outfile);
}
