/**
 * Broken bodies for the plugin's socket, the same ones for the same seed.
 *
 * In:  a valid body and a seed.  Out: texts: bytes lost, added or flipped, fields lost, swapped, nulled, blown up, retyped.
 * Rule: no clock, no Math.random; the caller says how many, so a unit test takes hundreds and an end-to-end one thousands.
 */
export type Random = () => number;

/** Mulberry32 (public domain): numbers in [0, 1), good enough to choose what to break. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` broken texts of one body; the body of a method that takes none is an empty object. */
export function* mutations(body: unknown, count: number, seed: number): Generator<string> {
  const random = seeded(seed);
  for (let n = 0; n < count; n += 1) yield mutated(body ?? {}, random);
}

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

function mutated(body: unknown, random: Random): string {
  if (random() < 0.35) return brokenText(JSON.stringify(body), random);
  let value = structuredClone(body);
  const times = 1 + Math.floor(random() * 3);
  for (let n = 0; n < times; n += 1) value = brokenValue(value, random);
  return JSON.stringify(value) ?? "";
}

function brokenText(text: string, random: Random): string {
  const at = Math.floor(random() * (text.length + 1));
  const until = Math.min(text.length, at + 1 + Math.floor(random() * 20));
  const noise = String.fromCharCode(Math.floor(random() * 0x3000));
  return pick(random, [
    () => text.slice(0, at),
    () => text.slice(0, at) + text.slice(until),
    () => text.slice(0, at) + noise + text.slice(until),
    () => text.slice(0, at) + text.slice(at, until).repeat(3) + text.slice(until),
    () => text + text,
    () => "",
    () => " \n",
    () => "[".repeat(10_000),
  ])();
}

/** Values that have hurt parsers before: limits, look-alikes, keys of the prototype, addresses nobody may have. */
const NASTY: readonly unknown[] = [
  null, true, false, 0, -1, 1.5, 1e308, 65_536, 2 ** 53, "", " ", "0", "true", "null", "G:", "L:", "G:u1", "L:u2", "X:u1", "L:../../x", "G:a/b",
  "999.1.1.1", "0.0.0.0", "255.255.255.255", "10.1.2.3/33", "10.1.2.3/-1", "10.1.2.3/16/2", "::1", "fd00::/64", "0.0.0.0/0",
  "ff:ff:ff:ff:ff:ff", "00:00", "////////", "AkIRIjNE", "/", "/\u0000", "../../etc/passwd", "__proto__", "constructor", "\ud800", "🦀",
  [], {}, [[]], [null], { length: 1e9 }, JSON.parse("{\"__proto__\":{\"x\":1}}"), "x".repeat(5_000), Array.from({ length: 2_000 }, () => ({})),
];

function brokenValue(value: unknown, random: Random): unknown {
  if (random() < 0.2 || typeof value !== "object" || value === null) return structuredClone(pick(random, NASTY));
  if (Array.isArray(value)) {
    const items: unknown[] = [...value];
    if (items.length === 0 || random() < 0.3) return [...items, structuredClone(pick(random, NASTY))];
    const at = Math.floor(random() * items.length);
    items[at] = brokenValue(items[at], random);
    return items;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return { [pick(random, ["__proto__", "toString", "a", ""])]: pick(random, NASTY) };
  const at = Math.floor(random() * entries.length);
  const [key, inner] = entries[at] as [string, unknown];
  return Object.fromEntries(entries.flatMap(([name, old]): [string, unknown][] => {
    if (name !== key) return [[name, old]];
    return pick(random, [[], [[`${name}x`, inner]], [[name, brokenValue(inner, random)]], [[name, brokenValue(inner, random)]]]);
  }));
}
