/** What cannot be read is named, and only as long as it is there. */
import { expect, it } from "@jest/globals";
import { keysBelow } from "../../src/core/names.ts";
import { garbageProblems } from "../../src/core/status.ts";
import { EtcdBook } from "../../src/sources/etcd-book.ts";

const keys = keysBelow("/w");
const item = (key: string, value: string) => ({ key, value, modRevision: 1n, createRevision: 1n, version: 1n });
const GOOD = '{"id":"n","hostname":"h","publicIp":"10.0.0.1","role":"worker"}';

function book(): { readonly book: EtcdBook; readonly said: string[] } {
  const said: string[] = [];
  return { book: new EtcdBook(keys, ({ key }) => { said.push(key); }), said };
}

it("garbage and strangers are named once, kinds without records of interest never", () => {
  const { book: seen, said } = book();
  const items = [item("/w/nodes/n", "{"), item("/w/of/somebody", "1"), item("/w/vnis/7", "{"), item("/w/networks/x/config", "?"), item("/w/schema", '{"version":1}')];
  seen.replaceAll(items);
  seen.replaceAll(items);
  expect(said).toEqual(["/w/nodes/n", "/w/of/somebody"]);
  expect([...seen.garbage.keys()]).toEqual(["/w/nodes/n", "/w/of/somebody"]);
});

it("is forgotten when the key is gone, listed no more, or readable", () => {
  const { book: seen } = book();
  seen.replaceAll([item("/w/nodes/n", "{"), item("/w/a", "1"), item("/w/b", "1")]);
  seen.update([], ["/w/a"]);
  seen.update([item("/w/nodes/n", GOOD)], []);
  expect([...seen.garbage.keys()]).toEqual(["/w/b"]);
  seen.replaceAll([item("/w/nodes/n", GOOD)]);
  expect(seen.garbage.size).toBe(0);
});

it("status names the first five and counts the rest", () => {
  const garbage = new Map(Array.from({ length: 7 }, (_, at) => [`/w/k${at}`, "it is not JSON"] as const));
  const problems = garbageProblems(garbage);
  expect(problems.map(({ what }) => what)).toEqual(["etcd key /w/k0", "etcd key /w/k1", "etcd key /w/k2", "etcd key /w/k3", "etcd key /w/k4", "etcd"]);
  expect(problems.at(-1)?.reason).toBe("2 more keys below the prefix are ignored");
  expect(garbageProblems(new Map())).toEqual([]);
});
