/**
 * Why a verb could not do its work, in two lines for a person: what, and what to do next.
 *
 * Rule: exit status 0 = fine, 1 = the operator reports something a person must act on, 2 = the operator could not be asked.
 */
export type ExitStatus = 0 | 1 | 2;

export class CliError extends Error {
  readonly cure: string;

  constructor(message: string, cure: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "CliError";
    this.cure = cure;
  }
}
