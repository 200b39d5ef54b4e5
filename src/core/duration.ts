/** "90s", "10m", "1h30m" → milliseconds; undefined for anything else: a bare number would be read as seconds by one and as minutes by another. */
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

export function parseDuration(text: string): number | undefined {
  if (!/^(\d{1,9}(ms|h|m|s))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount = "", unit = ""] of text.matchAll(/(\d+)(ms|h|m|s)/g)) total += Number(amount) * (UNITS[unit] ?? 0);
  return total;
}
