/**
 * etcd's two streaming calls, each with an end: a watch as an Observable, a lease renewal as one question and one answer.
 *
 * Rule: unsubscribing or answering cancels the stream; errors after that are swallowed, since gRPC reports the cancel as one.
 */
import type * as etcd3 from "etcd3";
import { Observable } from "rxjs";
import { OperatorError } from "../core/errors.ts";
import type { WatchResponse } from "../core/store.ts";
import { etcdError } from "./etcd-errors.ts";
import { keyBytes, prefixEnd, watchResponse } from "./etcd-wire.ts";

type WatchStream = etcd3.IDuplexStream<unknown, etcd3.IWatchResponse>;

export function watchStream(
  open: () => Promise<WatchStream>, prefix: string, from: bigint, secret: string | undefined, why: () => string | undefined,
): Observable<WatchResponse> {
  return new Observable((out) => {
    let stream: WatchStream | undefined;
    const fail = (error: unknown): void => out.error(etcdError(error, `watch ${prefix} in etcd`, secret, why));
    const begin = (opened: WatchStream): void => {
      stream = opened;
      opened.on("error", fail);
      opened.on("end", () => fail(new Error("the stream ended")));
      opened.on("data", (response) => out.next(watchResponse(response)));
      if (out.closed) return opened.cancel();
      opened.write({ create_request: {
        key: keyBytes(prefix), range_end: prefixEnd(prefix), start_revision: String(from), progress_notify: true,
      } });
    };
    open().then(begin).catch(fail);
    return () => stream?.cancel();
  });
}

/** Writes one request, resolves with the first answer; rejects with etcd3's error, or `timeout`. */
export function askOnce<Q, A>(stream: etcd3.IDuplexStream<Q, A>, question: Q, timeoutMs: number): Promise<A> {
  let timer: NodeJS.Timeout | undefined;
  const answer = new Promise<A>((resolve, reject) => {
    timer = setTimeout(() => reject(new OperatorError("timeout", "Cannot renew a lease in etcd: no answer in time", {
      cure: "Check that etcd runs and that this node reaches the configured endpoints" })), timeoutMs);
    // These stay on for good: an error nobody hears ends the process.
    stream.on("error", reject);
    stream.on("end", () => reject(new Error("the stream ended")));
    stream.on("data", resolve);
    stream.write(question);
  });
  // Ended, not cancelled: etcd3 takes a cancelled stream for a broken host and closes the channel of the watch as well,
  // which gRPC notices only at its next keepalive.
  return answer.then(
    (value) => { stream.end(); return value; },
    (error: unknown) => { stream.cancel(); throw error; },
  ).finally(() => clearTimeout(timer));
}
