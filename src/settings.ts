/**
 * The catalogue of settings: one row per variable with unit, default, example and meaning.
 *
 * Rule: README's table, packaging/config.json and src/config.ts are checked against this list; a secret also exists as `<name>_FILE`.
 */
export interface Setting {
  readonly name: string;
  readonly default: string;
  readonly example: string;
  readonly unit: string;
  readonly says: string;
}

const row = (name: string, value: string, example: string, unit: string, says: string): Setting =>
  ({ name, default: value, example, unit, says });

export const SETTINGS: readonly Setting[] = [
  row("ETCD_ENDPOINTS", "http://127.0.0.1:2379", "172.16.0.2:2379,172.16.0.3:2379", "host:port list", "etcd servers that hold the shared state; https:// for TLS"),
  row("ETCD_PREFIX", "/flannel", "/flannel", "path", "prefix of every key in etcd"),
  row("ETCD_USER", "", "flannel", "text", "etcd user"),
  row("ETCD_PASSWORD", "", "(secret)", "text", "etcd password"),
  row("ETCD_CA", "", "-----BEGIN CERTIFICATE-----…", "PEM", "authority that signed etcd's certificate"),
  row("ETCD_CERT", "", "-----BEGIN CERTIFICATE-----…", "PEM", "client certificate"),
  row("ETCD_KEY", "", "-----BEGIN PRIVATE KEY-----…", "PEM", "client key"),
  row("DEFAULT_FLANNEL_OPTIONS", "", "-iface=eth1", "flags", "flags for every flanneld; without -iface the link that holds the swarm address is used"),
  row("AVAILABLE_SUBNETS", "", "10.1.0.0/16,10.10.0.0/16", "CIDR list", "ranges networks come from; empty = free parts of 10.0.0.0/8"),
  row("NETWORK_SUBNET_SIZE", "20", "18", "prefix length", "size of one network"),
  row("DEFAULT_HOST_SUBNET_SIZE", "25", "23", "prefix length", "size of one node's part of a network"),
  row("SERVICE_RANGE_SIZE", "0", "2048", "addresses", "size of a network's service range; 0 = one node's part, at least 1024 where there is room"),
  row("VNI_START", "6514", "10000", "VNI", "first VXLAN id"),
  row("IS_HOOK_AVAILABLE", "auto", "true", "true|false|auto", "whether the OCI hook gates container starts on engines before 28"),
  row("DNS_DOCKER_COMPATIBILITY_MODE", "true", "false", "true|false", "answer ambiguous names as Docker does"),
  row("DNS_TTL", "5", "30", "seconds", "how long an answer about containers and services may be kept; per network: --opt dns-ttl=30"),
  row("DNS_TXT", "true", "false", "true|false", "TXT answers say who stands behind a name: service, task, node"),
  row("DNS_CACHE", "true", "false", "true|false", "keep answers of Docker's own resolver for a few seconds"),
  row("BALANCER", "auto", "nftables", "auto|nftables|ipvs|off", "what spreads connections over a service's tasks; auto takes nftables; off: a VIP refuses everything, use --endpoint-mode dnsrr"),
  row("DRAIN_TIME", "10m", "30s", "duration", "longest time that a task which is to stop, or is unhealthy, keeps its connections; label flannel-np.drain-time overrides it"),
  row("MARK_RANGE", "0xf00000-0xf0ffff", "0xe00000-0xe0ffff", "first-last", "packet marks that are ours alone with IPVS; every service takes two"),
  row("DEBUG_LISTEN", "", "127.0.0.1:9799", "address:port", "debug endpoint on loopback TCP beside its unix socket"),
  row("LOG_LEVEL", "info", "debug", "error|warn|info|debug", "lowest level that enters the event log"),
  row("EVENT_LOG_MAX_MB", "64", "256", "MiB", "space the event log may take on disk"),
];

/** Secrets: `docker plugin inspect` shows values, so each of these may name a host file instead. */
export const FILE_SETTINGS: readonly string[] = ["ETCD_USER", "ETCD_PASSWORD", "ETCD_CA", "ETCD_CERT", "ETCD_KEY"];
