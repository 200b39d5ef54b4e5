/**
 * The newest state on a file system in memory, for callers whose caller waits: no disk, no thread pool, a fraction of a millisecond.
 *
 * In:  states.  Out: the text of the last one, while it says more than the state file on the disk.
 * Rule: it outlives this process but not the machine's power, and with the power the containers are gone whose addresses it holds.
 *       A note that the disk has, or that could not be replaced, is removed: it must never be older than the state file.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export interface Notes {
  /** Notes taken so far. */
  readonly count: number;
  /** False when it could not be taken; then no note is left. */
  take(state: unknown): boolean;
  /** Undefined when there is none. */
  read(): string | undefined;
  /** The disk has a state that is newer than this many notes. */
  writtenUpTo(count: number): void;
}

export function notesAt(path: string, encode: (state: unknown) => string): Notes {
  let count = 0;
  const remove = (): void => {
    try {
      rmSync(path, { force: true });
    } catch {
      // Whatever stands there then is no note: nothing could be renamed over it.
    }
  };
  return {
    get count() { return count; },
    take: (state) => {
      count++;
      try {
        replace(path, encode(state));
        return true;
      } catch {
        remove();
        return false;
      }
    },
    read: () => {
      try {
        return readFileSync(path, "utf8");
      } catch {
        return undefined;
      }
    },
    writtenUpTo: (written) => { if (written === count) remove(); },
  };
}

function replace(path: string, text: string): void {
  const temporary = `${path}.new`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}
