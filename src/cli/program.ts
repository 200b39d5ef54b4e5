/**
 * The command line as a whole: every verb, its options, its help, one way to fail.
 *
 * In:  arguments and a terminal.  Out: the exit status.
 * Rule: `run` never throws and never ends the process; what a verb does is in the file of its name.
 */
import { Command, CommanderError, Option } from "commander";
import { dnsVerbs } from "./dns.ts";
import { events, type EventsOptions } from "./events.ts";
import { CliError, type ExitStatus } from "./failure.ts";
import { ipamCheck, ipamShow, type IpamOptions } from "./ipam.ts";
import { plan } from "./plan.ts";
import { reconcile } from "./reconcile.ts";
import { status } from "./status.ts";
import { vipList, type VipOptions } from "./vip.ts";
import { asking, type Terminal, type VerbOptions } from "./verb.ts";

/** Verbs of the launcher script: programs of their own, named here so that one help shows all. */
const OF_THE_LAUNCHER: readonly (readonly [verb: string, says: string])[] = [
  ["build", "build the plugin folder that `docker plugin create` takes"],
  ["lab", "whole swarms on this one machine: up, exec, status, down"],
  ["test", "install what the tests need and run them"],
  ["bench", "measure beside the rivals and print the ratios"],
];

const EXAMPLES = `
Examples:
  flannel-np status                      is this node well?
  flannel-np status --node node2         the same for a node of a lab
  flannel-np plan firewall flannel       what would be changed, and why
  flannel-np reconcile                   look at everything now
  flannel-np events --follow --level warn
  flannel-np dns query web --as front    what does this container get for web, and from whom?`;

export async function run(args: readonly string[], terminal: Terminal): Promise<ExitStatus> {
  const result: { status: ExitStatus } = { status: 0 };
  try {
    await programFor(terminal, (exit) => { result.status = exit; }).parseAsync(args, { from: "user" });
    return result.status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const { message, cure } = error instanceof CliError ? error : new CliError(String(error), "This is a bug of flannel-np; please report it");
    terminal.err(`${message}.\n${cure}.\n`);
    return 2;
  }
}

function programFor(terminal: Terminal, done: (exit: ExitStatus) => void): Command {
  const program = new Command("flannel-np")
    .description("Docker Swarm networking by flannel: look at a node's operator and steer it.")
    .exitOverride().configureOutput({ writeOut: (text) => { terminal.out(text); }, writeErr: (text) => { terminal.err(text); } })
    .showHelpAfterError("Add --help to see what is possible.").addHelpText("after", EXAMPLES);
  asking(program.command("status")).description("sources, networks, reconcilers, problems and their cures")
    .action(async (options: VerbOptions) => { done(await status(options, terminal)); });
  asking(program.command("reconcile")).description("run all reconcilers, or those named, now; wait for the outcome")
    .argument("[names...]", "e.g. firewall flannel; none means all")
    .action(async (names: readonly string[], options: VerbOptions) => { done(await reconcile(names, options, terminal)); });
  asking(program.command("plan")).description("what a run would change and why; changes nothing")
    .argument("[names...]", "e.g. firewall flannel; none means all")
    .action(async (names: readonly string[], options: VerbOptions) => { done(await plan(names, options, terminal)); });
  asking(program.command("events")).description("the event log of this life of the operator")
    .option("--after <seq>", "only events after this sequence number")
    .option("--follow", "go on as new events come, until interrupted")
    .addOption(new Option("--level <level>", "this level and those above it").choices(["error", "warn", "info", "debug"]))
    .action(async (options: EventsOptions) => { done(await events(options, terminal)); });
  dnsVerbs(program, terminal, done);
  const ipam = program.command("ipam").description("addresses: how many each range has, what nobody needs");
  asking(ipam.command("show").description("capacity, used, resting and leaked addresses, per network and node"))
    .action(async (options: VerbOptions) => { done(await ipamShow(options, terminal)); });
  asking(ipam.command("check").description("what is leaked or held twice, and why; changes nothing without --fix"))
    .option("--fix", "let leaked addresses rest, so that they can be given again")
    .action(async (options: IpamOptions) => { done(await ipamCheck(options, terminal)); });
  const vip = program.command("vip").description("virtual IPs of services: who serves behind them");
  asking(vip.command("list").description("servers behind each VIP, their connections, and where the kernel differs").argument("[service]", "this service's, or this VIP, alone"))
    .option("--all-nodes", "of every node of the swarm, what they do differently, and which did not answer (asked through etcd)")
    .action(async (service: string | undefined, options: VipOptions) => { done(await vipList(service, options, terminal)); });
  for (const [verb, says] of OF_THE_LAUNCHER) launcherVerb(program, verb, says);
  return program;
}

function launcherVerb(program: Command, verb: string, says: string): void {
  program.command(verb).description(says).argument("[arguments...]").allowUnknownOption().helpOption(false).action(() => {
    throw new CliError(`Cannot run ${verb} from here: it belongs to the source tree`, `In a checkout run: ./flannel-np ${verb} --help`);
  });
}
