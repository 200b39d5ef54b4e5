/**
 * The plugin's socket, open before the rest of the program is read: dockerd looks for it four times in 10 s and then disables the
 * plugin, and reading the program takes as long on a slow or busy host.
 *
 * In:  the path.  Out: a listening socket; whoever has called on it is passed to the server that answers.
 * Rule: imports nothing of ours; a path that cannot be had is not reported here: whoever listens later says why. The server listens
 * anew on the same path; this socket is never closed, since closing it would take the path away.
 */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import type { Server as HttpServer } from "node:http";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";

export const PLUGIN_SOCKET = "/run/docker/plugins/flannel-np.sock";

export interface EarlySocket {
  /** Callers of before and of the moment in between are the server's; the last server named gets the later ones. */
  passTo(server: HttpServer): void;
}

/** Undefined when the path cannot be used. */
export async function listenEarly(path: string): Promise<EarlySocket | undefined> {
  const callers: Socket[] = [];
  let take = (socket: Socket): void => { callers.push(socket); };
  // Paused: what a caller has sent stays in the kernel until somebody reads it.
  const early = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => { take(socket); });
  try {
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => { early.once("error", reject).listen(path, resolve); });
    chmodSync(path, 0o600);
  } catch {
    return undefined;
  }
  early.unref();
  return {
    passTo: (server) => {
      take = (socket) => { server.emit("connection", socket.resume()); };
      for (const socket of callers.splice(0)) take(socket);
    },
  };
}
