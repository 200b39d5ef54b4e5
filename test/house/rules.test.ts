/** The rules see what they forbid: a rule that never fires proves nothing. */
import { describe, expect, it } from "@jest/globals";
import { breaches, cycles, importsOf } from "./imports.ts";
import { eventsMarkdown, eventsSchema } from "./render-events.ts";
import { BEGIN, END, withSettings } from "./render-settings.ts";
import * as rules from "./text-rules.ts";

const breach = (path: string, text: string): number => breaches(importsOf(path, text)).length;

describe("imports", () => {
  it("are read in every spelling", () => {
    const text = [
      'import { a } from "./a.ts";', 'import type { B } from "../b.ts";', 'import { type C, type D } from "./c.ts";', 'import { type E, f } from "./e.ts";',
      'import "./effect.ts";', 'export { g } from "./g.ts";', "import {\n  h,\n} from 'pkg';", ["const i = await imp", 'ort("./i.ts");'].join(""),
      '// import { no } from "./no.ts";', "import * as j from \"node:fs\";", "import k, { l } from \"m\";",
    ].join("\n");
    expect(importsOf("src/core/x.ts", text).map(({ target, typeOnly }) => `${target}${typeOnly ? " (type)" : ""}`).sort()).toEqual([
      "m", "node:fs", "pkg", "src/b.ts (type)", "src/core/a.ts", "src/core/c.ts (type)", "src/core/e.ts", "src/core/effect.ts", "src/core/g.ts", "src/core/i.ts",
    ]);
  });

  it.each([
    ["src/core/plan.ts", 'import { readFileSync } from "node:fs";', 1],
    ["src/core/plan.ts", 'import { map } from "rxjs";', 1],
    ["src/core/reconciler.ts", 'import type { Observable } from "rxjs";', 0],
    ["src/core/engine.ts", 'import { map } from "rxjs";', 0],
    ["src/core/engine.ts", 'import { x } from "../sinks/exec.ts";', 1],
    ["src/reconcilers/vips.ts", 'import type { X } from "../sinks/links.ts";', 0],
    ["src/reconcilers/vips.ts", 'import { x } from "../sinks/links.ts";', 1],
    ["src/sinks/links.ts", 'import { execa } from "execa";', 1],
    ["src/sinks/exec.ts", 'import { execa } from "execa";', 0],
    ["src/sinks/links.ts", 'import { x } from "../sources/etcd.ts";', 1],
    ["src/sources/etcd.ts", 'import { x } from "../sinks/etcd.ts";', 1],
    ["src/plugin/debug.ts", 'import { x } from "../reconcilers/index.ts";', 1],
    ["src/cli/status.ts", 'import { x } from "../core/ids.ts";', 1],
    ["src/cli/status.ts", 'import type { X } from "../core/ids.ts";', 0],
    ["src/config.ts", 'import { x } from "./main.ts";', 1],
    ["test/e2e/a.test.ts", 'import { x } from "../../src/main.ts";', 1],
    ["lab/up.ts", 'import { x } from "../src/core/ids.ts";', 1],
    ["lab/up.ts", 'import { x } from "./netns/up.ts";', 0],
  ])("%s with %s breaks the table %d times", (path, text, times) => expect(breach(path, text)).toBe(times));

  it("in a circle are found", () => {
    const chain = (...files: readonly string[]) => files.slice(1).map((target, n) => ({ from: files[n] ?? "", target, typeOnly: false }));
    expect(cycles(chain("a", "b", "c"))).toEqual([]);
    expect(cycles(chain("a", "b", "c", "b"))).toEqual(["b → c → b"]);
  });
});

describe("texts", () => {
  it.each<[string, rules.TextRule, string, string]>([
    ["a drawer", rules.ownerlessName, "src/utils/a.ts", ""],
    ["a drawer's file", rules.ownerlessName, "src/core/types.ts", ""],
    ["an empty word", rules.emptyWord, "a.ts", "export interface VipManager {}"],
    ["251 lines", rules.tooLong, "a.ts", "x\n".repeat(251)],
    ["a thing put off", rules.leftOver, "a.ts", ["// FIX", "ME later"].join("")],
    ["a test switched off", rules.switchedOff, "a.ts", ["it", "skip(1)"].join(".")],
    ["a message that does not say what cannot be done", rules.message, "a.ts", 'new OperatorError("bug", "Failed to x")'],
    ["a file without an opening", rules.noOpening, "a.ts", 'import "x";'],
  ])("%s is seen", (_, rule, path, text) => expect(rule(path, text)).toHaveLength(1));

  it.each<[rules.TextRule, string, string]>([
    [rules.tooLong, "a.ts", "x\n".repeat(250)], [rules.leftOver, "a.sh", `mktemp fnp.${"X".repeat(6)}`], [rules.switchedOff, "a.ts", "await.skip()"],
    [rules.message, "a.ts", 'new OperatorError("bug", "Cannot x: y")'], [rules.ownerlessName, "src/core/commonly.ts", ""],
    [rules.noOpening, "a.ts", "#!/usr/bin/env tsx\n/** x */"],
  ])("%p lets pass what is right", (rule, path, text) => expect(rule(path, text)).toEqual([]));

  it("links are read outside of code", () => {
    const text = "[a](b.md) [c](../d.md#e) [f](https://g) [h](#i) `[j](k)`\n```\n[l](m)\n```\n![n](o%20p.png)";
    expect(rules.linksOf("docs/x.md", text)).toEqual(["docs/b.md", "d.md", "docs/o p.png"]);
  });
});

describe("generated pages", () => {
  it("hold every event, its optional fields and nothing undefined", () => {
    expect(eventsMarkdown()).toContain("| `flanneld.exited` | warn |");
    expect(eventsMarkdown()).not.toContain("undefined");
    const { oneOf } = JSON.parse(eventsSchema()) as { readonly oneOf: readonly { readonly properties: Record<string, unknown>; readonly required: readonly string[] }[] };
    const exited = oneOf.find(({ properties }) => (properties["event"] as { const: string }).const === "flanneld.exited");
    expect(exited?.required).toEqual(["flannelId", "pid", "expected"]);
    expect(exited?.properties["exitCode"]).toEqual({ type: "number" });
  });

  it("renew the settings between two marks and leave the rest", () => {
    const renewed = withSettings(`before\n${BEGIN}\nold\n${END}\nafter`) ?? "";
    expect(renewed.startsWith(`before\n${BEGIN}\n| setting |`)).toBe(true);
    expect(renewed.endsWith(`${END}\nafter`)).toBe(true);
    expect(renewed).toContain("`ETCD_PREFIX`");
    expect(withSettings(renewed)).toBe(renewed);
    expect(withSettings("no marks")).toBeUndefined();
  });
});
