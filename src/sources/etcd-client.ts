/**
 * A thin typed face on etcd3: unary calls with a deadline, leases, and the raw watch stream.
 *
 * In:  endpoints and credentials.  Out: `EtcdClient` (core/store.ts) and the raw watch for sources/etcd-watch.ts.
 * Rule: reads and lease calls are tried again while etcd is merely out of reach; a transaction only when it cannot have been
 *       sent, so a compare-and-swap never runs twice. etcd3's own watcher loses events and is not used.
 */
import { noop } from "cockatiel";
import * as etcd3 from "etcd3";
import { X509Certificate } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { rootCertificates } from "node:tls";
import type { Observable } from "rxjs";
import { OperatorError } from "../core/errors.ts";
import {
  MAX_TXN_OPS, type EtcdClient, type LeaseId, type StoredItem, type Txn, type TxnResult, type WatchResponse,
} from "../core/store.ts";
import { etcdError, isTransient, neverSent } from "./etcd-errors.ts";
import { reasonsOf } from "./etcd-health.ts";
import { hostPolicy } from "./etcd-hosts.ts";
import { keyBytes, prefixEnd, storedItem, txnRequest, txnResult } from "./etcd-wire.ts";
import { askOnce, watchStream } from "./etcd-streams.ts";

export interface EtcdAccess {
  /** `http://host:port` or `https://host:port`; all of one kind. */
  readonly endpoints: readonly string[];
  readonly user?: string;
  readonly password?: string;
  /** PEM. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface WatchingClient extends EtcdClient {
  /** Raw responses from the revision on, beginning with `created`; errors with an OperatorError when the stream ends. */
  watch(prefix: string, from: bigint): Observable<WatchResponse>;
}

/** One try of one call. */
const DEADLINE_MS = 2_500;
/** From the first try on, no further try starts after this: the worst case of one call is 2.5 s more. */
const TRY_FOR_MS = 4_000;
const PAUSE_MS = [30, 80, 200, 400] as const;

/**
 * Throws an OperatorError (`invalid`) for settings that cannot work together; does not connect yet.
 */
export function connectEtcd(access: EtcdAccess): WatchingClient {
  const client = open(access);
  const why = reasonsOf(access);
  const call = caller(access.password, why);
  const read = <T>(doing: string, ask: () => Promise<T>): Promise<T> => call(doing, ask, isTransient);
  const range = async (key: string, end: Buffer | undefined): Promise<etcd3.IRangeResponse> =>
    read(`read ${key} from etcd`, () => client.kv.range({ key: keyBytes(key), ...(end === undefined ? {} : { range_end: end }) }));
  return {
    async range(prefix) {
      const response = await range(prefix, prefixEnd(prefix));
      return { revision: BigInt(response.header.revision), items: response.kvs.map(storedItem) };
    },
    async get(key): Promise<StoredItem | undefined> {
      return (await range(key, undefined)).kvs.map(storedItem)[0];
    },
    txn: (txn) => runTxn(client, call, txn),
    async grantLease(ttlSeconds) {
      const granted = await read("get a lease from etcd", () => client.leaseClient.leaseGrant({ TTL: ttlSeconds }));
      return granted.ID as LeaseId;
    },
    async keepAliveOnce(id) {
      const answer = await read("renew a lease in etcd", async () => askOnce(await client.leaseClient.leaseKeepAlive(), { ID: id }, DEADLINE_MS));
      const seconds = Number(answer.TTL);
      if (seconds > 0) return seconds;
      throw new OperatorError("not-found", `Cannot renew lease ${id} in etcd: it has expired`, { cure: "A new lease is taken by itself" });
    },
    async revokeLease(id) {
      try { await read("give a lease back to etcd", () => client.leaseClient.leaseRevoke({ ID: id })); }
      catch (error) { if (!(error instanceof OperatorError) || error.code !== "not-found") throw error; }
    },
    watch: (prefix, from) => watchStream(() => client.watchClient.watch(), prefix, from, access.password, why),
    close: () => client.close(),
  };
}

type Call = <T>(doing: string, ask: () => Promise<T>, again: (error: unknown) => boolean) => Promise<T>;

type Why = () => string | undefined;

/** Tries again while `again` says so; the last failure is what the caller sees. */
function caller(secret: string | undefined, why: Why): Call {
  return async (doing, ask, again) => {
    const start = performance.now();
    for (let attempt = 0; ; attempt++) {
      try { return await ask(); }
      catch (error) {
        const pauseMs = PAUSE_MS[attempt];
        const late = performance.now() - start > TRY_FOR_MS;
        if (pauseMs === undefined || late || !again(error)) throw etcdError(error, doing, secret, why);
        await sleep(pauseMs * (0.5 + Math.random()));
      }
    }
  };
}

async function runTxn(client: etcd3.Etcd3, call: Call, txn: Txn): Promise<TxnResult> {
  const failure = txn.failure ?? [];
  const most = Math.max(txn.compare.length, txn.success.length, failure.length);
  if (most > MAX_TXN_OPS) {
    throw new OperatorError("invalid", `Cannot run an etcd transaction: ${most} operations, the limit is ${MAX_TXN_OPS}`, { cure: "Report this as a bug" });
  }
  const doing = `write ${[...txn.success, ...failure][0]?.key ?? "nothing"} to etcd`;
  return txnResult(await call(doing, () => client.kv.txn(txnRequest(txn)), neverSent));
}

function open(access: EtcdAccess): etcd3.Etcd3 {
  checkEndpoints(access);
  const { endpoints, user, password, ca, cert, key } = access;
  const secure = endpoints.every((endpoint) => endpoint.startsWith("https://"));
  try {
    // gRPC takes an unreadable CA without a word and then trusts nobody.
    for (const pem of [ca, cert]) if (pem !== undefined) new X509Certificate(pem);
    return new etcd3.Etcd3({
      hosts: [...endpoints],
      ...(secure && (ca ?? cert) !== undefined ? { credentials: {
        rootCertificate: Buffer.from(ca ?? rootCertificates.join("\n")),
        ...(cert === undefined || key === undefined ? {} : { certChain: Buffer.from(cert), privateKey: Buffer.from(key) }),
      } } : {}),
      ...(user === undefined || password === undefined ? {} : { auth: { username: user, password } }),
      defaultCallOptions: (context) => (context.isStream ? {} : { deadline: Date.now() + DEADLINE_MS }),
      grpcOptions: {
        "grpc.keepalive_time_ms": 10_000, "grpc.keepalive_timeout_ms": 3_000, "grpc.max_reconnect_backoff_ms": 1_000,
        "grpc.max_receive_message_length": -1,
      },
      faultHandling: { global: noop, host: () => hostPolicy(endpoints.length) },
    });
  } catch (error) {
    // createSsl throws on a PEM text it cannot read; the text may hold the key, so it is not repeated.
    const name = error instanceof Error ? error.name : "error";
    throw new OperatorError("invalid", `Cannot use the etcd certificates: they are not valid PEM (${name})`, { cure: "Check the etcd CA, certificate and key settings" });
  }
}

function checkEndpoints({ endpoints, user, password, ca, cert, key }: EtcdAccess): void {
  const refuse = (reason: string, cure: string): never => {
    throw new OperatorError("invalid", `Cannot use the etcd settings: ${reason}`, { cure });
  };
  if (endpoints.length === 0) refuse("no endpoint is given", "Set ETCD_ENDPOINTS, for example http://10.0.0.5:2379");
  const https = endpoints.filter((endpoint) => endpoint.startsWith("https://")).length;
  if (endpoints.some((endpoint) => endpoint.includes("@"))) refuse("an endpoint contains a user or password", "Use the etcd user and password settings");
  if (https > 0 && https < endpoints.length) refuse("http and https endpoints are mixed", "Use one kind for all ETCD_ENDPOINTS");
  if (https === 0 && (ca ?? cert ?? key) !== undefined) refuse("a CA, certificate or key is set, but the endpoints are not https", "Write the ETCD_ENDPOINTS with https://");
  if ((cert === undefined) !== (key === undefined)) refuse("a client certificate needs its key, and a key its certificate", "Set both or neither");
  if ((user === undefined) !== (password === undefined)) refuse("an etcd user needs a password, and a password a user", "Set both or neither");
}
