/**
 * Text for people: columns that line up.
 *
 * Rule: pure; a cell never breaks the line, an empty one shows as "-".
 */
const cell = (text: string): string => (text === "" ? "-" : text.replace(/\s+/g, " "));

/** Header and rows, two spaces apart; no trailing blanks. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows.map((row) => header.map((_, column) => cell(row[column] ?? "")))];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all.map((row) => `${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join("  ").trimEnd()}\n`).join("");
}

/** A title, then its table; nothing at all without rows. */
export const section = (title: string, header: readonly string[], rows: readonly (readonly string[])[]): string =>
  (rows.length === 0 ? "" : `\n${title}\n${table(header, rows)}`);

/** `3 s`, `5 min`, `2 h`, `4 d`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} d`;
}
