/**
 * Keeps true: this machine has the programs a lab needs, and no service was started to get them.
 * In: what is in PATH. Out: the missing packages installed by apt, or a LabError that names them.
 * Rule: only what is missing is installed; a policy file this machine has is left alone.
 */
import { access, rm, writeFile } from "node:fs/promises";
import { LabError } from "./errors.ts";
import { must, run } from "./run.ts";

/** Program or file → the Debian package that brings it. */
const NEEDED: Readonly<Record<string, string>> = {
  debootstrap: "debootstrap", etcd: "etcd-server", etcdctl: "etcd-client", ip: "iproute2", nft: "nftables", nsenter: "util-linux", flock: "util-linux",
  sysctl: "procps", go: "golang-go", tar: "tar", bash: "bash", "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
};
const FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/go/bin"];
const POLICY = "/usr/sbin/policy-rc.d";
/** What nodes use; they cannot load modules themselves. A kernel without one of them says so where it matters. */
const MODULES = ["overlay", "br_netfilter", "bridge", "veth", "vxlan", "dummy", "nf_tables", "nf_conntrack", "xt_addrtype", "xt_conntrack", "xt_MASQUERADE",
  "xt_set", "xt_mark", "xt_ipvs", "ip_tables", "iptable_nat", "iptable_filter", "ip_set_hash_ip", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh"];

/** Debian's users often lack the system folders in PATH, and a Go from its own archive is in none. */
export function completePath(): void {
  const own = (process.env["PATH"] ?? "").split(":");
  process.env["PATH"] = [...own, ...FOLDERS.filter((folder) => !own.includes(folder))].join(":");
}

async function present(what: string): Promise<boolean> {
  const places = what.startsWith("/") ? [what] : (process.env["PATH"] ?? "").split(":").map((folder) => `${folder}/${what}`);
  return (await Promise.all(places.map((place) => access(place).then(() => true, () => false)))).includes(true);
}

async function missingPackages(wanted: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const missing = await Promise.all(Object.entries(wanted).map(async ([what, name]) => (await present(what) ? [] : [name])));
  return [...new Set(missing.flat())].sort();
}

export function requireRoot(): void {
  if (process.getuid?.() !== 0) throw new LabError("Cannot work on a lab: it needs namespaces, mounts and cgroups", "run this as root, e.g. with sudo");
}

/** Installs what is missing; `progress` is told what. `also`: programs beside a lab's own, as in `NEEDED`. */
export async function prepareHost(progress: (line: string) => void, also: Readonly<Record<string, string>> = {}): Promise<void> {
  requireRoot();
  completePath();
  const packages = await missingPackages({ ...NEEDED, ...also });
  if (packages.length > 0) {
    if (!await present("apt-get")) {
      throw new LabError(`Cannot prepare this machine: it lacks ${packages.join(", ")} and has no apt`, "install the programs these Debian packages bring, then repeat");
    }
    progress(`installing ${packages.join(", ")}`);
    await install(packages);
  }
  await run("modprobe", ["-qa", ...MODULES]);
}

async function install(packages: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const what = `install ${packages.join(", ")}`;
  const ours = await writeFile(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755, flag: "wx" }).then(() => true, () => false);
  try {
    await must(what, "apt-get", ["-q", "update"], { env, timeoutMs: 600_000 });
    await must(what, "apt-get", ["-q", "-y", "--no-install-recommends", "install", ...packages], { env, timeoutMs: 1_200_000 });
  } finally {
    if (ours) await rm(POLICY, { force: true });
  }
  // The lab runs its own; the package's service would start with the next boot of this machine.
  if (packages.includes("etcd-server")) await run("systemctl", ["disable", "etcd.service"]);
}
