/**
 * What etcd holds, decoded, kept up to date key by key.
 *
 * In:  listings and changes of the watch.  Out: one map per kind, and the records nobody can read.
 * Rule: a map is replaced only when something of its kind changed, a record only when its text did: consumers compare by
 *       identity. A record that becomes unreadable keeps its last readable value, since the key is still there.
 */
import type { Keys } from "../core/names.ts";
import type { StoredItem } from "../core/store.ts";
import type { Layout } from "./etcd-layout.ts";
import { isForeign, placeOf, readRecord, type Decoded, type RecordKind, type RecordOf } from "./etcd-records.ts";

interface Entry {
  readonly text: string;
  readonly modRevision: bigint;
  readonly kind: RecordKind;
  readonly key: string;
  /** Absent while no text of this key could be read. */
  readonly record?: Decoded;
}

export interface Garbage { readonly key: string; readonly reason: string }

export class EtcdBook {
  readonly #keys: Keys;
  readonly #report: (garbage: Garbage) => void;
  #entries = new Map<string, Entry>();
  /** Per kind: item key → the etcd key it came from. Two nodes may name one container while a node changes its id. */
  readonly #origins = new Map<RecordKind, Map<string, string>>();
  readonly #items = new Map<RecordKind, Map<string, unknown>>();
  readonly #touched = new Set<RecordKind>();
  readonly #unread = new Map<RecordKind, Set<string>>();
  readonly #garbage = new Map<string, string>();

  constructor(keys: Keys, report: (garbage: Garbage) => void) {
    this.#keys = keys;
    this.#report = report;
  }

  /** All records of a kind; the same map until one of them changes. */
  all<K extends RecordKind>(kind: K): ReadonlyMap<string, RecordOf[K]> {
    return this.#mapOf(kind) as ReadonlyMap<string, RecordOf[K]>;
  }

  /** True when a record of the kind lies where it belongs and was never readable: what it says is unknown, not absent. */
  doubts(kind: RecordKind): boolean { return (this.#unread.get(kind)?.size ?? 0) > 0; }

  /** Keys whose present text nobody can read, and keys of nobody's kind; each with the reason. */
  get garbage(): ReadonlyMap<string, string> { return this.#garbage; }

  /** Records of interest, readable or not. */
  get size(): number { return this.#entries.size; }

  get schema(): Layout {
    const entry = this.#entries.get(this.#keys.schema);
    if (entry === undefined) return "absent";
    return entry.record?.kind === "schema" ? entry.record.value : "unreadable";
  }

  replaceAll(items: readonly StoredItem[]): void {
    const listed = new Set(items.map((item) => item.key));
    this.update(items, [...this.#entries.keys(), ...this.#garbage.keys()].filter((key) => !listed.has(key)));
  }

  update(puts: readonly StoredItem[], deletes: readonly string[]): void {
    this.#touched.clear();
    for (const key of deletes) this.#remove(key);
    for (const item of puts) this.#put(item);
  }

  #put({ key, value, modRevision }: StoredItem): void {
    const known = this.#entries.get(key);
    if (known?.text === value) {
      this.#entries.set(key, { ...known, modRevision });
      return;
    }
    const place = placeOf(this.#keys, key);
    if (place === undefined) {
      if (isForeign(this.#keys, key) && !this.#garbage.has(key)) this.#refuse(key, "no record of flannel-np lies there");
      return;
    }
    const found = readRecord(place, value);
    if ("garbage" in found) this.#refuse(key, found.garbage);
    else this.#garbage.delete(key);
    const record = "garbage" in found ? known?.record : found;
    this.#entries.set(key, { text: value, modRevision, kind: place.kind, key: place.key, ...(record === undefined ? {} : { record }) });
    this.#doubt(place.kind, key, record === undefined && place.stray !== true);
    if (!("garbage" in found)) this.#show(key, found, modRevision);
  }

  #refuse(key: string, reason: string): void {
    this.#garbage.set(key, reason);
    this.#report({ key, reason });
  }

  #doubt(kind: RecordKind, key: string, doubtful: boolean): void {
    const unread = this.#unread.get(kind) ?? set(this.#unread, kind, new Set<string>());
    if (doubtful) unread.add(key);
    else unread.delete(key);
  }

  #show(key: string, record: Decoded, modRevision: bigint): void {
    const origins = this.#originsOf(record.kind);
    const shown = origins.get(record.key);
    const rival = shown === undefined || shown === key ? undefined : this.#entries.get(shown);
    if (rival !== undefined && rival.modRevision > modRevision) return;
    origins.set(record.key, key);
    this.#writable(record.kind).set(record.key, record.value);
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    this.#garbage.delete(key);
    if (entry === undefined) return;
    this.#doubt(entry.kind, key, false);
    const origins = this.#originsOf(entry.kind);
    if (origins.get(entry.key) !== key) return;
    origins.delete(entry.key);
    this.#writable(entry.kind).delete(entry.key);
  }

  #originsOf(kind: RecordKind): Map<string, string> {
    return this.#origins.get(kind) ?? set(this.#origins, kind, new Map<string, string>());
  }

  #mapOf(kind: RecordKind): Map<string, unknown> {
    return this.#items.get(kind) ?? set(this.#items, kind, new Map<string, unknown>());
  }

  /** A copy at the first write of an update, so that maps given out stay as they are. */
  #writable(kind: RecordKind): Map<string, unknown> {
    if (this.#touched.has(kind)) return this.#mapOf(kind);
    this.#touched.add(kind);
    return set(this.#items, kind, new Map(this.#mapOf(kind)));
  }
}

function set<K, V>(map: Map<K, V>, key: K, value: V): V {
  map.set(key, value);
  return value;
}
