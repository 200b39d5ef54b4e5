/**
 * What every verb that asks an operator has in common: where it writes, whom it asks, table or JSON.
 *
 * Rule: results go to stdout, everything else to stderr; a verb returns its exit status and never ends the process.
 */
import { Option, type Command } from "commander";
import { PLACES, type Places, type TargetOptions } from "./target.ts";

export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Milliseconds since 1970. */
  now(): number;
  readonly places: Places;
}

export interface VerbOptions extends TargetOptions { readonly output: "table" | "json" }

/** Longest wait for an answer that is made at once, and for one that waits for the reconcilers. */
export const ANSWER_MS = 10_000;
export const RUN_MS = 180_000;

export const EXIT_STATUS = `
Exit status: 0 all is well, 1 something needs you, 2 the operator could not be asked.`;

/** Adds the options that choose operator and format. */
export const asking = (command: Command): Command => command
  .option("--socket <path>", `debug socket of the operator (default: ${PLACES.socket})`)
  .option("--node <name>", "ask a node of a lab on this machine, e.g. node1")
  .option("--lab <id>", "the lab of --node; needed only when several labs have such a node")
  .addOption(new Option("-o, --output <format>", "table for people, json for programs").choices(["table", "json"]).default("table"))
  .addHelpText("after", EXIT_STATUS);

export const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** `1 change`, `2 changes`. */
export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
