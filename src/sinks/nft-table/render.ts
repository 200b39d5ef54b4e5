/**
 * A wanted table → one transaction for `nft -f -`.
 *
 * Rule: pure; the old table goes and the new one comes in the same transaction, so no packet ever meets half of it.
 */
import { NFT_TABLE } from "../../core/names.ts";
import { layoutOf, type Chain, type LinkSet } from "./layout.ts";
import type { NftTable } from "./vocabulary.ts";

/** Declaring before deleting makes the delete succeed where there was no table. nft 1.0.6 wants a line end before each brace. */
export function renderTable(table: NftTable): string {
  const { sets, chains } = layoutOf(table.networks);
  const clean = `table ip ${NFT_TABLE}\ndelete table ip ${NFT_TABLE}\n`;
  if (table.networks.length === 0) return clean;
  return `${clean}table ip ${NFT_TABLE} {\n${[...sets.map(renderSet), ...chains.map(renderChain)].join("")}}\n`;
}

function renderSet({ name, elements, map }: LinkSet): string {
  const members = elements.map(([link, chain]) => (chain === undefined ? `"${link}"` : `"${link}" : goto ${chain}`)).join(", ");
  const [kind, type] = map ? ["map", "iifname : verdict"] : ["set", "iifname"];
  return `\t${kind} ${name} {\n\t\ttypeof ${type}\n\t\tflags interval\n\t\telements = { ${members} }\n\t}\n`;
}

function renderChain({ name, hook, rules }: Chain): string {
  const head = hook === undefined ? "" : `\t\ttype ${hook.type} hook ${hook.hook} priority ${hook.prio}; policy ${hook.policy};\n`;
  return `\tchain ${name} {\n${head}${rules.map(({ text }) => `\t\t${text}\n`).join("")}\t}\n`;
}
