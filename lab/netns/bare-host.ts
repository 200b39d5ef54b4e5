/**
 * Keeps true: a bare host is a network namespace on the lab's wire and nothing else: this machine's programs, the lab's network.
 * In: lab, name. Out: commands run there. Rule: only the network differs from this machine.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { run } from "../run.ts";
import type { Output, RunOptions } from "../run.ts";
import { namespacePath, setCable } from "./network.ts";

export class LabHost {
  readonly name: string;
  readonly address: string;
  readonly #lab: string;

  constructor(lab: string, name: string, address: string) {
    [this.#lab, this.name, this.address] = [lab, name, address];
  }

  get netns(): string { return namespacePath(this.#lab, this.name); }

  async exec(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
    return run("nsenter", [`--net=${this.netns}`, "--", ...argv], options);
  }

  /** A long-running program; it ends with the lab at the latest. */
  spawn(argv: readonly string[]): ChildProcess {
    return spawn("nsenter", [`--net=${this.netns}`, "--", ...argv], { stdio: ["ignore", "pipe", "pipe"] });
  }

  async linkDown(): Promise<void> { await setCable(this.#lab, this.name, "down"); }
  async linkUp(): Promise<void> { await setCable(this.#lab, this.name, "up"); }
}
