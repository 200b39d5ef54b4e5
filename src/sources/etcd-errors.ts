/**
 * etcd's failures as OperatorErrors: classified once, here.
 *
 * In:  whatever etcd3 1.1.2 or grpc-js 1.14 throws.  Out: a code, one sentence, a cure.
 * Rule: never a secret: the foreign error is not kept as a cause, and the password is blanked out of its text.
 */
import { isBrokenCircuitError } from "cockatiel";
import * as etcd3 from "etcd3";
import { OperatorError, type ErrorCode } from "../core/errors.ts";

interface Verdict { readonly code: ErrorCode; readonly cure: string }

const REACH = "Check that etcd runs and that this node reaches the configured endpoints";
const PERMISSION = "Grant the etcd user's role read and write on everything below the configured prefix";
const CREDENTIALS = "Check the etcd user and password settings";
const TRUST = "Check that the etcd CA setting signed the server's certificate and that the endpoint's name is in it";

/** Texts of etcd 3.4–3.6 (api/v3rpc/rpctypes/error.go) and of Node's TLS, for failures whose class says too little. */
const BY_TEXT: readonly (readonly [pattern: RegExp, verdict: Verdict])[] = [
  [/database space exceeded|ALARM NOSPACE/, { code: "exhausted", cure: "Compact and defragment etcd or raise its quota, then disarm its NOSPACE alarm" }],
  [/(no|without a) leader|etcdserver: request timed out/i, { code: "unavailable", cure: "etcd has lost its majority: start its other members again" }],
  [/user name is empty|user name not found/, { code: "denied", cure: "This etcd asks for a user: set the etcd user and password" }],
  [/authentication is not enabled/, { code: "invalid", cure: "This etcd has no authentication: remove the etcd user and password, or enable it there" }],
  [/authentication failed|invalid auth token/, { code: "denied", cure: CREDENTIALS }],
  [/too many operations in txn/, { code: "invalid", cure: "Raise etcd's --max-txn-ops to its default of 128" }],
  [/request is too large/, { code: "invalid", cure: "Raise etcd's --max-request-bytes to its default of 1.5 MiB" }],
  [/alert (bad certificate|certificate required|unknown ca)/i, { code: "denied", cure: "This etcd wants a client certificate that its CA signed: set the etcd certificate and key" }],
  [/speak TLS/, { code: "unavailable", cure: "Write the ETCD_ENDPOINTS with https://" }],
  [/wrong version number|packet length too long/i, { code: "unavailable", cure: "This etcd speaks no TLS: write the ETCD_ENDPOINTS with http://" }],
  [/certificate|self-signed|self signed|altnames|SSL routines/i, { code: "unavailable", cure: TRUST }],
];

const BY_CLASS: readonly (readonly [type: abstract new (...args: never[]) => Error, verdict: Verdict])[] = [
  [etcd3.GRPCDeadlineExceededError, { code: "timeout", cure: REACH }],
  [etcd3.EtcdPermissionDeniedError, { code: "denied", cure: PERMISSION }],
  [etcd3.EtcdAuthenticationFailedError, { code: "denied", cure: CREDENTIALS }],
  [etcd3.EtcdInvalidAuthTokenError, { code: "denied", cure: CREDENTIALS }],
  [etcd3.GRPCUnauthenticatedError, { code: "denied", cure: CREDENTIALS }],
  [etcd3.GRPCInvalidArgumentError, { code: "invalid", cure: "Report this as a bug" }],
  [etcd3.EtcdLeaseInvalidError, { code: "not-found", cure: "A new lease is taken by itself" }],
  [etcd3.GRPCNotFoundError, { code: "not-found", cure: REACH }],
  [etcd3.GRPCNotImplementedError, { code: "unsupported", cure: "Use etcd 3.4 or newer" }],
];

const NETWORK: Verdict = { code: "unavailable", cure: REACH };

function judge(error: unknown, text: string): Verdict {
  for (const [pattern, verdict] of BY_TEXT) if (pattern.test(text)) return verdict;
  for (const [type, verdict] of BY_CLASS) if (error instanceof type) return verdict;
  return NETWORK;
}

/**
 * "GRPCUnavailableError: 14 UNAVAILABLE: No connection established. Last error: Failed to connect (<time>). Resolution note: "
 * → the middle. The time goes, so that the same failure is the same text and is said once.
 */
const bare = (text: string): string => text.split("\n", 1).join("")
  .replace(/^(\w*Error: )?(\d+ [A-Z_]+: )?/, "").replace(/\.? ?Resolution note:.*$/, "").replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)/g, "")
  .replace(/[0-9A-F]{8,}:error:[0-9A-F]+:([^:]+):[^:]+:([^:]+):.*/, "$1: $2").replace(/\.$/, "");

/** `doing` completes "Cannot …". `why` knows more than gRPC about a connection that did not come about. */
export function etcdError(error: unknown, doing: string, secret: string | undefined, why: () => string | undefined = () => undefined): OperatorError {
  if (error instanceof OperatorError) return error;
  const text = (unconnected(error) ? bare(why() ?? "") : "") || plain(error);
  const safe = secret === undefined || secret === "" ? text : text.replaceAll(secret, "***");
  const { code, cure } = judge(error, text);
  return new OperatorError(code, `Cannot ${doing}: ${safe === "" ? "etcd gave no reason" : safe}`, { cure });
}

const plain = (error: unknown): string => (isBrokenCircuitError(error) ? "no endpoint answers" : bare(error instanceof Error ? error.message : String(error)));

const unconnected = (error: unknown): boolean => neverSent(error) || error instanceof etcd3.GRPCDeadlineExceededError || error instanceof etcd3.GRPCUnavailableError;

/** True when the request cannot have reached a server, so even a write may be tried again (grpc-js 1.14 resolving-call, etcd3). */
export const neverSent = (error: unknown): boolean =>
  isBrokenCircuitError(error) || (error instanceof Error && /No connection established|ECONNREFUSED|Name resolution failed/.test(error.message));

export const isTransient = (error: unknown): boolean =>
  isBrokenCircuitError(error) || (error instanceof Error && etcd3.isRecoverableError(error));
