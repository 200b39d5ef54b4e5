/**
 * Keeps true: the plugin's code is a few files that need no node_modules beside them.
 * In: src/start.ts, src/cli/main.ts, and every module those name by `new URL("./x.ts", import.meta.url)` (main, threads). Out: one folder.
 * Rule: a file the code opens at run time is either bundled, copied here by name, or in the root file system already.
 */
import { cp, mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { build, type Plugin } from "esbuild";

/** Node of packaging/node/package.json. */
const TARGET = "node24";

/** koffi is copied whole beside the bundle; the other native modules are loaded if they are there, and none is needed. */
const EXTERNAL = ["koffi", "cpu-features", "*.node"];

/** CommonJS packages inside an ES module look for these names. */
const BANNER = [
  'import { createRequire as bundleRequire } from "node:module";',
  'import { fileURLToPath as bundlePath } from "node:url";',
  "const require = bundleRequire(import.meta.url);",
  'const __filename = bundlePath(import.meta.url), __dirname = bundlePath(new URL(".", import.meta.url)).slice(0, -1);',
].join("\n");

/** Bundles into `folder`: start.js, main.js, cli.js, one file per thread, and in `folder/..` what etcd3 looks for there. */
export async function bundle(checkout: string, folder: string): Promise<void> {
  const source = join(checkout, "src");
  const waiting = new Map([["start", join(source, "start.ts")], ["cli", join(source, "cli/main.ts")]]);
  const made = new Set<string>();
  while (waiting.size > 0) {
    const entryPoints = Object.fromEntries(waiting);
    for (const name of waiting.keys()) made.add(name);
    waiting.clear();
    const threads = await pack(source, entryPoints, folder);
    for (const [name, path] of threads) if (!made.has(name)) waiting.set(name, path);
  }
  await copyDefinitions(checkout, folder);
  await copyKoffi(checkout, join(folder, "node_modules"));
}

async function pack(source: string, entryPoints: Record<string, string>, folder: string): Promise<ReadonlyMap<string, string>> {
  const threads = new Map<string, string>();
  await build({
    entryPoints, outdir: folder, bundle: true, platform: "node", format: "esm", target: TARGET, external: EXTERNAL,
    minifySyntax: true, minifyWhitespace: true, legalComments: "none", banner: { js: BANNER }, logLevel: "silent",
    define: { "process.env.NODE_ENV": '"production"' }, plugins: [threadFiles(source, threads)],
  }).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot bundle the plugin's code: ${reason}\n  Cure: npm ci, then npm run typecheck shows what is wrong`, { cause });
  });
  return threads;
}

/** A module named by address is a file of its own at run time: `sinks/dns/worker.ts` becomes `sinks-dns-worker.js` beside main.js. */
function threadFiles(source: string, threads: Map<string, string>): Plugin {
  return {
    name: "thread-files",
    setup(builder) {
      builder.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        if (relative(source, path).startsWith("..")) return undefined;
        const text = await readFile(path, "utf8");
        const contents = text.replace(/new URL\("(\.{1,2}\/[^"]+)\.ts", import\.meta\.url\)/g, (_, target: string) => {
          const file = join(dirname(path), `${target}.ts`);
          const name = relative(source, file).replace(/\.ts$/, "").replaceAll("/", "-");
          threads.set(name, file);
          return `new URL("./${name}.js", import.meta.url)`;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}

/** etcd3 and dockerode read their protocol definitions from paths relative to the bundle's folder. */
async function copyDefinitions(checkout: string, folder: string): Promise<void> {
  const resolve = createRequire(join(checkout, "package.json")).resolve;
  const etcd = join(dirname(resolve("etcd3/package.json")), "proto");
  const docker = join(dirname(resolve("dockerode/package.json")), "lib/proto");
  await mkdir(folder, { recursive: true });
  await cp(etcd, join(folder, "../proto"), { recursive: true });
  await cp(docker, join(folder, "proto"), { recursive: true });
}

/** koffi finds its native file by package name, one package per processor; of the two C libraries the base has glibc. */
async function copyKoffi(checkout: string, modules: string): Promise<void> {
  const koffi = dirname(createRequire(join(checkout, "package.json")).resolve("koffi"));
  const native = `koffi-linux-${process.arch}`;
  const binary = `linux_${process.arch}/koffi.node`;
  const files: readonly (readonly [from: string, name: string, file: string])[] = [
    ...["package.json", "index.js", "src/koffi/index.js", "src/koffi/src/static.js"].map((file) => [koffi, "koffi", file] as const),
    ...["package.json", "index.js", binary].map((file) => [join(koffi, "../@koromix", native), `@koromix/${native}`, file] as const),
  ];
  for (const [from, name, file] of files) {
    await mkdir(dirname(join(modules, name, file)), { recursive: true });
    await cp(join(from, file), join(modules, name, file));
  }
}
