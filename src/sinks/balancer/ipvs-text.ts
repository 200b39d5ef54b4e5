/**
 * IPVS's table as the kernel prints it, and changes as lines for `ipvsadm --restore`.
 *
 * In:  text of /proc/net/ip_vs (kernel 6.1: marks and addresses in hex), of `ipvsadm --save -n`.  Out: services by mark.
 * Rule: pure; marks outside of our range are not ours and are not even returned. ipvsadm takes marks in decimal only. The
 * kernel prints affinity in ticks, of a length that it does not tell: of one service that ipvsadm has in seconds it follows.
 */
import { fromNumber, type Ipv4 } from "../../core/ids.ts";
import type { MarkRange } from "../vip-table/frame.ts";

export interface IpvsServer { readonly address: Ipv4; readonly forward: string; readonly weight: number; readonly connections: number }
export interface IpvsService {
  readonly mark: number;
  readonly scheduler: string;
  readonly affinitySeconds: number;
  readonly servers: ReadonlyMap<Ipv4, IpvsServer>;
}

const SERVICE = /^FWM\s+([0-9A-F]{8})\s+(\S+)(?:.*\spersistent\s+(\d+))?/;
const PERSISTENT = /^FWM\s+([0-9A-F]{8})\s.*\spersistent\s+(\d+)/gm;
const SAVED = /^-A -f (\d+) .*-p (\d+)/;
const SERVER = /^\s+->\s+([0-9A-F]{8}):[0-9A-F]{4}\s+(\S+)\s+(\d+)\s+(\d+)\s+(\d+)/;

export const hasAffinity = (text: string): boolean => text.search(PERSISTENT) >= 0;

/** Ticks a second, of a service that both texts have ("-A -f 20483 -s wrr -p 600"); undefined when they have none in common. */
export function hertzOf(text: string, saved: string): number | undefined {
  const seconds = new Map(saved.split("\n").flatMap((line) => {
    const [, mark, value] = SAVED.exec(line) ?? [];
    return mark === undefined ? [] : [[Number(mark), Number(value)] as const];
  }));
  for (const [, hex = "", ticks] of text.matchAll(PERSISTENT)) {
    const known = seconds.get(Number.parseInt(hex, 16));
    if (known !== undefined) return Number(ticks) / known;
  }
  return undefined;
}

/** `hertz`: without it no affinity is known. */
export function parseIpvs(text: string, { first, last }: MarkRange, hertz = Infinity): ReadonlyMap<number, IpvsService> {
  const services = new Map<number, IpvsService>();
  let servers: Map<Ipv4, IpvsServer> | undefined;
  for (const line of text.split("\n")) {
    const service = SERVICE.exec(line);
    const server = service === null ? SERVER.exec(line) : null;
    if (service !== null) {
      const [, hex = "", scheduler = "", ticks = 0] = service;
      const mark = Number.parseInt(hex, 16);
      servers = mark >= first && mark <= last ? new Map() : undefined;
      if (servers !== undefined) services.set(mark, { mark, scheduler, affinitySeconds: Math.round(Number(ticks) / hertz), servers });
    } else if (server !== null) {
      const [, hex = "", forward = "", weight, active, idle] = server;
      const address = fromNumber(Number.parseInt(hex, 16));
      servers?.set(address, { address, forward, weight: Number(weight), connections: Number(active) + Number(idle) });
    } else servers = /^\S/.test(line) ? undefined : servers;
  }
  return services;
}

/** Forwarding as /proc/net/ip_vs names network address translation. */
export const MASQUERADE = "Masq";

/** A hash that finds a draining server takes the next one; without the flag that client would be refused. */
const FLAGS: Readonly<Record<string, string>> = { sh: " -b sh-fallback" };

export const serviceLine = (verb: "-A" | "-E", mark: number, scheduler: string, affinitySeconds: number): string =>
  `${verb} -f ${mark} -s ${scheduler}${FLAGS[scheduler] ?? ""}${affinitySeconds > 0 ? ` -p ${affinitySeconds}` : ""}\n`;
export const serviceEnd = (mark: number): string => `-D -f ${mark}\n`;
/** Port 0: the client's port stays, so one service serves all. */
export const serverLine = (verb: "-a" | "-e", mark: number, address: Ipv4, weight: number): string => `${verb} -f ${mark} -r ${address}:0 -m -w ${weight}\n`;
export const serverEnd = (mark: number, address: Ipv4): string => `-d -f ${mark} -r ${address}:0\n`;
