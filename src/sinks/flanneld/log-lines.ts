/**
 * What a line of flanneld means to us (v0.28.9; golden lines in test/golden).
 *
 * In:  a line of its stderr or stdout.  Out: what to do with it, and the line without secrets.
 * Rule: pure; matched strings come from flannel's source, named beside them.
 */
export type Verdict =
  /** Not worth a line of ours. */
  | "drop"
  | "log"
  /** The subnet file of this life is written. */
  | "ready"
  /** Somebody should see it; flanneld goes on by itself. */
  | "warn"
  /** It lives but no longer does its work, or not all of it: only a restart heals (hitless). */
  | "restart";

const MEANINGS: readonly (readonly [fragment: string, verdict: Verdict])[] = [
  // A raw dump of each lease, ~1 kB each; 1,000 leases make 1 MB per start (pkg/subnet/subnet.go).
  ["Batch elem [", "drop"],
  ["Wrote subnet file to", "ready"],                    // main.go
  ["Subnet watch failed", "restart"],                   // pkg/subnet/subnet.go: never renews from now on
  ["could not watch leases", "restart"],                // pkg/subnet/subnet.go: never learns a peer from now on
  ["header revision != 0", "restart"],                  // pkg/subnet/etcd/registry.go: all peers have been dropped
  ["fell behind compaction", "restart"],                // registry.go: the re-list misses changed leases
  ["AddARP failed", "restart"],                         // pkg/backend/vxlan/vxlan_network.go: that peer is missing
  ["AddFDB failed", "restart"],
  ["failed to add vxlanRoute", "restart"],
  ["vxlan device missing", "restart"],                  // it would make one with another MAC and without peers
  ["recreated successfully", "restart"],
  ["Lease has been revoked", "warn"],                   // it ends by itself, with exit code 0
  ["Error renewing lease", "warn"],                     // again every 60 s
  ["watch channel", "warn"],                            // re-opened by itself since v0.26.4
  ["Some iptables rules are missing", "warn"],          // it was told to keep its hands off
];

export function verdictOn(line: string): Verdict {
  for (const [fragment, verdict] of MEANINGS) if (line.includes(fragment)) return verdict;
  return "log";
}

/** The line that lists all options shows the password, also when it came by environment (main.go). */
const OPTIONS_LINE = "CLI flags config:";
/** Longest line we pass on, in characters. */
const MAX_LENGTH = 1_000;

export function withoutSecrets(line: string, secrets: readonly string[]): string {
  const at = line.indexOf(OPTIONS_LINE);
  if (at >= 0) return `${line.slice(0, at)}${OPTIONS_LINE} (withheld)`;
  const clean = secrets.reduce((text, secret) => text.replaceAll(secret, "***"), line);
  return clean.length > MAX_LENGTH ? `${clean.slice(0, MAX_LENGTH)}…` : clean;
}
