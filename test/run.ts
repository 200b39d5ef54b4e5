/**
 * `./flannel-np test`: every check of the project, in order of cost, and one plain last line.
 *
 * In:  --full, --only.  Out: progress on stderr, "N passed, N failed" as the last line of stdout; exit 1 when anything failed.
 * Rule: what is counted really ran: lint and types count as one check each, tests as jest's own report counts them. A stage
 * that ends without a report is a failure. Contract suites must have run as many cases on the fake as on the kernel.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { execa } from "execa";
import { contractGaps, tally, type JestReport, type Tally } from "./tally.ts";

interface Stage {
  readonly name: string;
  readonly says: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly jest: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

const root = new URL("..", import.meta.url).pathname;
const jestArgs = (project: string, inBand: boolean): string[] => [
  "--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "node_modules/jest/bin/jest.js",
  "--selectProjects", project, ...(inBand ? ["--runInBand"] : []),
];
const bin = (name: string): string => join("node_modules", ".bin", name);
/** What is worth minutes of emulation: packets between kernels of their own, VIPs by IPVS, and what only a machine can do. */
const ON_MACHINES = "test/e2e/(10|90|96)-";
const STAGES: readonly Stage[] = [
  { name: "lint", says: "eslint, house rules in syntax", file: bin("eslint"), args: ["."], jest: false },
  { name: "types", says: "TypeScript, strict", file: bin("tsc"), args: ["-p", "tsconfig.json"], jest: false },
  { name: "unit", says: "pure code and fakes; no root, no Docker", file: process.execPath, args: jestArgs("unit", false), jest: true },
  { name: "build", says: "the plugin's folder", file: process.execPath, args: ["--import", "tsx", "packaging/build.ts"], jest: false },
  { name: "kernel", says: "contract suites on kernel, etcd, flanneld; needs root", file: process.execPath, args: jestArgs("kernel", true), jest: true },
  { name: "e2e", says: "real Docker Swarm nodes in the netns lab; needs root", file: process.execPath, args: jestArgs("e2e", true), jest: true },
  {
    name: "vm", says: "the same nodes as virtual machines with Debian's kernel (emulated, no KVM needed); needs root", file: process.execPath,
    args: [...jestArgs("e2e", true), "--testTimeout", "900000", "--testPathPatterns", ON_MACHINES], jest: true, env: { FNP_E2E_KIND: "vm", FNP_E2E_LAB: "e2evm" },
  },
];

async function main(): Promise<void> {
  const program = new Command("flannel-np test")
    .description("Runs every check of the project and prints \"N passed, N failed\" at the end.")
    .option("--full", "also the long ones: engine matrix, soak, thousands of starts")
    .option("--only <stages>", `comma list of ${STAGES.map(({ name }) => name).join(", ")}`)
    .parse();
  const { full, only } = program.opts<{ full?: boolean; only?: string }>();
  const wanted = only?.split(",");
  const unknown = wanted?.filter((name) => !STAGES.some((stage) => stage.name === name)) ?? [];
  if (unknown.length > 0) program.error(`error: there is no stage ${unknown.join(", ")}; choose from ${STAGES.map(({ name }) => name).join(", ")}`);
  const folder = await mkdtemp(join(tmpdir(), "flannel-np-test-"));
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const stage of STAGES) {
    if (wanted !== undefined && !wanted.includes(stage.name)) continue;
    const { passed, failed, skipped } = await run(stage, join(folder, `${stage.name}.json`), full === true);
    sum.passed += passed;
    sum.failed += failed;
    sum.skipped += skipped;
  }
  await rm(folder, { recursive: true });
  process.stdout.write(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ""}\n`);
  process.exitCode = sum.failed === 0 ? 0 : 1;
}

async function run(stage: Stage, report: string, full: boolean): Promise<Tally> {
  const startedAt = Date.now();
  process.stderr.write(`── ${stage.name}: ${stage.says}\n`);
  const args = [...stage.args, ...(stage.jest ? ["--json", `--outputFile=${report}`] : [])];
  const { exitCode } = await execa(stage.file, args, {
    cwd: root, reject: false, stdin: "ignore", stdout: stage.jest ? "ignore" : "inherit", stderr: "inherit",
    env: { FNP_TEST_FULL: full ? "1" : "", ...stage.env },
  });
  const counted = stage.jest ? await jestTally(report, exitCode ?? 1) : { passed: exitCode === 0 ? 1 : 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 };
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(0);
  process.stderr.write(`── ${stage.name}: ${counted.passed} passed, ${counted.failed} failed, ${counted.skipped} skipped in ${seconds} s\n`);
  return counted;
}

async function jestTally(path: string, exitCode: number): Promise<Tally> {
  const report = await readFile(path, "utf8").then((text) => JSON.parse(text) as JestReport).catch(() => undefined);
  if (report === undefined) {
    process.stderr.write("The stage ended without a report\n");
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const counted = tally(report);
  const gaps = contractGaps(report);
  for (const { name, fake, kernel } of gaps) process.stderr.write(`contract ${name}: ${fake} cases on the fake, ${kernel} on the real thing\n`);
  const unequal = gaps.filter(({ fake, kernel }) => fake !== kernel).length;
  const silent = exitCode !== 0 && counted.failed === 0 ? 1 : 0;
  return { ...counted, failed: counted.failed + unequal + silent };
}

await main();
