/**
 * The kernel's settings below /proc/sys.
 *
 * Rule: /proc/sys/net shows the network namespace of whoever reads it, so this is right only inside the host's; a path that
 * is not there (a link just gone, a kernel without IPv6) reads as undefined and a write to it does nothing: the next look tells.
 */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { OperatorError } from "../core/errors.ts";

export interface Sysctls {
  /** One answer per path ("net/ipv4/ip_forward"), in order, without the line end; undefined where there is none. */
  read(paths: readonly string[]): Promise<readonly (string | undefined)[]>;
  /** Rejects with `denied` when the tree is mounted read-only or the process lacks the right. */
  write(settings: readonly (readonly [path: string, value: string])[]): Promise<void>;
}

/** `root`: where the kernel's tree is mounted, "/proc/sys". */
export const sysctlsBelow = (root: string): Sysctls => ({
  // Synchronous on purpose: the kernel answers from memory in about 10 µs, a trip through the thread pool costs ten times that.
  read: async (paths) => paths.map((path) => readOne(`${root}/${path}`)),
  // Some writes wait for the kernel's network lock, so they must not hold up the event loop.
  write: async (settings) => { await Promise.all(settings.map(([path, value]) => writeOne(`${root}/${path}`, value))); },
});

function readOne(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new OperatorError("unavailable", `Cannot read ${path}: ${codeOf(error)}`, { cause: error });
  }
}

async function writeOne(path: string, value: string): Promise<void> {
  try {
    await writeFile(path, value, { flag: "r+" });
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return;
    const denied = code === "EROFS" || code === "EACCES" || code === "EPERM";
    throw new OperatorError(denied ? "denied" : "unavailable", `Cannot write ${value} to ${path}: ${code}`, {
      cause: error, ...(denied ? { cure: "Give the plugin CAP_NET_ADMIN, and CAP_SYS_ADMIN to make /proc/sys writable: install it again with all it asks for" } : {}),
    });
  }
}

/** Node's code for what the kernel answered. */
export const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? error.code : String(error);
