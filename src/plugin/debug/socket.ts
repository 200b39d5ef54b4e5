/**
 * Where the debug endpoint listens: a unix socket in a directory of root's alone; loopback TCP only if asked for.
 *
 * Rule: containers and other users stay out (design D18); an address that others could reach is refused, never narrowed.
 */
import { chmod, mkdir } from "node:fs/promises";
import type { Server } from "node:http";
import { dirname } from "node:path";
import { OperatorError } from "../../core/errors.ts";
import { parseIpv4 } from "../../core/ids.ts";
import { listenOn } from "../socket.ts";

/** The directory is shut before the socket exists, so there is no moment in which others could connect. */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  const directory = dirname(path);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
  } catch (cause) {
    throw new OperatorError("unavailable", `Cannot listen on ${path}: ${(cause as Error).message}`, { cause, cure: `Make ${directory} a directory that root can write` });
  }
  await listenOn(server, path);
}

const EXAMPLE = "Give a loopback address and a port, e.g. 127.0.0.1:9799, or nothing: the unix socket is always there";

/** `127.0.0.1:9799`, `localhost:9799`, `[::1]:9799`. Throws `invalid`. */
export function parseLoopback(text: string): { readonly host: string; readonly port: number } {
  const [, host = "", digits = ""] = /^(.*):(\d{1,5})$/.exec(text.trim()) ?? [];
  const port = Number(digits);
  const refuse = (reason: string): OperatorError => new OperatorError("invalid", `Cannot listen on ${JSON.stringify(text)}: ${reason}`, { cure: EXAMPLE });
  if (host === "" || port < 1 || port > 65_535) throw refuse("it is not address:port");
  if (host === "localhost") return { host: "127.0.0.1", port };
  if (host === "[::1]") return { host: "::1", port };
  if (parseIpv4(host)?.startsWith("127.") === true) return { host, port };
  throw refuse("it is no loopback address, so others could reach the endpoint");
}

/** Rejects with `invalid` for an address others could reach, `unavailable` when it cannot be had. */
export async function listenOnLoopback(server: Server, text: string): Promise<void> {
  const { host, port } = parseLoopback(text);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(new OperatorError("unavailable", `Cannot listen on ${text}: ${cause.message}`, { cause, cure: EXAMPLE })));
    server.listen({ host, port }, resolve);
  });
}
