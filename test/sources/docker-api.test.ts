/** Docker's answers as a socket may bring them: every call ends, whatever became of its answer. */
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectDocker } from "../../src/sources/docker-api.ts";

let folder: string;
let server: Server;
let reply: (response: ServerResponse) => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "docker-api-"));
  server = createServer((_request, response) => { reply(response); });
  await new Promise<void>((ready) => { server.listen(join(folder, "docker.sock"), ready); });
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const half = (response: ServerResponse): void => { response.writeHead(200, { "Content-Type": "application/json" }).write('[{"Id":"a"'); };

test.each<[string, (response: ServerResponse) => void]>([
  ["never comes", () => undefined],
  ["stops in the middle", half],
  ["is cut off in the middle", (response) => { half(response); setTimeout(() => { response.destroy(); }, 20); }],
])("an answer that %s ends the call in time", async (_what, how) => {
  reply = how;
  const api = connectDocker({ socketPath: join(folder, "docker.sock"), timeoutMs: 300 });
  await expect(api.networks(new AbortController().signal)).rejects.toMatchObject({ code: "timeout" });
});

test("a call that is given up ends at once", async () => {
  reply = half;
  const giveUp = new AbortController();
  const api = connectDocker({ socketPath: join(folder, "docker.sock"), timeoutMs: 60_000 });
  const call = api.networks(giveUp.signal);
  setTimeout(() => { giveUp.abort(); }, 20);
  await expect(call).rejects.toMatchObject({ code: "timeout" });
});
