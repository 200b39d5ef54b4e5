/**
 * Keeps true: one command measures everything the project promises about speed and cost, and can renew its page.
 * In: the command line. Out: figures on stdout, progress on stderr; with --write docs/performance.md.
 * Rule: figures are shown, never asserted: a missed goal is no failure of the command.
 */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError, Option } from "commander";
import { LabError, textOf } from "../lab/errors.ts";
import type { Lab } from "../lab/lab.ts";
import { findLab, openLab } from "../lab/lab.ts";
import { print, progress } from "../lab/verbs/output.ts";
import type { Bed } from "./bed.ts";
import type { Benchmark } from "./benchmark.ts";
import { containerStart } from "./container-start.ts";
import { dns } from "./dns/dns.ts";
import { nameFollows } from "./dns/name-follows.ts";
import { driverCalls } from "./driver-calls.ts";
import { firstPacketBench } from "./first-packet.ts";
import { idle } from "./idle.ts";
import { loadNow, machineFacts } from "./machine.ts";
import { many } from "./many.ts";
import { memory } from "./memory.ts";
import type { Result } from "./report.ts";
import { asJson, asPage, asTable, machineLine } from "./report.ts";
import { throughput } from "./throughput.ts";
import { vip } from "./vip/vip.ts";

const ALL: readonly Benchmark[] = [idle, driverCalls, containerStart, firstPacketBench, throughput, dns, nameFollows, vip, memory, many];
const PAGE = fileURLToPath(new URL("../docs/performance.md", import.meta.url));
/** Room for containers that come faster than freed addresses have rested. */
const SETTINGS = { LOG_LEVEL: "debug", DEFAULT_HOST_SUBNET_SIZE: "23", NETWORK_SUBNET_SIZE: "19" };

interface Options {
  readonly only: readonly Benchmark[];
  readonly output: "table" | "json";
  readonly write: boolean;
  readonly lab: string;
  readonly keep: boolean;
  readonly plugin?: string;
}

function chosen(list: string): readonly Benchmark[] {
  return list.split(",").map((name) => {
    const found = ALL.find((benchmark) => benchmark.name === name.trim());
    if (found) return found;
    throw new InvalidArgumentError(`There are: ${ALL.map((benchmark) => benchmark.name).join(", ")}.`);
  });
}

async function labFor({ lab: id, keep, plugin }: Options): Promise<Lab> {
  const standing = keep ? await findLab(id) : undefined;
  if (standing) return standing;
  const settings = { plugin: { settings: SETTINGS } };
  return openLab({ id, progress, nodes: [{ engine: "28", ...settings }, { engine: "20.10", ...settings }], ...(plugin === undefined ? {} : { pluginFolder: plugin }) });
}

async function measure(bed: Bed, benchmarks: readonly Benchmark[]): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const benchmark of benchmarks) {
    progress(benchmark.title);
    const before = loadNow();
    const figures = await benchmark.run(bed);
    results.push({ benchmark, figures, load: [before, loadNow()] });
  }
  return results;
}

async function bench(options: Options): Promise<void> {
  if (options.write && options.only.length < ALL.length) throw new LabError("Cannot write the page from some of the benchmarks", "leave --only or --write out");
  const loadBefore = loadNow();
  const lab = await labFor(options);
  try {
    const bed = { lab, manager: lab.node("node1"), worker: lab.node("node2"), progress };
    const results = await measure(bed, options.only);
    const machine = await machineFacts(lab, loadBefore);
    print(options.output === "json" ? asJson(machine, results) : `${asTable(results)}\n\n${machineLine(machine)}`);
    if (options.write) await writeFile(PAGE, asPage(machine, results));
  } finally {
    if (!options.keep) await lab.down();
  }
}

const program = new Command("npm run bench --").description("Measure the plugin beside its rivals in a lab of its own. Needs root and a build: ./flannel-np build.")
  .addOption(new Option("--only <names>", `some of: ${ALL.map(({ name }) => name).join(", ")}`).argParser(chosen).default(ALL, "all"))
  .addOption(new Option("-o, --output <format>", "how to print the figures").choices(["table", "json"]).default("table"))
  .option("--write", "renew docs/performance.md", false)
  .option("--lab <id>", "the lab's id", "bench")
  .option("--keep", "use a lab of that id that stands, and leave it standing", false)
  .option("--plugin <folder>", "another build than build/plugin")
  .action(bench);
try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${textOf(error)}\n`);
  if (error instanceof LabError) process.stderr.write(`  Cure: ${error.cure}\n`);
  process.exitCode = 1;
}
