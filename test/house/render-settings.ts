/**
 * README's table of settings out of the catalogue: pure, so a test can tell when it is stale.
 *
 * In:  src/settings.ts.  Out: the table between README's two markers; `npm run docs` writes it.
 */
import { FILE_SETTINGS, SETTINGS } from "../../src/settings.ts";

export const BEGIN = "<!-- settings: npm run docs -->";
export const END = "<!-- end of settings -->";

const code = (text: string): string => (text === "" ? "" : `\`${text}\``);
const cell = (text: string): string => text.replaceAll("|", "\\|");

export function settingsTable(): string {
  const rows = SETTINGS.map(({ name, default: value, example, unit, says }) =>
    `| \`${name}\`${FILE_SETTINGS.includes(name) ? " *" : ""} | ${code(value)} | ${cell(unit)} | ${cell(says)} | ${cell(code(example))} |\n`);
  return `| setting | default | unit | meaning | example |\n| --- | --- | --- | --- | --- |\n${rows.join("")}`
    + "\n\\* also as `<name>_FILE`: a file on the node that holds the value, since `docker plugin inspect` shows values.\n";
}

/** README with its table renewed; `undefined` if it lacks the markers. */
export function withSettings(readme: string): string | undefined {
  const [before, rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  return after === undefined ? undefined : `${before}${BEGIN}\n${settingsTable()}${END}${after}`;
}
