/** FNV-1a, 64 bits (draft-eastlake-fnv): short stable names from long identifiers; not for anything an enemy may choose. */
export function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}
