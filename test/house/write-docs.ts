/** `npm run docs`: writes what is generated from the code, so that test/house finds it equal. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventsMarkdown, eventsSchema } from "./render-events.ts";
import { BEGIN, END, withSettings } from "./render-settings.ts";
import { ROOT } from "./tree.ts";

const readme = join(ROOT, "README.md");
mkdirSync(join(ROOT, "docs"), { recursive: true });
writeFileSync(join(ROOT, "docs/events.md"), eventsMarkdown());
writeFileSync(join(ROOT, "docs/events.schema.json"), eventsSchema());
if (existsSync(readme)) {
  const text = withSettings(readFileSync(readme, "utf8"));
  if (text === undefined) process.stderr.write(`Cannot write the settings into README.md: the lines ${BEGIN} and ${END} are missing\n`);
  else writeFileSync(readme, text);
}
