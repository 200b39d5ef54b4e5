/**
 * Keeps true: of a whole distribution, the plugin carries what it runs, and what that needs.
 * In: dpkg's list of installed packages and their files. Out: the packages and the paths to copy. Rule: pure.
 */

export interface InstalledPackage {
  readonly name: string;
  /** each entry is one "or" group of the package's dependencies, names only */
  readonly needs: readonly (readonly string[])[];
  readonly provides: readonly string[];
}

/** dpkg-query format the parser reads. */
export const DPKG_FORMAT = "${Package}\t${Pre-Depends}, ${Depends}\t${Provides}\n";

/** Maintenance of an installed system: never at run time of a root file system that is replaced whole. */
const MAINTENANCE = /^(debconf.*|cdebconf.*|dpkg|perl.*|python.*|openssl|install-info|init-system-helpers|systemd.*|login|passwd|adduser|libpam.*|bash|tar|mawk|libselinux-utils)$/;

const KEPT = [/^\/usr\/(bin|sbin)\//, /^\/usr\/lib(64|x32|32)?\//, /^\/etc\/(iproute2|ethertypes|protocols|nftables\.conf)/, /^\/usr\/share\/iproute2\//];
const DROPPED = [
  /\/gconv\//, /^\/usr\/lib\/(systemd|udev|tmpfiles\.d|sysusers\.d|init|valgrind|mime|locale|modprobe\.d|modules-load\.d|os-release)/, /\/(audit|perl|perl-base)\//,
  /^\/usr\/bin\/(localedef|iconv|zdump|gencat|ldd|pldd|sotruss|tzselect|sprof)$/, /^\/usr\/sbin\/(iconvconfig|zic|policy-rc\.d)$/,
];

export function parsePackages(text: string): readonly InstalledPackage[] {
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const [name = "", depends = "", provides = ""] = line.split("\t");
    const needs = groups(depends);
    return { name, needs, provides: groups(provides).flat() };
  });
}

/** "libc6 (>= 2.34), debconf | debconf-2.0" → [["libc6"], ["debconf", "debconf-2.0"]] */
function groups(text: string): readonly (readonly string[])[] {
  const bare = (term: string): string => term.replace(/\(.*?\)/g, "").trim().split(":")[0] ?? "";
  return text.split(",").map((group) => group.split("|").map(bare).filter((name) => name !== "")).filter((group) => group.length > 0);
}

/** Names of the wanted packages and all that they need, sorted; throws when a wanted one is not installed. */
export function closure(installed: readonly InstalledPackage[], wanted: readonly string[]): readonly string[] {
  const byName = new Map(installed.map((each) => [each.name, each]));
  const virtual = new Map(installed.flatMap((each) => each.provides.map((name) => [name, each] as const)));
  const taken = new Set<string>();
  const waiting = [...wanted];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const found = byName.get(name) ?? virtual.get(name);
    if (found === undefined && wanted.includes(name)) throw new Error(`Cannot build the base: package ${name} was not installed`);
    if (found === undefined || taken.has(found.name) || MAINTENANCE.test(found.name)) continue;
    taken.add(found.name);
    for (const group of found.needs) waiting.push(...group);
  }
  return [...taken].sort();
}

/** Path with /bin, /sbin and /lib* as they are reached in a merged /usr. */
export function merged(path: string): string {
  return path.replace(/^\/(bin|sbin|lib|lib32|lib64|libx32)(?=\/|$)/, "/usr/$1");
}

/** Whether a (merged) path of a package is carried. */
export function kept(path: string): boolean {
  return KEPT.some((pattern) => pattern.test(path)) && !DROPPED.some((pattern) => pattern.test(path));
}
