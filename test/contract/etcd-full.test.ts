/** An etcd that answers but takes no writes: one clear message with the cure, and reading goes on. */
import { afterAll, beforeAll, expect, it, jest } from "@jest/globals";
import { connectEtcd, type WatchingClient } from "../../src/sources/etcd-client.ts";
import { startEtcd, until, type EtcdServer } from "./etcd-server.ts";

jest.setTimeout(120_000);
let server: EtcdServer;
let client: WatchingClient;
beforeAll(async () => {
  server = await startEtcd(["--quota-backend-bytes", String(2 ** 20)]);
  client = connectEtcd({ endpoints: [server.endpoint] });
});
afterAll(async () => {
  client.close();
  await server.remove();
});

const put = (key: string) => client.txn({ compare: [], success: [{ do: "put", key, value: "x".repeat(200_000) }] });

it("over its quota: exhausted, the cure names the alarm; reads are answered; disarmed, writes go on", async () => {
  await put("/flannel/first");
  let refused: unknown;
  for (let n = 0; n < 40 && refused === undefined; n++) await put(`/flannel/fill/${n}`).catch((error: unknown) => { refused = error; });
  expect(refused).toMatchObject({ code: "exhausted", message: expect.stringContaining("database space exceeded"), cure: "Compact and defragment etcd or raise its quota, then disarm its NOSPACE alarm" });
  expect(await client.get("/flannel/first")).toBeDefined();
  server.ctl("del", "--prefix", "/flannel/fill/");
  const { revision } = await client.range("/flannel/");
  server.ctl("compaction", String(revision));
  server.ctl("defrag");
  server.ctl("alarm", "disarm");
  await until(() => put("/flannel/after").then(() => true, () => false), "writes to go on");
});
