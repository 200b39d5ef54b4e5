/**
 * Our one table in the host, `table ip fnp`: what must be dropped, so that networks do not reach each other (design D22).
 *
 * In:  `NftTableChange`: the whole wanted table.  Out: `ObservedNftTable`, read back from the kernel.
 * Rule: present whole or absent; replaced in one transaction as soon as anything in it differs.
 */
import { asOperatorError, OperatorError } from "../core/errors.ts";
import { NFT_TABLE } from "../core/names.ts";
import type { Sink } from "../core/reconciler.ts";
import { expectSuccess, type Exec, type Output } from "./exec.ts";
import type { Json } from "./nft-table/layout.ts";
import { parseTable } from "./nft-table/parse.ts";
import { renderTable } from "./nft-table/render.ts";
import type { NftTableChange, ObservedNftTable } from "./nft-table/vocabulary.ts";

export type { IsolatedNetwork, NftTable, NftTableChange, ObservedNftTable } from "./nft-table/vocabulary.ts";

/** nft waits for other writers of the ruleset; a table of 1,000 networks takes well under a second. */
const TIMEOUT_MS = 20_000;
/** nft 1.0.6 and 1.1.3, the kernel's ENOENT. */
const NO_TABLE = /^Error: No such file or directory$/m;

export function nftTable(exec: Exec): Sink<ObservedNftTable, NftTableChange> {
  return {
    observe: async (signal) => {
      const output = await exec({ file: "nft", args: ["-j", "list", "table", "ip", NFT_TABLE], timeoutMs: TIMEOUT_MS }, signal);
      if (output.exitCode !== 0 && NO_TABLE.test(output.stderr)) return { networks: [], faults: [] };
      return parseTable(decode(expectSuccess(output, `list the nft table ${NFT_TABLE}`)));
    },
    apply: async (changes, signal) => {
      const last = changes.at(-1);
      if (last === undefined) return;
      const stdin = renderTable(last.table);
      const output = await exec({ file: "nft", args: ["-f", "-"], stdin, timeoutMs: TIMEOUT_MS }, signal).catch(crashed);
      expectSuccess(output, `write the nft table ${NFT_TABLE}`);
    },
  };
}

/** nft reads the sets of all tables before it writes; 1.0.6 ends with SIGSEGV over one that nft 1.1.7 made. */
function crashed(error: unknown): never {
  const { code, message, context } = asOperatorError(error);
  throw new OperatorError(code, message, {
    cause: error, context,
    ...(message.includes("SIGSEGV") ? { cure: "A set of another table was made by a newer nft than the plugin's: build the plugin on a suite as new as the host's, or remove that set" } : {}),
  });
}

function decode({ stdout }: Output): Json {
  try {
    return JSON.parse(stdout) as Json;
  } catch (error) {
    throw new OperatorError("unavailable", `Cannot read the nft table ${NFT_TABLE}: its listing is not JSON`, { cause: error });
  }
}
