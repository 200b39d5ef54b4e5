/**
 * What must outlive a reboot without etcd (design D21), in one file that is whole or set aside.
 *
 * In:  a state, opaque JSON.  Out: the last state written, or undefined.
 * Rule: temporary file, fsync, rename: a power cut leaves the old state or the new one. A file that cannot be read is kept
 *       for a person and never read again. A full disk must not refuse a container: writing never rejects.
 *       A caller that cannot wait for a disk leaves a note (state-file/note.ts).
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Emit } from "../core/events.ts";
import { notesAt, type Notes } from "./state-file/note.ts";

export interface StateFileOptions {
  readonly path: string;
  /** Of notes, on a file system in memory. Default: none, then a note is a write. */
  readonly notePath?: string;
  readonly emit: Emit;
}

export interface StateFile {
  /** At start, once. Undefined when there is none or it was set aside; the caller validates what is in it. */
  read(): unknown;
  /** Never to be changed afterwards. Resolves when this state or a newer one is on the disk, or when that failed (event `state.unwritten`, counted). */
  write(state: unknown): Promise<void>;
  /** The same, without waiting for a disk: resolves when this state would survive the end of this process. A write must follow. */
  note(state: unknown): Promise<void>;
  /** Resolves when nothing is left to write. */
  flush(): Promise<void>;
  readonly counters: { readonly written: number; readonly unwritten: number };
}

const VERSION = 1;
/** Damaged files kept for a person; older ones go. */
const KEPT_ASIDE = 3;

const checksumOf = (state: string): string => createHash("sha256").update(state).digest("hex");

/** The state comes last and as written, so that its checksum is one over bytes, not over somebody's idea of JSON. */
export function encodeState(state: unknown): string {
  const body = JSON.stringify(state) ?? "null";
  return `{"version":${VERSION},"checksum":"${checksumOf(body)}","state":${body}}\n`;
}

const ENVELOPE = /^\{"version":(\d+),"checksum":"([0-9a-f]*)","state":([\s\S]*)\}\n$/;

export function decodeState(text: string): { readonly state: unknown } | { readonly reason: string } {
  const [, version, checksum, body] = ENVELOPE.exec(text) ?? [];
  if (version === undefined || body === undefined) return { reason: text === "" ? "it is empty" : "it is cut off or not a state file" };
  if (Number(version) !== VERSION) return { reason: `its version is ${version}, this program reads ${VERSION}` };
  if (checksumOf(body) !== checksum) return { reason: "its checksum does not fit its content" };
  try {
    return { state: JSON.parse(body) as unknown };
  } catch {
    return { reason: "its content is not JSON" };
  }
}

export function stateFile({ path, notePath, emit }: StateFileOptions): StateFile {
  const counters = { written: 0, unwritten: 0 };
  const notes = notePath === undefined ? undefined : notesAt(notePath, encodeState);
  const writeOnce = writer(path, notes, counters, emit);
  let next: Write | undefined;
  let busy: Promise<void> | undefined;

  /** One write at a time; whatever arrives meanwhile becomes exactly one more, of the newest. */
  const drain = async (): Promise<void> => {
    for (let write = next; write !== undefined; write = next) {
      next = undefined;
      await writeOnce(write);
      write.settle();
    }
    busy = undefined;
  };
  const write = (state: unknown): Promise<void> => {
    next = { ...next ?? newSettling(), state, included: notes?.count ?? 0 };
    const { settled } = next;
    busy ??= drain();
    return settled;
  };
  return {
    counters, write,
    read: () => {
      const state = readState(path, emit);
      const noted = decodeState(notes?.read() ?? "");
      return "state" in noted ? noted.state : state;
    },
    note: (state) => (notes?.take(state) ? Promise.resolve() : write(state)),
    flush: () => busy ?? Promise.resolve(),
  };
}

/** One attempt, told in the counters; the same complaint is said once. */
function writer(path: string, notes: Notes | undefined, counters: { written: number; unwritten: number }, emit: Emit): (write: Write) => Promise<void> {
  let complaint = "";
  return async ({ state, included }) => {
    try {
      await replaceFile(path, encodeState(state));
      notes?.writtenUpTo(included);
      counters.written++;
      complaint = "";
    } catch (error) {
      counters.unwritten++;
      const reason = (error as Error).message;
      const kind = (error as NodeJS.ErrnoException).code ?? reason;
      if (kind !== complaint) emit("state.unwritten", { path, reason });
      complaint = kind;
    }
  };
}

interface Settling { readonly settled: Promise<void>; readonly settle: () => void }
/** `included`: how many notes this state is newer than. */
interface Write extends Settling { readonly state: unknown; readonly included: number }

function newSettling(): Settling {
  let settle = (): void => undefined;
  const settled = new Promise<void>((resolve) => { settle = resolve; });
  return { settled, settle };
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await rm(temporary, { force: true });
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Without it the rename itself may be lost in a power cut; a file system that cannot do it has none to lose. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  await directory.sync().catch(() => undefined);
  await directory.close();
}

/** Files that were set aside and that nobody has taken away yet. */
export function setAsideOf(path: string): readonly string[] {
  try {
    return readdirSync(dirname(path)).filter((name) => name.startsWith(`${basename(path)}.damaged-`)).sort().map((name) => join(dirname(path), name));
  } catch {
    return [];
  }
}

function readState(path: string, emit: Emit): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    setAside(path, `it cannot be read: ${(error as Error).message}`, emit);
    return undefined;
  }
  const decoded = decodeState(text);
  if ("state" in decoded) return decoded.state;
  setAside(path, decoded.reason, emit);
  return undefined;
}

function setAside(path: string, reason: string, emit: Emit): void {
  const start = `${basename(path)}.damaged-`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    const numbers = readdirSync(dirname(path)).filter((name) => name.startsWith(start)).map((name) => Number(name.slice(start.length)))
      .filter(Number.isInteger).sort((a, b) => a - b);
    const aside = `${path}.damaged-${(numbers.at(-1) ?? 0) + 1}`;
    renameSync(path, aside);
    for (const old of numbers.slice(0, Math.max(0, numbers.length + 1 - KEPT_ASIDE))) rmSync(join(dirname(path), start + old), { recursive: true, force: true });
    emit("state.damaged", { path, aside, reason });
  } catch (error) {
    emit("state.damaged", { path, aside: "", reason: `${reason}; it cannot be set aside: ${(error as Error).message}` });
  }
}
