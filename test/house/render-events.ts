/**
 * docs/events.md and docs/events.schema.json out of the catalogue: pure, so a test can tell when they are stale.
 *
 * In:  src/core/events.ts.  Out: the two texts; `npm run docs` writes them.
 */
import { CATALOGUE, EVENT_SCHEMA } from "../../src/core/events.ts";

const entries = Object.entries(CATALOGUE).map(([name, { level, says, fields }]) =>
  ({ name, level, says, fields: Object.entries<string>(fields).map(([field, type]) => ({ field, type: type.replace("?", ""), optional: type.endsWith("?") })) }));

type Entry = (typeof entries)[number];

const HEAD = `# Events
Generated from \`src/core/events.ts\` by \`npm run docs\`; do not edit.

One JSON object per line, schema version ${EVENT_SCHEMA}. Within a version, events and fields are only added: ignore what you do not know.
The same as a JSON Schema: [events.schema.json](events.schema.json).

Every line has

| field | meaning |
| --- | --- |
| \`schema\` | version of this page, ${EVENT_SCHEMA} |
| \`boot\` | one life of the operator's process |
| \`seq\` | counts from 1 within a boot, without gaps |
| \`at\` | ISO 8601, UTC |
| \`level\` | error: someone must act; warn: we retry; info: the world changed; debug: the rest |
| \`event\` | one of the names below |

| event | level | says | fields |
| --- | --- | --- | --- |
`;

const fieldText = ({ field, type, optional }: Entry["fields"][number]): string =>
  `\`${field}\` ${type === "strings" ? "list of strings" : type}${optional ? ", may be absent" : ""}`;

export function eventsMarkdown(): string {
  return HEAD + entries.map(({ name, level, says, fields }) =>
    `| \`${name}\` | ${level} | ${says} | ${fields.map(fieldText).join("; ")} |\n`).join("");
}

const schemaOf = (type: string): object =>
  type === "strings" ? { type: "array", items: { type: "string" } } : { type };

function lineSchema({ name, level, says, fields }: Entry): object {
  return {
    description: says,
    properties: {
      event: { const: name }, level: { const: level },
      ...Object.fromEntries(fields.map(({ field, type }) => [field, schemaOf(type)])),
    },
    required: fields.filter(({ optional }) => !optional).map(({ field }) => field),
  };
}

export function eventsSchema(): string {
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "One line of the event log",
    type: "object",
    properties: {
      schema: { const: EVENT_SCHEMA }, boot: { type: "string" }, seq: { type: "integer", minimum: 1 },
      at: { type: "string", format: "date-time" }, level: { enum: ["error", "warn", "info", "debug"] },
      event: { type: "string" },
    },
    required: ["schema", "boot", "seq", "at", "level", "event"],
    oneOf: entries.map(lineSchema),
  };
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}
