/**
 * A listening unix socket at a path of ours, whatever a former life left there.
 *
 * In:  an HTTP server and a path.  Out: the server listens, the file is root's alone (0600).
 * Rule: whoever calls owns the path; one operator per host is the lock's business (design D24), not the socket's.
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { dirname } from "node:path";
import { OperatorError } from "../core/errors.ts";

/** Rejects with `unavailable` when the path cannot be used. */
export async function listenOn(server: Server, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, () => { server.off("error", reject); resolve(); });
    });
    await chmod(path, 0o600);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError("unavailable", `Cannot listen on ${path}: ${reason}`, {
      cause, context: { path }, cure: "Make sure its directory exists and can be written, and that the path has at most 107 bytes",
    });
  }
}

/** Ends idle connections now and busy ones after their answer, or after `graceMs`. */
export async function stopServing(server: Server, graceMs: number): Promise<void> {
  const timer = setTimeout(() => { server.closeAllConnections(); }, graceMs);
  await new Promise<void>((resolve) => { server.close(() => { resolve(); }); server.closeIdleConnections(); });
  clearTimeout(timer);
}
