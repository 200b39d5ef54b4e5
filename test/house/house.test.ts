/** The rules of the house as tests; a rule whose room does not exist yet says so. Function length is ESLint's. */
import { describe, expect, it } from "@jest/globals";
import { breaches, cycles, importsOf } from "./imports.ts";
import * as rules from "./text-rules.ts";
import { exists, filesBelow, roomFor, textOf } from "./tree.ts";

const all = filesBelow(".");
const typescript = all.filter((path) => path.endsWith(".ts"));
const below = (...rooms: readonly string[]): readonly string[] => all.filter((path) => rooms.some((room) => path.startsWith(`${room}/`)));
const sources = typescript.filter((path) => path.startsWith("src/"));
const check = (rule: rules.TextRule, paths: readonly string[]): readonly string[] => paths.flatMap((path) => rule(path, textOf(path)));

describe("imports", () => {
  const imports = typescript.flatMap((path) => importsOf(path, textOf(path)));

  it("follow the table", () => {
    for (const room of ["core", "reconcilers", "sources", "sinks", "plugin", "cli"]) roomFor(`imports of ${room}`, below(`src/${room}`).length > 0, `src/${room} is empty`);
    for (const room of ["lab", "bench"]) roomFor(`imports of ${room}`, typescript.some((path) => path.startsWith(`${room}/`)), `no TypeScript in ${room}`);
    expect(breaches(imports)).toEqual([]);
  });

  it("name files that exist", () => {
    const relative = imports.filter(({ target }) => /^(src|test|lab|bench|packaging)\//.test(target));
    expect(relative.filter(({ target }) => !exists(target)).map(({ from, target }) => `${from}: ${target}`)).toEqual([]);
  });

  it("form no cycle", () => expect(cycles(imports)).toEqual([]));
});

describe("words", () => {
  it("no file or folder has a name without an owner", () => expect(check(rules.ownerlessName, all)).toEqual([]));
  it("no exported type ends in an empty word", () => expect(check(rules.emptyWord, typescript)).toEqual([]));
  it("error messages say what cannot be done", () => expect(check(rules.message, sources)).toEqual([]));
  it("a file opens with what it keeps true", () => expect(check(rules.noOpening, typescript)).toEqual([]));
  it("nothing is put off", () => {
    roomFor("nothing is put off in hooks", below("hooks").length > 0, "hooks is empty");
    expect(check(rules.leftOver, below("src", "test", "hooks"))).toEqual([]);
  });
});

describe("sizes", () => {
  it("no file has more than 250 lines", () => {
    expect(check(rules.tooLong, all.filter((path) => /\.(ts|js|go|c|sh)$/.test(path)))).toEqual([]);
  });
});

describe("tests", () => {
  it("none is switched off", () => expect(check(rules.switchedOff, typescript.filter((path) => path.startsWith("test/")))).toEqual([]));

  const reconcilers = sources.filter((path) => path.startsWith("src/reconcilers/") && /\bReconciler</.test(textOf(path)))
    .map((path) => path.replace("src/reconcilers/", "").replace(/\.ts$/, ""));

  it("each reconciler has a plan test", () => {
    if (!roomFor("each reconciler has a plan test", reconcilers.length > 0, "no reconciler in src/reconcilers")) return;
    expect(reconcilers.filter((name) => !exists(`test/plan/${name}.test.ts`))).toEqual([]);
  });

  it("each reconciler that the index lists is held to the common laws", () => {
    const listed = [...textOf("src/reconcilers/index.ts").matchAll(/from "\.\/([^"]+)\.ts"/g)].map(([, name]) => name ?? "");
    expect(listed.length).toBeGreaterThan(0);
    const lawless = listed.filter((name) => !exists(`test/plan/${name}.test.ts`) || !/^ {2}obeysTheLaws\(/m.test(textOf(`test/plan/${name}.test.ts`)));
    expect(lawless).toEqual([]);
  });

  it("each reconciler has a line in its README", () => {
    const readme = "src/reconcilers/README.md";
    if (!roomFor("each reconciler has a README line", reconcilers.length > 0, "no reconciler in src/reconcilers")) return;
    expect(exists(readme) ? [] : [readme]).toEqual([]);
    const lines = textOf(readme).split("\n");
    expect(reconcilers.filter((name) => !lines.some((line) => line.includes(`\`${name}\``) || line.includes(`${name}.ts`)))).toEqual([]);
  });
});

describe("links", () => {
  it("of every page resolve", () => {
    const pages = all.filter((path) => path.endsWith(".md"));
    if (!roomFor("relative links resolve", pages.length > 0, "no page yet")) return;
    const broken = pages.flatMap((page) => rules.linksOf(page, textOf(page)).filter((target) => !exists(target)).map((target) => `${page}: ${target}`));
    expect(broken).toEqual([]);
  });
});
