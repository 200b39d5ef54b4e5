/**
 * Connection tracking in the kernel's own words: requests as bytes, answers as connections.
 *
 * In:  a datagram of netlink's.  Out: connections; how it ended.
 * Rule: pure, of a little-endian machine. Nothing is deleted but by the tuple and the id that the kernel itself told: without a
 * tuple it would delete all (linux/netfilter/nfnetlink_conntrack.h, netlink(7)).
 */
import { fromNumber, type Ipv4 } from "../../core/ids.ts";

/** What is looked at to tell whether a connection is wanted. */
export interface Seen {
  /** 6 TCP, 17 UDP. */
  readonly protocol: number;
  /** Whom the client asked, and who answers it: not the same where addresses are translated. */
  readonly origDst: Ipv4;
  readonly replySrc: Ipv4;
  /** TCP's, as linux/netfilter/nf_conntrack_tcp.h counts; undefined for others. */
  readonly state: number | undefined;
}
export interface Connection extends Seen {
  /** By which the kernel finds it again, and nothing else. */
  readonly handle: Uint8Array;
}
export const [TCP, UDP] = [6, 17];
export const [TIME_WAIT, CLOSE] = [7, 8];

const HEADER = 16;
/** struct nfgenmsg: the address family, here IPv4. */
const FAMILY = Uint8Array.of(2, 0, 0, 0);
const [NEW, GET, DELETE] = [0x100, 0x101, 0x102];
const [ERROR, DONE] = [2, 3];
const [REQUEST, ACK, DUMP] = [1, 4, 0x300];
const [TUPLE_ORIG, TUPLE_REPLY, PROTOINFO, ID, ZONE] = [1, 2, 4, 12, 18];
const [TUPLE_IP, TUPLE_PROTO] = [1, 2];
const [IP_SRC, IP_DST] = [1, 2];
const [PROTO_NUM, INFO_TCP, TCP_STATE] = [1, 1, 1];
/** Without the flags "nested" and "network byte order". */
const KIND = 0x3fff;

const padded = (length: number): number => (length + 3) & ~3;

function request(kind: number, flags: number, attributes: Uint8Array): Buffer {
  const message = Buffer.alloc(HEADER + FAMILY.length + attributes.length);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(kind, 4);
  message.writeUInt16LE(REQUEST | flags, 6);
  message.set(FAMILY, HEADER);
  message.set(attributes, HEADER + FAMILY.length);
  return message;
}

export const listRequest = (): Buffer => request(GET, DUMP, new Uint8Array());
export const deleteRequest = ({ handle }: Connection): Buffer => request(DELETE, ACK, handle);

/** `ended`: 0 when all is told, an errno when the kernel refused; absent while more is to come. */
export interface Told { readonly connections: readonly Connection[]; readonly ended?: number }

/** Those of a datagram that are wanted. Throws RangeError at what is no netlink. */
export function read(datagram: Buffer, want: (one: Seen) => boolean): Told {
  const connections: Connection[] = [];
  for (let at = 0; at < datagram.length;) {
    const length = datagram.readUInt32LE(at);
    if (length < HEADER || at + length > datagram.length) throw new RangeError(`a message of ${length} bytes at ${at} of ${datagram.length}`);
    const kind = datagram.readUInt16LE(at + 4);
    if (kind === DONE || kind === ERROR) return { connections, ended: 0 - datagram.readInt32LE(at + HEADER) };
    const body = datagram.subarray(at + HEADER + FAMILY.length, at + length);
    const one = kind === NEW ? seenIn(body) : undefined;
    // The handle is a copy: the next datagram takes this one's buffer.
    if (one !== undefined && want(one)) connections.push({ ...one, handle: Buffer.concat([TUPLE_ORIG, ID, ZONE].map((attribute) => whole(body, attribute))) });
    at += padded(length);
  }
  return { connections };
}

function seenIn(body: Buffer): Seen | undefined {
  const [original, reply] = [inside(body, TUPLE_ORIG), inside(body, TUPLE_REPLY)];
  const [origDst, replySrc] = [addressIn(original, IP_DST), addressIn(reply, IP_SRC)];
  const protocol = inside(inside(original, TUPLE_PROTO), PROTO_NUM)?.[0];
  if (origDst === undefined || replySrc === undefined || protocol === undefined) return undefined;
  return { protocol, origDst, replySrc, state: inside(inside(inside(body, PROTOINFO), INFO_TCP), TCP_STATE)?.[0] };
}

function addressIn(tuple: Buffer | undefined, kind: number): Ipv4 | undefined {
  const bytes = inside(inside(tuple, TUPLE_IP), kind);
  return bytes?.length === 4 ? fromNumber(bytes.readUInt32BE(0)) : undefined;
}

/** Where an attribute (struct nlattr: length, kind, payload) begins and ends. */
function find(attributes: Buffer, wanted: number): readonly [begin: number, end: number] | undefined {
  for (let at = 0; at + 4 <= attributes.length;) {
    const length = attributes.readUInt16LE(at);
    if (length < 4 || at + length > attributes.length) throw new RangeError(`an attribute of ${length} bytes at ${at} of ${attributes.length}`);
    if ((attributes.readUInt16LE(at + 2) & KIND) === wanted) return [at, at + length];
    at += padded(length);
  }
  return undefined;
}

function inside(attributes: Buffer | undefined, kind: number): Buffer | undefined {
  const place = attributes === undefined ? undefined : find(attributes, kind);
  return place === undefined ? undefined : attributes?.subarray(place[0] + 4, place[1]);
}

/** With its header and its padding; nothing if it is not there. */
function whole(attributes: Buffer, kind: number): Uint8Array {
  const place = find(attributes, kind);
  return place === undefined ? new Uint8Array() : Buffer.concat([attributes.subarray(...place)], padded(place[1] - place[0]));
}
