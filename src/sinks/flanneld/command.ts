/**
 * How a flanneld is called.
 *
 * In:  a spec and the way to etcd.  Out: arguments and environment.
 * Rule: pure; credentials travel in the environment, never in the arguments, which every user of the host can read.
 */
import type { FlanneldSpec } from "./vocabulary.ts";

/** Where flanneld finds etcd; files are paths as the process sees them. */
export interface EtcdAccess {
  readonly endpoints: readonly string[];
  readonly username?: string;
  readonly password?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface CommandParts { readonly subnetFile: string; readonly etcdPrefix: string; readonly etcd: EtcdAccess }

/** Ours come last: with Go's flag package the last one wins. */
export function flagsOf(spec: FlanneldSpec, { subnetFile, etcdPrefix, etcd }: CommandParts): string[] {
  return [
    ...spec.extraFlags,
    `--etcd-endpoints=${etcd.endpoints.join(",")}`,
    `--etcd-prefix=${etcdPrefix}`,
    ...tlsFlags(etcd),
    // host-gw refuses a public address that is not the interface's first one; given as an address it selects both.
    `--iface=${spec.backendType === "host-gw" ? spec.publicIp : spec.link}`,
    `--public-ip=${spec.publicIp}`,
    `--subnet-file=${subnetFile}`,
    "--iptables-forward-rules=false",
    "--ip-masq=false",
    "--healthz-port=0",
  ];
}

/** flanneld looks at its TLS flags only when certificate and key are both given (v0.28.9). */
const hasClientCertificate = (etcd: EtcdAccess): boolean => etcd.certFile !== undefined && etcd.keyFile !== undefined;

function tlsFlags(etcd: EtcdAccess): string[] {
  if (!hasClientCertificate(etcd)) return [];
  const ca = etcd.caFile === undefined ? [] : [`--etcd-cafile=${etcd.caFile}`];
  return [`--etcd-certfile=${etcd.certFile}`, `--etcd-keyfile=${etcd.keyFile}`, ...ca];
}

/** All it gets beside PATH: NOTIFY_SOCKET of our own service must not reach it. */
export function environmentOf(etcd: EtcdAccess): Record<string, string> {
  const env: Record<string, string> = {};
  if (etcd.username !== undefined) env["FLANNELD_ETCD_USERNAME"] = etcd.username;
  if (etcd.password !== undefined) env["FLANNELD_ETCD_PASSWORD"] = etcd.password;
  // Server-only TLS: the CA counts only through Go's own store.
  if (!hasClientCertificate(etcd) && etcd.caFile !== undefined) env["SSL_CERT_FILE"] = etcd.caFile;
  return env;
}
