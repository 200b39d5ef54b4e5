/**
 * One error class for the operator; its code carries the retry policy.
 *
 * Rule: only sinks and sources turn foreign failures into codes; everyone above reads the code, never the text.
 * Messages read "Cannot <do> <object>: <reason>"; `cure` says what a person can do about it.
 */
export type ErrorCode =
  | "unavailable" | "timeout" | "not-found" | "exists" | "conflict" | "invalid" | "unsupported" | "denied" | "exhausted" | "bug";

/** backoff: again by itself; on-change: when the input changes; never: a person must act. */
export type RetryPolicy = "backoff" | "on-change" | "never";

export const RETRY: Readonly<Record<ErrorCode, RetryPolicy>> = {
  "unavailable": "backoff", "timeout": "backoff", "not-found": "backoff", "exists": "backoff", "conflict": "backoff",
  "invalid": "on-change", "unsupported": "on-change", "denied": "backoff", "exhausted": "on-change", "bug": "on-change",
};

export interface ErrorDetails {
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cure?: string;
  readonly cause?: unknown;
}

export class OperatorError extends Error {
  readonly code: ErrorCode;
  readonly context: Readonly<Record<string, unknown>>;
  readonly cure: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "OperatorError";
    this.code = code;
    this.context = details.context ?? {};
    this.cure = details.cure;
  }
}

/** Anything thrown, as an OperatorError; what is not one already is a bug of ours. */
export function asOperatorError(error: unknown): OperatorError {
  if (error instanceof OperatorError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new OperatorError("bug", message, { cause: error });
}

/** One line for a person: the message and the cure. */
export const explain = (error: OperatorError): string =>
  error.cure === undefined ? error.message : `${error.message}. ${error.cure}`;
