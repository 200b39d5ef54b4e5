/** A node's keys at the end of its process and of its membership, on a real etcd. */
import { afterAll, beforeAll, beforeEach, expect, it, jest } from "@jest/globals";
import type { LeaseId } from "../../src/core/store.ts";
import type { NodeRecord } from "../../src/core/model.ts";
import { keysBelow } from "../../src/core/names.ts";
import { encodeContainer, encodeNode } from "../../src/core/records.ts";
import { farewell, MAINTENANCE_SECONDS, rest } from "../../src/sinks/own-keys.ts";
import { connectEtcd, type WatchingClient } from "../../src/sources/etcd-client.ts";
import { container, NODE, OTHER, publicIp } from "../plan/builders.ts";
import { startEtcd, until, type EtcdServer } from "./etcd-server.ts";

const keys = keysBelow("/flannel");
const record: NodeRecord = { id: NODE, hostname: "a", publicIp: publicIp(1), role: "worker" };
jest.setTimeout(120_000);

let server: EtcdServer;
let client: WatchingClient;
let short: LeaseId;
beforeAll(async () => {
  server = await startEtcd();
  client = connectEtcd({ endpoints: [server.endpoint] });
});
afterAll(async () => {
  client.close();
  await server.remove();
});
beforeEach(async () => {
  server.ctl("del", "", "--prefix");
  short = await client.grantLease(600);
  const put = (key: string, value: string) => ({ do: "put", key, value, lease: short } as const);
  await client.txn({ compare: [], success: [
    put(keys.node(NODE), encodeNode(record, NODE)), put(keys.node(OTHER), "other"), put(keys.nodeContainer(OTHER, container(9).id), "other's"),
    ...[1, 2].map((n) => put(keys.nodeContainer(NODE, container(n).id), encodeContainer(container(n), NODE))),
  ] });
});
const there = async (): Promise<string[]> => (await client.range(keys.nodes)).items.map(({ key }) => key.slice(keys.nodes.length));

it("rests: what still runs outlives the old lease, what has ended goes with it", async () => {
  await rest({ client, keys }, record, [container(1)]);
  await client.revokeLease(short);
  expect(await there()).toEqual(["node-a", "node-a/containers/box-1"]);
  const item = await client.get(keys.node(NODE));
  expect(JSON.parse(item?.value ?? "")).toMatchObject({ id: NODE, maintenance: true });
  expect(await client.keepAliveOnce(item?.lease as LeaseId)).toBe(MAINTENANCE_SECONDS);
});

it("rests with more containers than one transaction holds", async () => {
  await rest({ client, keys }, record, Array.from({ length: 300 }, (_, n) => container(n)));
  await client.revokeLease(short);
  expect(await there()).toHaveLength(301);
});

it("farewell: whoever sees the record go has seen its containers go before", async () => {
  const seen: string[] = [];
  const { revision } = await client.range(keys.nodes);
  const watching = client.watch(keys.nodes, revision + 1n).subscribe(({ events }) => { for (const { kind, item } of events) seen.push(`${kind} ${item.key.slice(keys.nodes.length)}`); });
  await farewell({ client, keys }, NODE);
  await until(() => seen.length === 3, "three deletes");
  watching.unsubscribe();
  expect(seen.at(-1)).toBe("delete node-a");
  expect(await there()).toEqual(["node-b", "node-b/containers/box-9"]);
});
