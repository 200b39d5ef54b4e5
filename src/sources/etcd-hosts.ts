/**
 * Which of several endpoints is asked: one that just failed is left alone for a second, so the next try goes to another.
 *
 * In:  calls of etcd3 to one host.  Out: the call's end, or a broken circuit, upon which etcd3 takes the next host.
 * Rule: nobody waits for another's call. cockatiel's own breaker lets all wait for the one that tries a host again; etcd3 begins a
 * call anew from within when its token is refused, as after a member's restart: that one then waits for itself, and all for it.
 * Time is the monotonic one: a clock that is set back closes no host.
 */
import { BrokenCircuitError, noop, type IDefaultPolicyContext, type IPolicy } from "cockatiel";
import * as etcd3 from "etcd3";

const REST_MS = 1_000;

export function hostPolicy(endpoints: number, now: () => number = () => performance.now()): IPolicy<IDefaultPolicyContext> {
  if (endpoints < 2) return noop;
  let failedAtMs = -Infinity;
  return {
    _altReturn: noop._altReturn, onSuccess: noop.onSuccess, onFailure: noop.onFailure,
    async execute(call, signal = new AbortController().signal) {
      if (now() - failedAtMs < REST_MS) throw new BrokenCircuitError();
      try {
        return await call({ signal });
      } catch (error) {
        if (error instanceof Error && etcd3.isRecoverableError(error)) failedAtMs = now();
        throw error;
      }
    },
  };
}
