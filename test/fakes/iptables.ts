/**
 * iptables' filter table in both flavours, in memory: `iptables-save` text comes out, `iptables-restore --noflush` text goes in.
 *
 * Rule: a restore is one transaction: a rule that leads to a missing chain, a removal of an absent rule or of a chain in use
 *       undoes all of it, as both flavours do.
 */
import { OperatorError } from "../../src/core/errors.ts";
import type { Command, Exec, Output } from "../../src/sinks/exec.ts";
import { acceptChain, type AcceptChainChange, type Flavour, type ObservedAcceptChain } from "../../src/sinks/iptables.ts";
import type { Sink } from "../../src/core/reconciler.ts";

const BUILT_IN = ["INPUT", "FORWARD", "OUTPUT"];
type Filter = Map<string, string[]>;
const fresh = (): Filter => new Map(BUILT_IN.map((chain) => [chain, []]));

export class FakeIptables {
  readonly chain: Sink<ObservedAcceptChain, AcceptChainChange>;
  readonly #filters = new Map<Flavour, Filter>([["nft", fresh()]]);

  constructor() {
    this.chain = acceptChain(this.#exec, () => Promise.resolve(this.#filters.has("legacy") ? "filter\n" : ""));
  }

  /** What a person or Docker does: one or more lines as for `iptables-restore --noflush`. */
  by(flavour: Flavour, ...lines: readonly string[]): void {
    const { stderr } = this.#restore(flavour, lines.join("\n"));
    if (stderr !== "") throw new Error(stderr);
  }

  save(flavour: Flavour): string {
    const filter = this.#filters.get(flavour) ?? fresh();
    const rules = [...filter].flatMap(([chain, list]) => list.map((rule) => `-A ${chain} ${rule}`));
    return ["*filter", ...[...filter.keys()].map((chain) => `:${chain} ${BUILT_IN.includes(chain) ? "ACCEPT" : "-"} [0:0]`), ...rules, "COMMIT", ""].join("\n");
  }

  readonly #exec: Exec = (command: Command): Promise<Output> => {
    const [, flavour, verb] = /^iptables-(nft|legacy)-(save|restore)$/.exec(command.file) ?? [];
    if (flavour !== "nft" && flavour !== "legacy") return Promise.reject(new OperatorError("unsupported", `Cannot run ${command.file}: it is not installed`));
    return Promise.resolve(verb === "save" ? { exitCode: 0, stdout: this.save(flavour), stderr: "" } : this.#restore(flavour, command.stdin ?? ""));
  };

  #restore(flavour: Flavour, text: string): Output {
    const draft: Filter = new Map([...(this.#filters.get(flavour) ?? fresh())].map(([chain, rules]) => [chain, [...rules]]));
    for (const [index, line] of text.split("\n").entries()) {
      if (!step(draft, line)) return { exitCode: 2, stdout: "", stderr: `Error occurred at line: ${index + 1}` };
    }
    this.#filters.set(flavour, draft);
    return { exitCode: 0, stdout: "", stderr: "" };
  }
}

/** Carries out one line; false where iptables refuses it. */
function step(filter: Filter, line: string): boolean {
  const [, declared] = /^:(\S+) /.exec(line) ?? [];
  if (declared !== undefined) { filter.set(declared, BUILT_IN.includes(declared) ? filter.get(declared) ?? [] : []); return true; }
  const [, verb, chain = "", rest = ""] = /^-([AIDFXN]) (\S+) ?(.*)$/.exec(line) ?? [];
  if (verb === undefined) return true;
  if (verb === "N") { filter.set(chain, []); return true; }
  const rules = filter.get(chain);
  if (rules === undefined) return false;
  if (verb === "F") { rules.length = 0; return true; }
  if (verb === "X") return rules.length === 0 && !inUse(filter, chain) && filter.delete(chain);
  if (verb === "D") return rules.includes(rest) && rules.splice(rules.indexOf(rest), 1).length === 1;
  return insert(filter, rules, verb, rest);
}

function insert(filter: Filter, rules: string[], verb: string, rest: string): boolean {
  const [, position = "1", rule = ""] = verb === "A" ? ["", String(rules.length + 1), rest] : /^(?:(\d+) )?(.*)$/.exec(rest) ?? [];
  const target = /-j (\S+)$/.exec(rule)?.[1] ?? "";
  if (!["ACCEPT", "DROP", "RETURN"].includes(target) && !filter.has(target)) return false;
  if (Number(position) > rules.length + 1) return false;
  rules.splice(Number(position) - 1, 0, rule);
  return true;
}

const inUse = (filter: Filter, chain: string): boolean => [...filter.values()].flat().some((rule) => rule.endsWith(`-j ${chain}`));
