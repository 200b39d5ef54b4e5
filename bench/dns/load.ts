/**
 * Keeps true: both servers are asked by the same programs: a small one of ours in C for latencies, Debian's dnsperf for a second opinion.
 * In: whom to ask, from where. Out: queries per second, latencies in microseconds.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { LabError } from "../../lab/errors.ts";

const run = promisify(execFile);

export interface Load { readonly qps: number; readonly p50: number; readonly p99: number; readonly p999: number; readonly done: number; readonly lost: number; readonly wrong: number }

export class Loads {
  readonly #folder: string;

  static async make(names: number): Promise<Loads> {
    const folder = await mkdtemp(join(tmpdir(), "fnp-bench-dns-"));
    await run("gcc", ["-O2", "-o", join(folder, "dnsload"), join(import.meta.dirname, "dnsload.c")]).catch((cause: unknown) => {
      throw new LabError(`Cannot build the load generator: ${String(cause)}`, "apt-get install gcc libc6-dev");
    });
    await run("dnsperf", ["-h"]).catch((cause: unknown) => {
      if (typeof cause === "object" && cause !== null && "code" in cause && cause.code === "ENOENT") throw new LabError("Cannot measure with dnsperf: it is not installed", "apt-get install dnsperf");
    });
    await writeFile(join(folder, "names"), Array.from({ length: names }, (_, n) => `n${(n * 7_919) % names} A\n`).join(""));
    return new Loads(folder);
  }

  constructor(folder: string) { this.#folder = folder; }

  /** From inside all of these containers at once, `outstanding` queries in all. */
  async udp(places: readonly string[], seconds: number, outstanding: number, names: number): Promise<Load> {
    const { stdout } = await run(join(this.#folder, "dnsload"), ["127.0.0.11", "53", String(seconds), String(outstanding), String(names), ...places]);
    const load = JSON.parse(stdout) as Load;
    if (load.wrong > 0) throw new LabError(`Cannot measure: ${load.wrong} of ${load.done} answers were none`, "see what answers there: dig @127.0.0.11 n0");
    return load;
  }

  /** Queries per second as dnsperf counts them. */
  async dnsperf(netns: string, transport: "udp" | "tcp", seconds: number): Promise<number> {
    const clients = transport === "tcp" ? ["-m", "tcp", "-c", "4"] : ["-c", "1"];
    const { stdout } = await run("nsenter", [`--net=${netns}`, "--", "dnsperf", "-s", "127.0.0.11", "-d", join(this.#folder, "names"), "-l", String(seconds), "-q", "48", "-T", "1", ...clients]);
    return Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1]);
  }

  async remove(): Promise<void> { await rm(this.#folder, { recursive: true, force: true }); }
}
