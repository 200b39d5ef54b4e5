/**
 * One chain in iptables' filter table that accepts our traffic, because Docker's FORWARD policy drops by default (design D16).
 *
 * In:  `AcceptChainChange`s.  Out: `ObservedAcceptChain`, in the flavour that the host's Docker uses.
 * Rule: our chain and the jump to it, nothing else; a flavour that is not in use is not even read, because reading
 *       iptables-legacy creates its tables.
 */
import { readFile } from "node:fs/promises";
import { OperatorError } from "../core/errors.ts";
import type { Sink } from "../core/reconciler.ts";
import { expectSuccess, type Exec } from "./exec.ts";
import {
  flavoursOf, observedChain, parseFilterTable, renderChain, renderRemoval, type FilterTable, type Worlds,
} from "./iptables/chain.ts";
import type { AcceptChainChange, Flavour, ObservedAcceptChain } from "./iptables/vocabulary.ts";
import { codeOf } from "./sysctls.ts";

export type { AcceptChainChange, Flavour, ObservedAcceptChain } from "./iptables/vocabulary.ts";

const TIMEOUT_MS = 20_000;
/** Longest wait for the lock of iptables-legacy, in seconds; the nft flavour takes the option and needs no lock. */
const LOCK_WAIT_SECONDS = "10";
/** iptables-nft 1.8.9, exit code 0: the table holds rules that only nft can show. */
const UNREADABLE = /^# Table `filter' is incompatible/m;

/** Text of /proc/net/ip_tables_names: tables that iptables-legacy has in this namespace. */
export type LegacyTables = () => Promise<string>;

/** A kernel without the legacy tables has no such file. */
export const legacyTablesIn = (path: string): LegacyTables => async () => {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw new OperatorError("unavailable", `Cannot read ${path}: ${codeOf(error)}`, { cause: error });
  }
};

export function acceptChain(exec: Exec, legacyTables: LegacyTables): Sink<ObservedAcceptChain, AcceptChainChange> {
  const look = async (signal: AbortSignal): Promise<Worlds> => {
    const worlds = new Map<Flavour, FilterTable>([["nft", await save(exec, "nft", signal)]]);
    const legacy = (await legacyTables()).split("\n").includes("filter");
    return legacy ? worlds.set("legacy", await save(exec, "legacy", signal)) : worlds;
  };
  return {
    observe: async (signal) => observedChain(await look(signal)),
    apply: async (changes, signal) => {
      const last = changes.at(-1);
      if (last === undefined) return;
      const worlds = await look(signal);
      const wanted = last.op === "delete" ? [] : flavoursOf(worlds);
      for (const [flavour, table] of worlds) {
        const stdin = wanted.includes(flavour) ? renderChain(table) : renderRemoval(table);
        if (stdin !== undefined) await restore(exec, flavour, stdin, signal);
      }
    },
  };
}

async function save(exec: Exec, flavour: Flavour, signal: AbortSignal): Promise<FilterTable> {
  const output = await exec({ file: `iptables-${flavour}-save`, args: ["-t", "filter"], timeoutMs: TIMEOUT_MS }, signal);
  const { stdout } = expectSuccess(output, `read the filter table of iptables-${flavour}`);
  if (UNREADABLE.test(stdout)) {
    throw new OperatorError("unsupported", "Cannot read the filter table of iptables-nft: it holds rules that iptables cannot show", {
      cure: "Move the rules that were added with nft out of `table ip filter`",
    });
  }
  return parseFilterTable(stdout);
}

async function restore(exec: Exec, flavour: Flavour, stdin: string, signal: AbortSignal): Promise<void> {
  const args = ["--wait", LOCK_WAIT_SECONDS, "--noflush"];
  const output = await exec({ file: `iptables-${flavour}-restore`, args, stdin, timeoutMs: TIMEOUT_MS }, signal);
  expectSuccess(output, `write our chain with iptables-${flavour}`);
}
