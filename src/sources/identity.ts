/**
 * Who we are on this host: the names dockerd knows our plugin by, and whether we are its only operator (design D24).
 *
 * In:  the plugin sockets of the host, Docker's list of plugins.  Out: names such as "flannel-np:latest".
 * Rule: our socket and the host's are one file, so its inode tells our plugin id, and the socket's name our other aliases.
 */
import Docker from "dockerode";
import { readdir, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";

/** `ours`: our socket as we see it. `directory`: the host's directory of plugin sockets, one subdirectory per plugin id. */
export async function findPluginId(ours: string, directory: string): Promise<string | undefined> {
  const mine = await stat(ours);
  const name = ours.slice(ours.lastIndexOf("/") + 1);
  for (const id of await readdir(directory)) {
    const other = await stat(join(directory, id, name)).catch(() => undefined);
    if (other !== undefined && other.ino === mine.ino && other.dev === mine.dev) return id;
  }
  return undefined;
}

interface Listed { readonly Id?: unknown; readonly Name?: unknown; readonly Config?: { readonly Interface?: { readonly Socket?: unknown } } }

/**
 * Every name that this host knows the plugin by: `id`'s first, then those of our other aliases. As one operator serves a host,
 * their networks are its own too: taking over from an alias must not take its pools and its containers' links away (design D14).
 */
export async function pluginNames({ socketPath, id }: { readonly socketPath: string; readonly id: string }): Promise<readonly string[]> {
  const plugins: unknown = await new Docker({ socketPath, timeout: 5_000 }).listPlugins();
  const listed: readonly Listed[] = Array.isArray(plugins) ? plugins : [];
  const own = listed.find((plugin) => plugin.Id === id);
  const socket = own?.Config?.Interface?.Socket;
  if (own === undefined || typeof socket !== "string") return [];
  const aliases = listed.filter((plugin) => plugin !== own && plugin.Config?.Interface?.Socket === socket);
  return [own, ...aliases].map((plugin) => String(plugin.Name));
}

/**
 * Takes the lock of this host's network namespace; resolves with true when it is ours, false when another process has it.
 * An abstract socket vanishes with its process, so there is no stale lock (unix(7)).
 */
export function takeLock(name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.on("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? resolve(false) : reject(error)));
    server.listen(`\0${name}`, () => {
      server.unref();
      resolve(true);
    });
  });
}
