/** What is written twice is equal: pages, package and code. `npm run docs` renews the pages. */
import { describe, expect, it } from "@jest/globals";
import { FILE_SETTINGS, SETTINGS } from "../../src/settings.ts";
import { eventsMarkdown, eventsSchema } from "./render-events.ts";
import { BEGIN, END, withSettings } from "./render-settings.ts";
import { exists, roomFor, textOf } from "./tree.ts";

/** Variables of the packaged image that are not the user's. */
const OF_THE_IMAGE = ["NODE_ENV", "PATH"];

describe("generated pages", () => {
  it("docs/events.md is what src/core/events.ts says", () => expect(textOf("docs/events.md")).toBe(eventsMarkdown()));
  it("docs/events.schema.json is what src/core/events.ts says", () => expect(textOf("docs/events.schema.json")).toBe(eventsSchema()));

  it("README's table of settings is what src/settings.ts says", () => {
    if (!roomFor("README's table of settings", exists("README.md"), "no README.md")) return;
    const readme = textOf("README.md");
    const renewed = withSettings(readme) ?? `README.md with the lines ${BEGIN} and ${END}`;
    expect(readme).toBe(renewed);
  });
});

describe("packaging/config.json", () => {
  it("lets the user set every setting and nothing else", () => {
    if (!roomFor("packaging/config.json has every setting", exists("packaging/config.json"), "no packaging/config.json")) return;
    const { env } = JSON.parse(textOf("packaging/config.json")) as { readonly env: readonly { readonly name: string }[] };
    const wanted = [...SETTINGS.map(({ name }) => name), ...FILE_SETTINGS.map((name) => `${name}_FILE`)];
    expect(env.map(({ name }) => name).filter((name) => !OF_THE_IMAGE.includes(name)).sort()).toEqual(wanted.sort());
  });
});
