/**
 * Docker's network namespaces as files: which exist, and when another appears or goes.
 *
 * In:  Docker's directory of them.  Out: file name → inode of the namespace.
 * Rule: a file counts once a namespace is mounted over it; Docker makes the file first.
 */
import { readdirSync, statSync, watch, type FSWatcher } from "node:fs";

/** Rejects what cannot be read; a directory that is not there yet holds none. */
export function namespacesIn(directory: string): ReadonlyMap<string, bigint> {
  const found = new Map<string, bigint>();
  for (const name of entriesOf(directory)) {
    const inode = namespaceAt(directory, name);
    if (inode !== undefined) found.set(name, inode);
  }
  return found;
}

function entriesOf(directory: string): readonly string[] {
  try { return readdirSync(directory); } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** The kernel's namespace files lie on a file system of their own. */
function namespaceAt(directory: string, name: string): bigint | undefined {
  const stat = statSync(`${directory}/${name}`, { bigint: true, throwIfNoEntry: false });
  const home = statSync(directory, { bigint: true, throwIfNoEntry: false });
  return stat === undefined || stat.dev === home?.dev ? undefined : stat.ino;
}

const AGAIN_MS = 1_000;
const MOUNT_POLL_MS = 5;
const MOUNT_POLLS = 400;

/** Calls when a namespace has appeared or its file has changed or gone; until the returned function is called. */
export function watchNamespaces(directory: string, changed: () => void): () => void {
  const timers = new Set<NodeJS.Timeout>();
  let watcher: FSWatcher | undefined;
  const later = (ms: number, act: () => void): void => {
    const timer = setTimeout(() => { timers.delete(timer); act(); }, ms).unref();
    timers.add(timer);
  };
  const mounted = (name: string, left: number): void => {
    const there = statSync(`${directory}/${name}`, { throwIfNoEntry: false }) !== undefined;
    if (!there || namespaceAt(directory, name) !== undefined || left === 0) changed();
    else later(MOUNT_POLL_MS, () => mounted(name, left - 1));
  };
  const begin = (): void => {
    try {
      watcher = watch(directory, { persistent: false }, (_event, name) => { if (name === null) changed(); else mounted(name, MOUNT_POLLS); });
      watcher.once("error", () => { watcher?.close(); later(AGAIN_MS, begin); });
      changed();
    } catch { later(AGAIN_MS, begin); }
  };
  begin();
  return () => {
    watcher?.close();
    for (const timer of timers) clearTimeout(timer);
  };
}
