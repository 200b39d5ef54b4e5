/**
 * Keeps true: every verb of the lab explains itself, and every failure says what to do next.
 * In: the command line. Out: the verb's result, exit code 1 on failure, 2 on a wrong command line. Rule: wiring only.
 */
import { Command, CommanderError, Option } from "commander";
import { LabError, textOf } from "./errors.ts";
import { completePath, requireRoot } from "./host.ts";
import { labId } from "./plan.ts";
import { removeLab } from "./remove.ts";
import { withLab } from "./state.ts";
import { LOGS, exec, logs } from "./verbs/look.ts";
import type { LogName } from "./verbs/look.ts";
import type { Format } from "./verbs/output.ts";
import { print, progress } from "./verbs/output.ts";
import { status } from "./verbs/status.ts";
import { up } from "./verbs/up.ts";
import type { UpOptions } from "./verbs/up.ts";

const ABOUT = "A Docker Swarm of real engines on this one machine, apart from its own Docker and network.";
const MORE = `
Each node is a Debian system of its own, in namespaces of this kernel or in a virtual machine, with its own containerd and dockerd.
Nodes share a LAN (10.99.0.0/24) with an etcd (10.99.0.250) and a router to one host outside (198.51.100.10);
nothing leads from there to this machine's network. Needs root.

Examples:
  ./flannel-np lab up                              two nodes of engine 28, the plugin, a proof that it works
  ./flannel-np lab up --nodes 3 --engine 28,20.10  a manager of engine 28, two workers of engine 20.10
  ./flannel-np lab up --lab vm --kind vm           two virtual machines instead, software emulation is enough
  ./flannel-np lab exec node1 -- docker node ls
  ./flannel-np lab down`;

const labOption = (): Option => new Option("--lab <id>", "which lab: small letters and digits").default("demo");
const outputOption = (): Option => new Option("-o, --output <format>", "how to print the result").choices(["table", "json"]).default("table");

function addUp(program: Command): void {
  program.command("up").description("Make a lab, or finish and repair one; then show that it works. Safe to repeat.")
    .option("--nodes <count>", "number of nodes, 1 to 40 (default: 2, or as the lab is)")
    .option("--engine <list>", "20.10, 26 or 28; a comma list gives one per node, the last one repeats (default: 28, or as the lab is)")
    .addOption(new Option("--kind <kind>", "namespaces of this kernel, or virtual machines with Debian's (real IPVS, reboots)").choices(["netns", "vm"]))
    .option("--kernel <version>", "of virtual machines: 6.1 (default) or 6.12")
    .option("--set <NAME=value>", "a setting of the plugin, may be repeated", (pair: string, before: string[]) => [...before, pair], [])
    .option("--no-plugin", "engines, image and etcd alone: no plugin, no proof")
    .addOption(labOption()).addOption(outputOption())
    .addHelpText("after", "\nThe first time it builds a root file system per engine (1 to 2 minutes each) in /var/cache/flannel-np (FLANNEL_NP_CACHE).\n" +
      "Missing Debian packages of this machine are installed by apt; no service is started.")
    .action((options: UpOptions) => up(options));
}

function addLooks(program: Command): void {
  program.command("exec").description("Run a command in a node (or on the bare host 'outside'), with this terminal's streams and the command's exit code.")
    .argument("<node>", "node1, node2, … or outside").argument("[command...]", "after --")
    .addOption(labOption())
    .action((node: string, command: string[], options: { lab: string }) => exec(node, command, options));
  program.command("status").description("Show nodes, engines, swarm, plugin and etcd. Exit code 1 when something is off.")
    .addOption(labOption()).addOption(outputOption())
    .action((options: { lab: string; output: Format }) => status(options));
  program.command("logs").description("Show a log of a node; 'plugin' picks the plugin's lines out of dockerd's.")
    .argument("<node>", "node1, node2, … or etcd").addArgument(program.createArgument("[log]", "which one").choices(LOGS).default("dockerd"))
    .option("-f, --follow", "go on as it grows", false).option("-n, --lines <count>", "the last lines, or 'all'", "200")
    .addOption(labOption())
    .action((node: string, log: LogName, options: { lab: string; follow: boolean; lines: string }) => logs(node, log, options));
}

function addDown(program: Command): void {
  program.command("down").description("Remove a lab with everything it has, whatever state a crash left it in. Caches stay.")
    .addOption(labOption()).addOption(outputOption())
    .action(async (options: { lab: string; output: Format }) => {
      requireRoot();
      completePath();
      progress(`removing lab ${labId(options.lab)}`);
      await withLab(options.lab, progress, () => removeLab(options.lab));
      print(options.output === "json" ? JSON.stringify({ lab: options.lab, removed: true }) : `Lab ${options.lab} is gone.`);
    });
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  process.stderr.write(`${textOf(error)}\n`);
  if (error instanceof LabError) process.stderr.write(`  Cure: ${error.cure}\n`);
  return 1;
}

const program = new Command("flannel-np lab").description(ABOUT).addHelpText("after", MORE).exitOverride().showHelpAfterError("(--help shows what there is)");
addUp(program);
addLooks(program);
addDown(program);
program.commands.forEach((command) => command.exitOverride().showHelpAfterError("(--help shows what there is)"));
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
