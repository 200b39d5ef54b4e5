/**
 * What the table around the balancer consists of, in nft's words and in the JSON in which nft lists it (design D8, D9, D10).
 *
 *   pre, out     packets for a service range: from links of its own network, and from the host itself, go to the balancer
 *   guard, out   engine ipvs: our marks are cleared before a packet is encapsulated, and on the packet around it. A marked packet
 *                inside VXLAN is balanced again: kernel 6.1 panics, 6.12 drops it
 *   hairpin      a container that reaches itself: its own address as source would make it drop the answer
 *   late         behind the balancer: what is left for a service range is answered to a ping, else refused; never a process of the host
 *
 * Rule: pure; one lookup however many VIPs, no rule per VIP in a hook. Guards and marks come in one transaction.
 */
import { baseOf, prefixLength, type Cidr } from "../../core/ids.ts";
import type { Json, Rule } from "../nft-table/layout.ts";
import type { VipNetwork } from "./vocabulary.ts";

/** A range of whole mark values, both ends included (IPVS compares the whole mark). */
export interface MarkRange { readonly first: number; readonly last: number }
export type FrameOf = { readonly engine: "nftables" } | { readonly engine: "ipvs"; readonly marks: MarkRange };

export const RANGES = "ranges";
export const ENTRY = "entry";
export const LOOPS = "loops";
/** (VIP, number) → backend: what the chains draw from. */
export const SLOTS = "slots";
/** VIP → chain (nftables), VIP → mark (ipvs). */
export const VIPS = "vips";
/** VIP → mark for UDP: its backends go at once, those of TCP drain. */
export const DATAGRAMS = "datagrams";
/** VIPs without a server that takes new connections (ipvs): they get no mark, and are refused as an unknown one is. */
export const CLOSED = "closed";
/** (VIP, backend) pairs that get no new connection. */
export const DRAINING = "draining";

/** `declared`: what its keys and data are, in nft's words; `types`: those of its keys. */
export interface FrameSet {
  readonly name: string;
  readonly declared: string;
  readonly types: string | readonly string[];
  readonly data?: string;
  readonly interval?: true;
}
export interface FrameHook { readonly type: "nat" | "filter"; readonly hook: string; readonly prio: number }
export interface FrameChain { readonly name: string; readonly hook?: FrameHook; readonly rules: readonly Rule[] }
export interface Frame { readonly sets: readonly FrameSet[]; readonly chains: readonly FrameChain[] }

const MARK_CHAIN = "mark-vip";

const isEqual = (left: Json, right: Json): Json => ({ match: { op: "==", left, right } });
const field = (name: string, protocol = "ip"): Json => ({ payload: { protocol, field: name } });
const DADDR = field("daddr");
const meta = (key: string): Json => ({ meta: { key } });
const TO_RANGE = isEqual(DADDR, `@${RANGES}`);
const vmap = (key: Json, name: string): Json => ({ vmap: { key, data: `@${name}` } });
const toMark = (name: string): Json => ({ mangle: { key: meta("mark"), value: { map: { key: DADDR, data: `@${name}` } } } });

const ADDRESS = "ipv4_addr";
const SHARED: readonly FrameSet[] = [
  { name: RANGES, declared: "ip daddr", types: ADDRESS, interval: true },
  { name: ENTRY, declared: "iifname : verdict", types: "ifname", data: "verdict", interval: true },
  { name: LOOPS, declared: "ip daddr . ip saddr : ip daddr", types: [ADDRESS, ADDRESS], data: ADDRESS },
];
/** The number is an integer as the packet's length is one: `numgen inc mod 2` says it better, but of that nft 1.0.6 dies too. */
const SLOT_MAP: FrameSet = {
  name: SLOTS, declared: "ip daddr . meta length : ip daddr", types: [ADDRESS, "integer"], data: ADDRESS,
};
const toMarks = (name: string): FrameSet => ({ name, declared: "ip daddr : meta mark", types: ADDRESS, data: "mark" });

const ENTER: Rule = { text: `ip daddr @${RANGES} iifname vmap @${ENTRY}`, json: [TO_RANGE, vmap(meta("iifname"), ENTRY)] };
const HAIRPIN: FrameChain = {
  name: "hairpin", hook: { type: "nat", hook: "postrouting", prio: 90 },
  rules: [{
    text: `snat to ip saddr . ip daddr map @${LOOPS}`,
    json: [{ snat: { addr: { map: { key: { concat: [field("saddr"), DADDR] }, data: `@${LOOPS}` } } } }],
  }],
};
const LATE: FrameChain = {
  name: "late", hook: { type: "filter", hook: "input", prio: 150 },
  rules: [
    { text: `ip daddr @${RANGES} icmp type echo-request accept`, json: [TO_RANGE, isEqual(field("type", "icmp"), "echo-request"), { accept: null }] },
    // TCP alone: nft adds the match by itself and lists it nowhere. The kernel answers a client with one ICMP refusal a second; a reset is not counted.
    { text: `ip daddr @${RANGES} reject with tcp reset`, json: [TO_RANGE, { reject: { type: "tcp reset" } }] },
    { text: `ip daddr @${RANGES} reject with icmp type port-unreachable`, json: [TO_RANGE, { reject: { type: "icmp", expr: "port-unreachable" } }] },
  ],
};

/** IPVS finds the packets of an open connection without a mark. */
const SHUT: Rule = { text: `ip daddr @${CLOSED} return`, json: [isEqual(DADDR, `@${CLOSED}`), { return: null }] };

export function frameOf(of: FrameOf): Frame {
  if (of.engine === "ipvs") return marking(of.marks);
  return {
    sets: [...SHARED, { name: VIPS, declared: "ip daddr : verdict", types: ADDRESS, data: "verdict" }, SLOT_MAP, { name: DRAINING, declared: "ip daddr . ip saddr", types: [ADDRESS, ADDRESS] }],
    chains: [
      { name: "pre", hook: { type: "nat", hook: "prerouting", prio: -100 }, rules: [ENTER] },
      {
        name: "out", hook: { type: "nat", hook: "output", prio: -100 },
        rules: [{ text: `ip daddr @${RANGES} ip daddr vmap @${VIPS}`, json: [TO_RANGE, vmap(DADDR, VIPS)] }],
      },
      HAIRPIN, LATE,
    ],
  };
}

function marking({ first, last }: MarkRange): Frame {
  const clear: Rule = {
    text: `meta mark ${first}-${last} meta mark set 0`,
    json: [isEqual(meta("mark"), { range: [first, last] }), { mangle: { key: meta("mark"), value: 0 } }],
  };
  const proto = (op: "==" | "!=", map: string): Rule => ({
    text: `meta l4proto ${op} udp meta mark set ip daddr map @${map}`,
    json: [{ match: { op, left: meta("l4proto"), right: "udp" } }, toMark(map)],
  });
  return {
    sets: [...SHARED, toMarks(VIPS), toMarks(DATAGRAMS), { name: CLOSED, declared: "ip daddr", types: ADDRESS }],
    chains: [
      { name: MARK_CHAIN, rules: [SHUT, proto("==", DATAGRAMS), proto("!=", VIPS)] },
      { name: "guard", hook: { type: "filter", hook: "postrouting", prio: -150 }, rules: [clear] },
      {
        name: "out", hook: { type: "filter", hook: "output", prio: -150 },
        rules: [clear, { text: `ip daddr @${RANGES} goto ${MARK_CHAIN}`, json: [TO_RANGE, { goto: { target: MARK_CHAIN } }] }],
      },
      { name: "pre", hook: { type: "filter", hook: "prerouting", prio: -150 }, rules: [ENTER] },
      HAIRPIN, LATE,
    ],
  };
}

const FROM = "from-";
export const fromChain = ({ vni }: Pick<VipNetwork, "vni">): string => `${FROM}${vni}`;
/** The VNI in a chain's name; undefined when it is no network's. */
export function vniOf(chain: string): number | undefined {
  const digits = /^from-(\d{1,8})$/.exec(chain)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
/** Where packets of a network's own containers go. */
export const fromRule = ({ range }: Pick<VipNetwork, "range">, { engine }: Pick<FrameOf, "engine">): Rule => (engine === "ipvs"
  ? { text: `ip daddr ${range} goto ${MARK_CHAIN}`, json: [isEqual(DADDR, block(range)), { goto: { target: MARK_CHAIN } }] }
  : { text: `ip daddr ${range} ip daddr vmap @${VIPS}`, json: [isEqual(DADDR, block(range)), vmap(DADDR, VIPS)] });

/** A block as nft lists it, in a rule and as an element. */
export const block = (cidr: Cidr): Json => ({ prefix: { addr: baseOf(cidr), len: prefixLength(cidr) } });
