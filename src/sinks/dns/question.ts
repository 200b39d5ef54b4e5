/**
 * A question as a container would ask it, for those who look from outside.
 *
 * In:  the sandbox's namespace, name and type.  Out: the answer's records as text, or that none came.
 * Rule: the packet is sent inside the sandbox to 127.0.0.11:53, so it takes the way of every other query of the container. Without
 *       EDNS0, as C libraries ask; by hand and seldom, hence nothing here is kept between two questions.
 */
import { createSocket } from "node:dgram";
import { randomInt } from "node:crypto";
import { performance } from "node:perf_hooks";
import dns2 from "dns2";
import { OperatorError } from "../../core/errors.ts";
import { parseIpv4 } from "../../core/ids.ts";
import type { NameRecord } from "../../core/names-answer.ts";
import { openClientAt } from "../netns-sockets.ts";
import { HEADER_BYTES } from "./wire.ts";

const { Packet } = dns2;
const RESOLVER = { address: "127.0.0.11", port: 53 } as const;
/** Longer than the deadline of what is asked elsewhere. */
const PATIENCE_MS = 5_500;
const MAX_NAME_BYTES = 253;

export interface AskedName { readonly name: string; readonly type: number; readonly typeName: string }
export interface Heard {
  readonly code: string;
  readonly records: readonly NameRecord[];
  readonly authorities: readonly NameRecord[];
  readonly truncated: boolean;
  readonly tookMs: number;
}

/** An address without a type asks for its name. Throws `invalid`. */
export function askedName(name: string, type: string): AskedName {
  const address = type === "" ? parseIpv4(name) : undefined;
  const plain = address === undefined ? name.replace(/\.$/, "") : `${address.split(".").reverse().join(".")}.in-addr.arpa`;
  const labels = plain.split(".").map((label) => Buffer.byteLength(label));
  if (labels.some((bytes) => bytes < 1 || bytes > 63) || Buffer.byteLength(plain) > MAX_NAME_BYTES) {
    throw new OperatorError("invalid", `Cannot ask for ${JSON.stringify(name)}: it is no name`, { cure: "Give a name like web or tasks.web.front, or an address" });
  }
  const typeName = type === "" ? (address === undefined ? "A" : "PTR") : type.toUpperCase();
  return { name: plain, typeName, type: typeNumber(typeName) };
}

function typeNumber(name: string): number {
  const known: Readonly<Record<string, number>> = Packet.TYPE;
  const number = Object.hasOwn(known, name) ? known[name] : Number(/^TYPE(\d{1,5})$/.exec(name)?.[1] ?? NaN);
  if (number !== undefined && number >= 1 && number <= 65_535) return number;
  throw new OperatorError("invalid", `Cannot ask for ${JSON.stringify(name)}: there is no such type`, { cure: "Give A, AAAA, PTR, SRV, TXT, ANY, or a number as TYPE65" });
}

export const typeNameOf = (type: number): string => Packet.typeName(type);

/** Undefined: nobody answered in time. */
export async function askInside(netns: string, asked: AskedName, signal: AbortSignal): Promise<Heard | undefined> {
  const query = spelled(asked);
  const socket = createSocket("udp4");
  const startedMs = performance.now();
  try {
    return await new Promise((resolve, reject) => {
      const enough = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      enough.addEventListener("abort", () => { resolve(undefined); }, { once: true });
      socket.on("error", reject);
      socket.on("message", (message) => {
        if (message.length < HEADER_BYTES || message.readUInt16BE(0) !== query.readUInt16BE(0)) return;
        resolve(heard(message, performance.now() - startedMs));
      });
      socket.bind({ fd: openClientAt(netns) }, () => { socket.send(query, RESOLVER.port, RESOLVER.address); });
    });
  } finally {
    socket.close();
  }
}

function spelled({ name, type }: AskedName): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(randomInt(65_536), 0);
  header[2] = 1;
  header[5] = 1;
  const labels = name.split(".").flatMap((label) => [Buffer.from([Buffer.byteLength(label)]), Buffer.from(label)]);
  return Buffer.concat([header, ...labels, Buffer.from([0, type >> 8, type & 255, 0, 1])]);
}

function heard(message: Buffer, tookMs: number): Heard {
  const packet = Packet.parse(message);
  const rcode = (message[3] ?? 0) & 0x0f;
  const code = Object.entries(Packet.RCODE).find(([, number]) => number === rcode)?.[0] ?? `RCODE${rcode}`;
  return {
    code, records: packet.answers.map((record) => recordOf(record as unknown as Fields)), authorities: packet.authorities.map((record) => recordOf(record as unknown as Fields)),
    truncated: ((message[2] ?? 0) & 0x02) !== 0, tookMs: Math.round(tookMs * 100) / 100,
  };
}

interface Fields { readonly name: string; readonly type: number; readonly ttl: number; readonly [field: string]: unknown }
const HEAD = new Set(["name", "type", "class", "ttl"]);

/** Data in dig's order of fields, which is the order dns2 reads them in. */
function recordOf({ name, type, ttl, ...rest }: Fields): NameRecord {
  const data = Object.entries(rest).filter(([field]) => !HEAD.has(field)).flatMap(([, value]) => (Array.isArray(value) ? value : [value])).map(said);
  return { name, type: typeNameOf(type), ttlSeconds: ttl, data: type === Packet.TYPE.TXT ? data.map((text) => JSON.stringify(text)).join(" ") : data.join(" ") };
}

const said = (value: unknown): string => (Buffer.isBuffer(value) ? value.toString("hex") : String(value));
