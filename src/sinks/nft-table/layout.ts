/**
 * What our table consists of, for a list of networks: each part in nft's words and in the JSON in which nft lists it.
 *
 *   forward, −10      isolate   from a link of ours: one lookup leads to the network's chain; there: source and destination
 *                               inside the network and out by a link of it, or drop. From any other link to one of ours: drop.
 *
 * Rule: pure; lookups cost the same however many networks there are. Nothing accepts *established* connections: both directions
 *       of every allowed one pass by themselves (source and destination are then always inside the network, also after
 *       balancing and hairpin translation, which are undone before or done after this hook), and state would keep alive what
 *       began before the table was there. An accept here ends only this chain: Docker's and a user's drops still drop.
 */
import { baseOf, prefixLength, type Cidr } from "../../core/ids.ts";
import type { IsolatedNetwork } from "./vocabulary.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export interface Rule { readonly text: string; readonly json: readonly Json[] }
export interface Hook { readonly type: "filter"; readonly hook: "forward"; readonly prio: number; readonly policy: "accept" }
export interface Chain { readonly name: string; readonly hook?: Hook; readonly rules: readonly Rule[] }
/** Elements are link names, "*" at the end stands for any rest; with a chain it is a map entry: `goto` that chain. */
export interface LinkSet { readonly name: string; readonly elements: readonly (readonly [link: string, chain?: string])[]; readonly map: boolean }
export interface Layout { readonly sets: readonly LinkSet[]; readonly chains: readonly Chain[] }

export const ENTRY_MAP = "entry";
const LINKS = "links";
const NETWORK_CHAIN = "net-";

export const networkChain = ({ vni }: Pick<IsolatedNetwork, "vni">): string => `${NETWORK_CHAIN}${vni}`;
/** The VNI in a chain's name; undefined when it is no network's chain. */
export const vniOfChain = (chain: string): number | undefined => {
  const digits = /^net-(\d{1,8})$/.exec(chain)?.[1];
  return digits === undefined ? undefined : Number(digits);
};

export function layoutOf(networks: readonly IsolatedNetwork[]): Layout {
  if (networks.length === 0) return { sets: [], chains: [] };
  const links = networks.flatMap((network) => linksOf(network).map((link) => [link, networkChain(network)] as const));
  return {
    sets: [
      { name: ENTRY_MAP, elements: links, map: true },
      { name: LINKS, elements: links.map(([link]) => [link] as const), map: false },
      ...networks.map((network) => ({ name: `links-${network.vni}`, elements: linksOf(network).map((link) => [link] as const), map: false })),
    ],
    chains: [...networks.map(chainOf), ISOLATE],
  };
}

const linksOf = ({ vethPrefix, vxlan }: IsolatedNetwork): string[] => [`${vethPrefix}*`, vxlan];

const DROP: Json = { drop: null };
const isEqual = (left: Json, right: Json): Json => ({ match: { op: "==", left, right } });
const meta = (key: string): Json => ({ meta: { key } });
const payload = (field: string): Json => ({ payload: { protocol: "ip", field } });
const prefix = (cidr: Cidr): Json => ({ prefix: { addr: baseOf(cidr), len: prefixLength(cidr) } });

const chainOf = (network: IsolatedNetwork): Chain => ({
  name: networkChain(network),
  rules: [
    {
      text: `ip saddr ${network.cidr} ip daddr ${network.cidr} oifname @links-${network.vni} accept`,
      json: [
        isEqual(payload("saddr"), prefix(network.cidr)), isEqual(payload("daddr"), prefix(network.cidr)),
        isEqual(meta("oifname"), `@links-${network.vni}`), { accept: null },
      ],
    },
    { text: "drop", json: [DROP] },
  ],
});

const ISOLATE: Chain = {
  name: "isolate",
  hook: { type: "filter", hook: "forward", prio: -10, policy: "accept" },
  rules: [
    { text: `iifname vmap @${ENTRY_MAP}`, json: [{ vmap: { key: meta("iifname"), data: `@${ENTRY_MAP}` } }] },
    { text: `oifname @${LINKS} drop`, json: [isEqual(meta("oifname"), `@${LINKS}`), DROP] },
  ],
};
