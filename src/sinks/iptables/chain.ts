/**
 * The accept chain: read out of `iptables-save`, written for `iptables-restore --noflush`.
 *
 * Rule: pure; touches our chain and the jumps to it, never a rule of Docker's. The jump comes after DOCKER-USER's, so a drop
 *       that a user put there still drops.
 */
import { IPTABLES_CHAIN, LINK_PREFIX } from "../../core/names.ts";
import type { Flavour, ObservedAcceptChain } from "./vocabulary.ts";

/** The filter table in one flavour: rules as `iptables-save` spells them, without `-A CHAIN`. */
export interface FilterTable { readonly chains: ReadonlySet<string>; readonly rules: ReadonlyMap<string, readonly string[]> }
export type Worlds = ReadonlyMap<Flavour, FilterTable>;

/** `+` stands for any rest. Which network may talk to which is not decided here but in our nft table. */
const RULES: readonly string[] = [
  `-i ${LINK_PREFIX}+ -o ${LINK_PREFIX}+ -j ACCEPT`,
  `-i ${LINK_PREFIX}+ -o flannel.+ -j ACCEPT`,
  `-i flannel.+ -o ${LINK_PREFIX}+ -j ACCEPT`,
];
const JUMP = `-j ${IPTABLES_CHAIN}`;
const USER_JUMP = "-j DOCKER-USER";

/** Text of `iptables-save -t filter`, 1.8.9, both flavours. */
export function parseFilterTable(text: string): FilterTable {
  const chains = new Set<string>();
  const rules = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [, chain] = /^:(\S+) /.exec(line) ?? [];
    if (chain !== undefined) chains.add(chain);
    const [, owner, rule] = /^-A (\S+) (.*)$/.exec(line) ?? [];
    if (owner !== undefined && rule !== undefined) rules.set(owner, [...(rules.get(owner) ?? []), rule.trim()]);
  }
  return { chains, rules };
}

/** Where our chain belongs: wherever Docker's are, because every flavour's FORWARD policy drops for itself. */
export function flavoursOf(worlds: Worlds): readonly Flavour[] {
  const docker = [...worlds].filter(([, { chains }]) => chains.has("DOCKER-USER") || chains.has("DOCKER")).map(([flavour]) => flavour);
  return docker.length > 0 ? docker : ["nft"];
}

const ruleList = (table: FilterTable, chain: string): readonly string[] => table.rules.get(chain) ?? [];
/** Every rule of FORWARD that leads to our chain, also one that a person narrowed. */
const jumpsOf = (table: FilterTable): readonly string[] =>
  ruleList(table, "FORWARD").filter((rule) => rule.endsWith(JUMP) || rule.endsWith(`-g ${IPTABLES_CHAIN}`));

export const isPresent = (table: FilterTable): boolean => table.chains.has(IPTABLES_CHAIN);

export function observedChain(worlds: Worlds): ObservedAcceptChain {
  const flavours = flavoursOf(worlds);
  const faults = [...worlds].flatMap(([flavour, table]) => {
    const leftOver = isPresent(table) ? [`${IPTABLES_CHAIN} is left over`] : [];
    return (flavours.includes(flavour) ? faultsOf(table) : leftOver).map((fault) => `${flavour}: ${fault}`);
  });
  return { flavours, present: [...worlds.values()].some(isPresent), faults };
}

function faultsOf(table: FilterTable): string[] {
  if (!isPresent(table)) return [`${IPTABLES_CHAIN} is missing`];
  const forward = ruleList(table, "FORWARD");
  const jumps = jumpsOf(table);
  const rulesRight = ruleList(table, IPTABLES_CHAIN).join("\n") === RULES.join("\n");
  return [
    ...(rulesRight ? [] : [`the rules of ${IPTABLES_CHAIN} were changed`]),
    ...(jumps.length === 0 ? ["the jump from FORWARD is missing"] : []),
    ...(jumps.length > 1 ? [`${jumps.length} jumps from FORWARD instead of one`] : []),
    ...(jumps.some((jump) => jump !== JUMP) ? ["a jump from FORWARD has a condition"] : []),
    ...(forward.includes(JUMP) && forward.indexOf(JUMP) < forward.indexOf(USER_JUMP) ? ["the jump stands before DOCKER-USER's"] : []),
  ];
}

/** One transaction for `iptables-restore --noflush`: chain rewritten, exactly one jump in its place. */
export function renderChain(table: FilterTable): string {
  const others = ruleList(table, "FORWARD").filter((rule) => !jumpsOf(table).includes(rule));
  // Positions count from 1; no jump to DOCKER-USER gives −1 and so position 1.
  const position = others.indexOf(USER_JUMP) + 2;
  return transaction([
    `:${IPTABLES_CHAIN} - [0:0]`,
    ...RULES.map((rule) => `-A ${IPTABLES_CHAIN} ${rule}`),
    ...jumpsOf(table).map((jump) => `-D FORWARD ${jump}`),
    `-I FORWARD ${position} ${JUMP}`,
  ]);
}

/** Takes chain and jumps away; undefined where there is nothing to take. */
export function renderRemoval(table: FilterTable): string | undefined {
  if (!isPresent(table)) return undefined;
  return transaction([...jumpsOf(table).map((jump) => `-D FORWARD ${jump}`), `-F ${IPTABLES_CHAIN}`, `-X ${IPTABLES_CHAIN}`]);
}

const transaction = (lines: readonly string[]): string => ["*filter", ...lines, "COMMIT", ""].join("\n");
