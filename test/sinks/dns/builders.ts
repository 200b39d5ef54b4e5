/** Zones, tables and messages for the tests of the DNS; dns2 reads and writes the messages, so that we do not judge ourselves. */
import dns2 from "dns2";
import type { Cidr, Ipv4, NetworkId } from "../../../src/core/ids.ts";
import type { Responder } from "../../../src/sinks/dns/responder.ts";
import type { DnsMode, DnsName, DnsSandbox, DnsService, DnsTable, DnsZone } from "../../../src/sinks/dns/vocabulary.ts";

export const { Packet } = dns2;
export const { TYPE } = Packet;

export const named = (...addresses: readonly string[]): DnsName => ({ addresses: addresses as readonly Ipv4[], texts: [] });
export const served = (port: number, target: string, ...addresses: readonly string[]): DnsService => ({ port, target, addresses: addresses as readonly Ipv4[] });

interface ZoneParts {
  readonly names?: Readonly<Record<string, DnsName>>;
  readonly pointers?: Readonly<Record<string, string>>;
  readonly services?: Readonly<Record<string, readonly DnsService[]>>;
  readonly ttlSeconds?: number;
}

/** The network's id and name are the same. */
export const zone = (name: string, { names = {}, pointers = {}, services = {}, ttlSeconds = 5 }: ZoneParts): DnsZone => ({
  network: name as NetworkId, name, ttlSeconds, names: new Map(Object.entries(names)), pointers: new Map(Object.entries(pointers) as [Ipv4, string][]),
  services: new Map(Object.entries(services)),
});

export const sandbox = (zones: readonly string[], links: Readonly<Record<string, string>> = {}, name = "s"): DnsSandbox =>
  ({ sandbox: name, zones: zones as readonly NetworkId[], links: new Map(Object.entries(links)) });

export const table = (mode: DnsMode, zones: readonly DnsZone[], sandboxes: readonly DnsSandbox[], ranges: readonly string[] = ["10.0.0.0/8"]): DnsTable => ({
  mode, zones: new Map(zones.map((each) => [each.network, each])), sandboxes: new Map(sandboxes.map((each) => [each.sandbox, each])), ranges: ranges as readonly Cidr[],
});

export interface Asking { readonly type?: number; readonly class?: number; readonly id?: number; readonly edns?: number; readonly flags?: number }

/** A query as it stands on the wire; `edns`: the size it offers. */
export function query(name: string, { type = TYPE.A, class: klass = 1, id = 0x1234, edns, flags = 0x0100 }: Asking = {}): Buffer {
  const labels = name === "" ? [] : name.split(".");
  const question = Buffer.concat([...labels.map((label) => { const bytes = Buffer.from(label, "latin1"); return Buffer.concat([Buffer.from([bytes.length]), bytes]); }),
    Buffer.from([0, type >> 8, type & 255, klass >> 8, klass & 255])]);
  const opt = edns === undefined ? Buffer.alloc(0) : Buffer.from([0, 0, 41, edns >> 8, edns & 255, 0, 0, 0, 0, 0, 0]);
  const header = Buffer.from([id >> 8, id & 255, flags >> 8, flags & 255, 0, 1, 0, 0, 0, 0, 0, edns === undefined ? 0 : 1]);
  return Buffer.concat([header, question, opt]);
}

export const OUT = Buffer.alloc(70_000);

interface How { readonly udp?: boolean; readonly room?: number; readonly name?: string }

/** What the server says: the bytes and dns2's reading of them; a number when it sends nothing. */
export function say(responder: Responder, message: Buffer, how: How = {}): Answer | number {
  const { udp = true, room = udp ? 4096 : 65_535, name = "s" } = how;
  const length = responder.respond(message, 0, message.length, name, udp, OUT, 0, room);
  if (length <= 0) return length;
  const bytes = Buffer.from(OUT.subarray(0, length));
  return { bytes, flags: bytes.readUInt16BE(2), rcode: bytes.readUInt16BE(2) & 15, truncated: (bytes.readUInt16BE(2) & 0x200) !== 0, packet: Packet.parse(bytes) };
}

export interface Answer { readonly bytes: Buffer; readonly flags: number; readonly rcode: number; readonly truncated: boolean; readonly packet: InstanceType<typeof Packet> }

export function answered(responder: Responder, message: Buffer, how: How = {}): Answer {
  const said = say(responder, message, how);
  if (typeof said === "number") throw new Error(`no answer: ${said}`);
  return said;
}

export const addressesOf = ({ packet }: Answer): readonly string[] =>
  packet.answers.map((answer) => ("address" in answer ? String(answer.address) : "?")).sort();
