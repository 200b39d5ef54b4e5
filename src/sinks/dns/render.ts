/**
 * Records as bytes: each name's answer is made once per table and copied from then on.
 *
 * In:  what lookup found, the type asked for.  Out: sections whose owner names are pointers to the question (offset 12).
 * Rule: nothing here depends on who asks or when; a record that cannot be spelled (a label of 64 bytes) is left out.
 */
import dns2 from "dns2";
import { parseIpv4, toNumber, type Ipv4 } from "../../core/ids.ts";
import type { Found } from "./lookup.ts";
import { CLASS_ANY, CLASS_IN, RCODE, TYPE } from "./wire.ts";

const { Packet } = dns2;

/** What an answer is, for counters and the query log. */
export type Outcome = "answered" | "nodata" | "nxdomain";

export interface Rendered {
  readonly outcome: Outcome;
  readonly via: "zone" | "link";
  readonly rcode: number;
  /** Records one after the other; `ends[n]` is the first byte after the n-th. The first `answers` of them are answers. */
  readonly bytes: Buffer;
  readonly ends: Uint32Array;
  readonly answers: number;
  readonly authorities: number;
}

/** Negative answers are believed for at most this long (RFC 2308 §5): a name may come at any moment. */
const NEGATIVE_TTL_SECONDS = 5;
const SOA = { primary: "ns.flannel-np", admin: "hostmaster.flannel-np", serial: 1, refresh: 3600, retry: 600, expiration: 86_400 };
/** Pointer to the question's name. */
const OWNER = Buffer.from([0xc0, 12]);

/** `parentAt`: where the question's second label begins; a missing name's SOA belongs there. */
export function render(found: Exclude<Found, { kind: "elsewhere" }>, type: number, klass: number, parentAt: number): Rendered {
  const records = klass === CLASS_IN || klass === CLASS_ANY ? recordsOf(found, type) : [];
  const via = found.kind === "name" ? found.via : "zone";
  if (found.kind === "missing") return negative("nxdomain", via, found.ttlSeconds, Buffer.from([0xc0 | (parentAt >> 8), parentAt & 255]));
  if (records.length === 0) return negative("nodata", via, found.ttlSeconds, OWNER);
  const additional = found.kind === "service" && type !== TYPE.ANY ? targetsOf(found) : [];
  return { outcome: "answered", via, rcode: RCODE.NOERROR, ...joined([...records, ...additional]), answers: records.length, authorities: 0 };
}

function negative(outcome: "nodata" | "nxdomain", via: "zone" | "link", ttlSeconds: number, owner: Buffer): Rendered {
  const ttl = Math.min(ttlSeconds, NEGATIVE_TTL_SECONDS);
  return { outcome, via, rcode: outcome === "nodata" ? RCODE.NOERROR : RCODE.NXDOMAIN, ...joined([Buffer.concat([owner, soaOf(ttl)])]), answers: 0, authorities: 1 };
}

/** Of each time to live one SOA, without its owner: a client may ask for any of 65,536 types. */
const soas = new Map<number, Buffer>();
function soaOf(ttl: number): Buffer {
  const known = soas.get(ttl) ?? Buffer.concat(spelled({ type: TYPE.SOA, ttl, ...SOA, minimum: ttl }, OWNER)).subarray(OWNER.length);
  soas.set(ttl, known);
  return known;
}

/** ANY gets one record set, not all (RFC 8482 §4.1). */
function recordsOf(found: Found, type: number): readonly Buffer[] {
  if (found.kind === "name") {
    const wantsTexts = type === TYPE.TXT || (type === TYPE.ANY && found.addresses.length === 0);
    if (wantsTexts) return found.texts.flatMap((text) => spelled({ type: TYPE.TXT, ttl: found.ttlSeconds, data: strings(text) }, OWNER));
    return type === TYPE.A || type === TYPE.ANY ? found.addresses.map((address) => addressRecord(OWNER, found.ttlSeconds, address)) : [];
  }
  if (found.kind === "service" && (type === TYPE.SRV || type === TYPE.ANY)) {
    return found.services.flatMap(({ port, target }) => spelled({ type: TYPE.SRV, ttl: found.ttlSeconds, priority: 0, weight: 0, port, target }, OWNER));
  }
  if (found.kind === "pointer" && (type === TYPE.PTR || type === TYPE.ANY)) return spelled({ type: TYPE.PTR, ttl: found.ttlSeconds, domain: found.target }, OWNER);
  return [];
}

/** Addresses of SRV targets spare the client a second question (RFC 2782). */
function targetsOf({ services, ttlSeconds }: Extract<Found, { kind: "service" }>): readonly Buffer[] {
  const known = new Map(services.map(({ target, addresses }) => [target, addresses]));
  return [...known].flatMap(([target, addresses]) => addresses.flatMap((address) =>
    spelled({ type: TYPE.A, ttl: ttlSeconds, address, name: target }, undefined)));
}

function addressRecord(owner: Buffer, ttlSeconds: number, address: Ipv4): Buffer {
  const record = Buffer.alloc(16);
  owner.copy(record);
  record.writeUInt16BE(TYPE.A, 2);
  record.writeUInt16BE(CLASS_IN, 4);
  record.writeUInt32BE(ttlSeconds, 6);
  record.writeUInt16BE(4, 10);
  record.writeUInt32BE(parseIpv4(address) === undefined ? 0 : toNumber(address), 12);
  return record;
}

interface Fields { readonly type: number; readonly ttl: number; readonly name?: string; readonly [field: string]: unknown }

/** One record by dns2's writer, its owner replaced by a pointer; none when it cannot be spelled. */
function spelled(fields: Fields, owner: Buffer | undefined): readonly Buffer[] {
  try {
    const bytes = Packet.Resource.encode({ name: "", class: CLASS_IN, ...fields } as never, new Packet.Writer()) as unknown as Buffer;
    // The root's name is one zero byte.
    return [owner === undefined ? bytes : Buffer.concat([owner, bytes.subarray(1)])];
  } catch {
    return [];
  }
}

/** Strings of at most 255 bytes (RFC 1035 §3.3). */
function strings(text: string): readonly Buffer[] {
  const bytes = Buffer.from(text, "utf8");
  const pieces: Buffer[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += 255) pieces.push(bytes.subarray(at, at + 255));
  return pieces;
}

function joined(records: readonly Buffer[]): Pick<Rendered, "bytes" | "ends"> {
  let end = 0;
  const ends = Uint32Array.from(records, ({ length }) => (end += length));
  return { bytes: Buffer.concat(records), ends };
}
