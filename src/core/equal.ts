/**
 * Structural equality of plain values: does this snapshot change what a reconciler wants?
 *
 * In:  trees of primitives, arrays, plain objects, Map, Set (members and keys primitive).  Out: equal or not.
 * Rule: in doubt "not equal": that costs a run, the opposite would cost a change.
 */
export function equal(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, n) => equal(item, b[n]));
  if (a instanceof Map) return b instanceof Map && a.size === b.size && [...a].every(([key, value]) => b.has(key) && equal(value, b.get(key)));
  if (a instanceof Set) return b instanceof Set && a.size === b.size && [...a].every((member) => b.has(member));
  return isPlain(a) && sameFields(a, b);
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
};

function sameFields(a: object, b: object): boolean {
  const fields = new Map(Object.entries(b));
  const entries = Object.entries(a);
  return entries.length === fields.size && entries.every(([key, value]) => fields.has(key) && equal(value, fields.get(key)));
}
