/**
 * How flanneld reaches etcd: it takes certificates from files only, so ours are written where only root reads.
 *
 * In:  endpoints, credentials, PEM texts.  Out: files of mode 0600 and their paths.
 * Rule: secrets never reach an argument list; the directory lies on the host's tmpfs and does not outlive a reboot.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import type { EtcdAccess } from "./flanneld.ts";

export interface EtcdSecrets {
  readonly endpoints: readonly string[];
  readonly user?: string;
  readonly password?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export function etcdFiles({ endpoints, user, password, ca, cert, key }: EtcdSecrets, directory: string): EtcdAccess {
  const file = (name: string, text: string | undefined): string | undefined => {
    if (text === undefined) return undefined;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(`${directory}/${name}`, `${text}\n`, { mode: 0o600 });
    return `${directory}/${name}`;
  };
  const parts = { username: user, password, caFile: file("ca.pem", ca), certFile: file("cert.pem", cert), keyFile: file("key.pem", key) };
  return { endpoints, ...Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) };
}
