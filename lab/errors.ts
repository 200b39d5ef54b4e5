/**
 * Keeps true: whatever goes wrong in a lab says what could not be done, why, and what to do next.
 * In: the facts. Out: one Error. Rule: the cure is a sentence a user can follow.
 */

export class LabError extends Error {
  readonly cure: string;

  /** @param message "Cannot <do> <object>: <reason>", without a full stop */
  constructor(message: string, cure: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "LabError";
    this.cure = cure;
  }
}

/** The text of anything thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
