/**
 * Keeps true: results go to stdout, as a table or as JSON; everything else goes to stderr.
 * In: rows. Out: text. Rule: pure but for the two writers.
 */

export type Format = "table" | "json";

/** Columns padded to their widest cell, two blanks between them. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n");
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Progress of long steps, with the seconds since the command began. */
export function progress(line: string): void {
  process.stderr.write(`[${(performance.now() / 1000).toFixed(1).padStart(5)} s] ${line}\n`);
}
