/**
 * What the main thread and the thread that answers tell each other.
 *
 * Rule: everything is plain data of bounded size, so that no message holds an answer up for more than a millisecond.
 */
import type { ErrorCode } from "../../core/errors.ts";
import type { Cidr, Ipv4, NetworkId } from "../../core/ids.ts";
import type { AnsweredBy } from "../../core/names-answer.ts";
import type { DnsMode, DnsSandbox, DnsService } from "./vocabulary.ts";

/** Sockets of one sandbox, by number; both threads belong to one process. */
export interface OpenSockets { readonly udp: number; readonly tcp: number; readonly netns: number; readonly port: number; readonly inode: bigint }

/** Entries of one zone; null takes one away. Names as the wire spells them. */
export interface ZonePart {
  readonly network: NetworkId;
  readonly name: string;
  readonly ttlSeconds: number;
  /** True: the zone starts empty before these. */
  readonly fresh: boolean;
  readonly names: readonly (readonly [name: string, addresses: readonly Ipv4[], texts: readonly string[]] | readonly [name: string, gone: null])[];
  readonly pointers: readonly (readonly [address: Ipv4, target: string | null])[];
  readonly services: readonly (readonly [name: string, services: readonly DnsService[] | null])[];
}

export type Order =
  | { readonly kind: "open"; readonly ask: number; readonly sandbox: string; readonly path: string }
  | { readonly kind: "adopt"; readonly sandbox: string; readonly sockets: OpenSockets }
  | { readonly kind: "close"; readonly ask: number; readonly sandbox: string }
  | { readonly kind: "zone"; readonly part: ZonePart }
  | { readonly kind: "sandboxes"; readonly fresh: boolean; readonly set: readonly DnsSandbox[]; readonly gone: readonly string[] }
  /** What came before holds from now on, all at once. */
  | { readonly kind: "commit"; readonly mode: DnsMode; readonly ranges: readonly Cidr[]; readonly zonesGone: readonly NetworkId[] }
  | { readonly kind: "cache"; readonly on: boolean }
  /** Of one sandbox, or of all. */
  | { readonly kind: "flush"; readonly ask: number; readonly sandbox: string | undefined }
  | { readonly kind: "watch"; readonly ask: number; readonly sandbox: string; readonly on: boolean };

/** One query as it was answered. */
export interface QueryLine {
  readonly sandbox: string;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly name: string;
  readonly type: number;
  readonly transport: "udp" | "tcp";
  readonly outcome: string;
  /** zone, link: answered here. forward, cached, stale: Docker's resolver said so, now or before. */
  readonly via: Exclude<AnsweredBy, "beside" | "nobody">;
  /** Lines left out before this one, because too many came at once. */
  readonly lost: number;
}

export type Report =
  /** Orders are read at once when eight bytes are written to the file `wake`. */
  | { readonly kind: "ready"; readonly wake: number }
  | { readonly kind: "opened"; readonly ask: number; readonly sandbox: string; readonly sockets: OpenSockets }
  | { readonly kind: "failed"; readonly ask: number; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: "closed"; readonly ask: number; readonly sandbox: string }
  | { readonly kind: "done"; readonly ask: number }
  /** A query sent inside did not come. */
  | { readonly kind: "unheard"; readonly sandbox: string }
  | { readonly kind: "query"; readonly line: QueryLine };

export const COUNTERS = [
  "udp", "tcp", "answered", "nodata", "nxdomain", "truncated", "formerr", "notimp", "badvers", "drop", "untabled", "forward",
  "cached", "stale", "forwardAnswered", "forwardFailed", "forwardLate", "former", "limited", "connections", "connectionsRefused", "connectionsCut", "sendFailed", "failed",
] as const;
export type Counter = (typeof COUNTERS)[number];
export type Counters = Readonly<Record<Counter, number>>;

/** Shared memory of both threads. */
export interface Shared {
  /** One number per counter. */
  readonly counters: Float64Array<SharedArrayBuffer>;
  /** One bit per file that the answering thread opened by itself: closed by the other should it die. */
  readonly files: Uint8Array<SharedArrayBuffer>;
  /** Not 0: the answering thread must end. */
  readonly ending: Int32Array<SharedArrayBuffer>;
}

/** File numbers that fit the map; a process that has more open is far past its limits. */
const FILES = 1 << 17;

export const newShared = (counters = new SharedArrayBuffer(COUNTERS.length * 8)): Shared => ({
  counters: new Float64Array(counters), files: new Uint8Array(new SharedArrayBuffer(FILES / 8)), ending: new Int32Array(new SharedArrayBuffer(4)),
});

/** What the thread is started with. */
export interface WorkerStart { readonly shared: Shared; readonly cache: boolean }
