/**
 * What the debug endpoint answers about names, shared by the process that speaks and the command line that reads.
 *
 * Rule: types only; within one major version fields are only added.
 */

/** Whose server is asked. */
export interface AskedContainer { readonly container: string; readonly id: string; readonly sandbox: string }

/**
 * zone, link: we, from the table. forward: Docker's resolver, asked now. cached, stale: what it said before.
 * beside: an answer came, but not from us: queries of this container do not reach us. nobody: there was none.
 */
export type AnsweredBy = "zone" | "link" | "forward" | "cached" | "stale" | "beside" | "nobody";

export interface NameRecord { readonly name: string; readonly type: string; readonly ttlSeconds: number; readonly data: string }

/** `GET /dns/query?as=&name=[&type=]`. */
export interface NameAnswer extends AskedContainer {
  readonly name: string;
  readonly type: string;
  readonly by: AnsweredBy;
  /** `NOERROR`, `NXDOMAIN`, …; `TIMEOUT` when nobody answered. */
  readonly code: string;
  readonly records: readonly NameRecord[];
  readonly authorities: readonly NameRecord[];
  /** More is said over TCP. */
  readonly truncated: boolean;
  readonly tookMs: number;
}

export interface TableName { readonly name: string; readonly addresses: readonly string[]; readonly texts: readonly string[] }
export interface TablePort { readonly name: string; readonly port: number; readonly target: string; readonly addresses: readonly string[] }
/** One network's part of a container's table. */
export interface TableNetwork {
  readonly network: string;
  readonly id: string;
  readonly ttlSeconds: number;
  readonly names: readonly TableName[];
  readonly services: readonly TablePort[];
  readonly pointers: readonly { readonly address: string; readonly name: string }[];
}

/** `GET /dns/table?as=`: networks in the order in which they are asked. */
export interface NameTable extends AskedContainer {
  readonly mode: string;
  /** Where its server listens inside the container; absent while none does. */
  readonly port?: number;
  readonly links: readonly { readonly alias: string; readonly name: string }[];
  readonly networks: readonly TableNetwork[];
}

/** `POST /dns/flush[?as=]`. */
export interface FlushAnswer { readonly containers: number }

/** One line of `GET /dns/log?as=`. */
export interface NameLine {
  readonly at: string;
  readonly name: string;
  readonly type: string;
  readonly transport: "udp" | "tcp";
  readonly outcome: string;
  readonly by: string;
  /** Lines left out before this one, because too many came at once. */
  readonly lost: number;
}

/** `GET /dns/stats`. */
export interface NameStats {
  readonly sandboxes: number;
  readonly networks: number;
  readonly names: number;
  /** Since the process began; what they are called is what they count. */
  readonly counters: Readonly<Record<string, number>>;
}
