/**
 * Anything of ours as JSON.
 *
 * Rule: maps become objects, sets arrays, errors their message; a value whose name says it is secret is never shown.
 */
const SECRET = /password|passwd|secret|token|psk|private.?key|credential/i;

export const toJson = (value: unknown): string => `${JSON.stringify(plain(value, new Set()))}\n`;

function plain(value: unknown, above: ReadonlySet<object>): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (above.has(value)) return "(circular)";
  const inside = new Set([...above, value]);
  if (value instanceof Error) return value.message;
  if (Array.isArray(value)) return value.map((entry) => plain(entry, inside));
  if (value instanceof Set) return [...value].map((entry) => plain(entry, inside));
  const entries = value instanceof Map ? [...value].map(([key, entry]) => [String(key), entry as unknown] as const) : Object.entries(value);
  return Object.fromEntries(entries.map(([key, entry]) => [key, SECRET.test(key) && isText(entry) ? "***" : plain(entry, inside)]));
}

const isText = (value: unknown): boolean => (typeof value === "string" || typeof value === "number") && value !== "";
