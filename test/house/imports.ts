/**
 * Who may import whom (ARCHITECTURE.md): the table as data, and the imports of a file read from its text.
 */
import { posix } from "node:path";

export interface Import {
  readonly from: string;
  /** A path relative to the root, or a package. */
  readonly target: string;
  readonly typeOnly: boolean;
}

const STATEMENT = /^(?:import|export)\s+(type\s+)?([^"';]*?)\s*from\s*["']([^"']+)["']/gm;
const EFFECT = /^import\s+["']([^"']+)["']/gm;
const DYNAMIC = /\bimport\(\s*["']([^"']+)["']/g;

/** Imports and re-exports of one file; `import { type A, type B }` counts as types only. */
export function importsOf(path: string, text: string): readonly Import[] {
  const target = (name: string): string => (name.startsWith(".") ? posix.join(posix.dirname(path), name) : name);
  const erased = (names: string): boolean =>
    /^\{[^}]*\}$/.test(names) && names.slice(1, -1).split(",").filter((name) => name.trim() !== "").every((name) => /^\s*type\s/.test(name));
  return [
    ...[...text.matchAll(STATEMENT)].map(([, type, names = "", name = ""]) =>
      ({ from: path, target: target(name), typeOnly: type !== undefined || erased(names) })),
    ...[...text.matchAll(EFFECT), ...text.matchAll(DYNAMIC)].map(([, name = ""]) => ({ from: path, target: target(name), typeOnly: false })),
  ];
}

/** Rule of one room: may this file of it import that? */
type Allowed = (entry: Import) => boolean;

const inside = (folder: string) => ({ target }: Import): boolean => target.startsWith(folder);
const node: Allowed = ({ target }) => target.startsWith("node:");
const packages = (...names: readonly string[]): Allowed => ({ target }) => names.includes(target);
const typesOf = (allowed: Allowed): Allowed => (entry) => entry.typeOnly && allowed(entry);
const only = (files: RegExp, allowed: Allowed): Allowed => (entry) => files.test(entry.from) && allowed(entry);
const anyOf = (...rules: readonly Allowed[]): Allowed => (entry) => rules.some((rule) => rule(entry));

const core = inside("src/core/");
const rxjs = packages("rxjs");
const clients = packages("dockerode", "etcd3", "cockatiel", "zod", "zod/mini", "rxjs");

/** First folder that fits decides. */
export const TABLE: readonly (readonly [folder: string, allowed: Allowed])[] = [
  ["src/core/", anyOf(core, only(/\/(snapshot|coalesce|engine|lane)\.ts$/, rxjs), typesOf(rxjs), only(/\/ids\.ts$/, packages("hyperid")))],
  ["src/reconcilers/", anyOf(core, inside("src/reconcilers/"), typesOf(inside("src/sinks/")))],
  ["src/sources/", anyOf(core, inside("src/sources/"), node, clients)],
  ["src/sinks/", anyOf(core, inside("src/sinks/"), node, clients, packages("dns2", "koffi"), only(/^src\/sinks\/exec\.ts$/, packages("execa")))],
  // socket.ts and early.ts clear a stale socket file away before they can listen on it.
  ["src/plugin/", anyOf(core, inside("src/plugin/"), packages("node:http", "zod/mini"), typesOf(anyOf(rxjs, node)), only(/\/(socket|early)\.ts$/, node))],
  ["src/cli/", anyOf(typesOf(core), inside("src/cli/"), node, packages("commander"))],
  ["src/", ({ target }) => !/^(lab|bench|test|packaging)\//.test(target)],
  // They see the product as a user does.
  ["lab/", ({ target }) => !/^(src|test|packaging)\//.test(target)],
  ["bench/", ({ target }) => !/^(src|test|packaging)\//.test(target)],
];

/** The composition root: files directly in src; only `start.ts` imports its `main.ts`. */
export function breaches(imports: readonly Import[]): readonly string[] {
  return imports.filter((entry) => {
    if (entry.target === "src/main.ts" && entry.from !== "src/start.ts") return true;
    const row = TABLE.find(([folder]) => entry.from.startsWith(folder));
    return row !== undefined && !row[1](entry);
  }).map(({ from, target, typeOnly }) => `${from} may not import ${typeOnly ? "types of " : ""}${target}`);
}

/** One path per cycle found, as `a → b → a`. */
export function cycles(imports: readonly Import[]): readonly string[] {
  const edges = new Map<string, string[]>();
  for (const { from, target } of imports) edges.set(from, [...(edges.get(from) ?? []), target]);
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    const start = trail.indexOf(file);
    if (start >= 0) found.push([...trail.slice(start), file].join(" → "));
    if (start >= 0 || done.has(file)) return;
    for (const next of edges.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of edges.keys()) visit(file, []);
  return found;
}
