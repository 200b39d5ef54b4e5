/** The layout's guard: no transaction reaches an etcd whose layout is not ours, from the very first one on. */
import { describe, expect, it } from "@jest/globals";
import { keysBelow } from "../../src/core/names.ts";
import { encodeSchema } from "../../src/core/records.ts";
import type { StoredItem, Txn } from "../../src/core/store.ts";
import type { WatchingClient } from "../../src/sources/etcd-client.ts";
import { foreignLayout, guardLayout } from "../../src/sources/etcd-layout.ts";

const keys = keysBelow("/fnp");
const TXN: Txn = { compare: [], success: [{ do: "put", key: "/fnp/x", value: "v" }] };

interface Desk { schema: string | undefined; asked: number; readonly sent: Txn[]; readonly guard: ReturnType<typeof guardLayout> }
function desk(schema: string | undefined): Desk {
  const sent: Txn[] = [];
  const client = {
    get: (key: string): Promise<StoredItem | undefined> => {
      state.asked += 1;
      return Promise.resolve(state.schema === undefined ? undefined : { key, value: state.schema, modRevision: 1n, createRevision: 1n, version: 1n });
    },
    txn: (txn: Txn) => { sent.push(txn); return Promise.resolve({ succeeded: true, revision: 2n, responses: [] }); },
  } as unknown as WatchingClient;
  const state: Desk = { schema, asked: 0, sent, guard: guardLayout(client, keys) };
  return state;
}

describe("what a layout is to this operator", () => {
  it.each([["absent", true], [0, true], [1, true], [2, false], [99, false], ["unreadable", false]] as const)("%s: %s", (layout, ours) => {
    expect(foreignLayout(layout) === undefined).toBe(ours);
  });
});

describe("a guarded client", () => {
  it.each([undefined, encodeSchema("me")])("asks once and lets everything through: %s", async (schema) => {
    const state = desk(schema);
    await state.guard.client.txn(TXN);
    await state.guard.client.txn(TXN);
    expect([state.sent, state.asked]).toEqual([[TXN, TXN], 1]);
  });

  it.each(["{\"version\":99}", "{", "{\"version\":\"1\"}"])("writes nothing, with the cure, before the watch has spoken: %s", async (schema) => {
    const { guard: { client }, sent } = desk(schema);
    await expect(client.txn(TXN)).rejects.toMatchObject({ code: "invalid", cure: "Upgrade flannel-np on this node" });
    expect(sent).toEqual([]);
  });

  it("follows the watch both ways, and asks no more", async () => {
    const state = desk(encodeSchema("me"));
    const { client, settle } = state.guard;
    settle(foreignLayout(2));
    await expect(client.txn(TXN)).rejects.toThrow("its layout is version 2, this operator knows version 1");
    settle(undefined);
    await client.txn(TXN);
    expect([state.sent, state.asked]).toEqual([[TXN], 0]);
  });
});
