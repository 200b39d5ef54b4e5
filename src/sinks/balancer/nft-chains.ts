/**
 * The chains that balance, by name: of one service (`vip-10.1.0.5`), or of all with so many servers (`any-3`, `sh-3`).
 *
 * Rule: pure. The name and the count tell the rule; no servers, no rule: then what is behind the balancer refuses.
 */
import { VIP_TABLE } from "../../core/names.ts";
import type { Ipv4 } from "../../core/ids.ts";
import type { Json } from "../nft-table/layout.ts";
import { SLOTS } from "../vip-table/frame.ts";

/** own: in turn; any: at random; sh: by the client's address. */
export type ChainKind = "own" | "any" | "sh";

const OWN = "vip-";
const SHARED = /^(any|sh)-(\d{1,5})$/;
/** Without a fixed one the kernel draws its own, and the nodes would choose differently. */
const SEED = 1;

export const ownChain = (vip: Ipv4): string => `${OWN}${vip}`;
export const anyChain = (kind: Exclude<ChainKind, "own">, count: number): string => `${kind}-${count}`;
export const vipOf = (chain: string): Ipv4 | undefined => (chain.startsWith(OWN) ? (chain.slice(OWN.length) as Ipv4) : undefined);
export const isOurs = (chain: string): boolean => chain.startsWith(OWN) || SHARED.test(chain);

/** What a chain of this name holds; `count` is told by a shared one's name. Undefined: no chain of ours. */
export function chainRule(name: string, count: number): { readonly count: number; readonly text: readonly string[]; readonly json: readonly Json[] } | undefined {
  const [, kind, digits] = SHARED.exec(name) ?? [];
  if (kind === undefined && vipOf(name) === undefined) return undefined;
  const mod = digits === undefined ? count : Number(digits);
  if (mod === 0) return { count: mod, text: [], json: [] };
  const draw = kind === "sh" ? `jhash ip saddr mod ${mod} seed ${SEED}` : `numgen ${kind === undefined ? "inc" : "random"} mod ${mod}`;
  const number: Json = kind === "sh" ? { jhash: { mod, seed: SEED, expr: payload("saddr") } } : { numgen: { mode: kind === undefined ? "inc" : "random", mod, offset: 0 } };
  return {
    count: mod, text: [`add rule ip ${VIP_TABLE} ${name} dnat to ip daddr . ${draw} map @${SLOTS}`],
    json: [[{ dnat: { addr: { map: { key: { concat: [payload("daddr"), number] }, data: `@${SLOTS}` } } } }]],
  };
}

const payload = (field: string): Json => ({ payload: { protocol: "ip", field } });

/** Emptied, and there or gone. */
export const emptyChain = (verb: "add" | "delete", name: string): readonly string[] => {
  const [flush, other] = [`flush chain ip ${VIP_TABLE} ${name}`, `${verb} chain ip ${VIP_TABLE} ${name}`];
  return verb === "add" ? [other, flush] : [flush, other];
};
