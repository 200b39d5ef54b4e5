/**
 * Whether somebody else's routing rules look at our packet marks.
 *
 * In:  `ip -j rule show`.  Out: what collides, in words.
 * Rule: pure. A rule compares `mark & mask`; it collides when any mark of ours fits.
 */
interface Rule { readonly priority?: number; readonly fwmark?: string; readonly fwmask?: string }

export function markConflict(listing: string, { first, last }: { readonly first: number; readonly last: number }): string | undefined {
  for (const { priority, fwmark, fwmask } of rulesOf(listing)) {
    if (fwmark === undefined) continue;
    const mask = BigInt(fwmask ?? "0xffffffff");
    const value = BigInt(fwmark) & mask;
    const hit = lowestFit(BigInt(first), value, mask);
    if (hit !== undefined && hit <= BigInt(last)) {
      return `marks ${hex(first)}-${hex(last)} collide with ip rule ${priority ?? ""} (fwmark ${fwmark}${fwmask === undefined ? "" : `/${fwmask}`})`;
    }
  }
  return undefined;
}

const hex = (mark: number): string => `0x${mark.toString(16)}`;

function rulesOf(listing: string): readonly Rule[] {
  try { return JSON.parse(listing) as readonly Rule[]; } catch { return []; }
}

const BITS = 32n;

/** The lowest mark from `least` on whose bits below the mask are `value`. */
function lowestFit(least: bigint, value: bigint, mask: bigint): bigint | undefined {
  const fits = (mark: bigint): boolean => (mark & mask) === value;
  if (fits(least)) return least;
  // The answer shares `least`'s bits above some bit, has that bit set where `least` has not, and is minimal below it.
  for (let bit = 0n; bit < BITS; bit += 1n) {
    const one = 1n << bit;
    if ((least & one) !== 0n) continue;
    const candidate = ((least >> (bit + 1n)) << (bit + 1n)) | one | (value & (one - 1n));
    if (fits(candidate)) return candidate;
  }
  return undefined;
}
