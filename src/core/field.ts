/**
 * One field of a record that somebody wrote as JSON, for planners that look at a stored text without decoding it all.
 *
 * In:  text from etcd.  Out: the field's value; `undefined` when it is absent or the text is no JSON object.
 * Rule: pure, never throws.
 */
export function fieldOf(text: string, field: string): unknown {
  try {
    const record: unknown = JSON.parse(text);
    return typeof record === "object" && record !== null ? (record as Readonly<Record<string, unknown>>)[field] : undefined;
  } catch {
    return undefined;
  }
}
