/** Whoever calls before the program is there gets its answer later, and nobody gets two servers. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { listenEarly } from "../../src/plugin/early.ts";
import { listenOn } from "../../src/plugin/socket.ts";

let folder = "";
beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), "fnp-early-")); });
afterEach(() => rm(folder, { recursive: true }));

const ask = (socketPath: string, body: string): Promise<string> => new Promise((resolve, reject) => {
  const outgoing = request({ socketPath, method: "POST", path: "/x" }, (incoming) => {
    let text = "";
    incoming.setEncoding("utf8").on("data", (chunk: string) => { text += chunk; }).on("end", () => { resolve(text); });
  });
  outgoing.on("error", reject).end(body);
});
const echo = (): ReturnType<typeof createServer> => createServer((incoming, response) => { incoming.pipe(response); });

const closed = (server: ReturnType<typeof createServer>): Promise<unknown> => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });

test("a call made before is answered after, as are later ones; the socket is root's alone", async () => {
  const path = join(folder, "deep", "p.sock");
  const early = await listenEarly(path);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const calls = ["one", "two".repeat(50_000)].map((body) => ask(path, body));
  await new Promise((resolve) => { setTimeout(resolve, 100); });
  const server = echo();
  early?.passTo(server);
  await listenOn(server, path);
  expect(await Promise.all(calls)).toEqual(["one", "two".repeat(50_000)]);
  expect(await ask(path, "three")).toBe("three");
  await closed(server);
  expect(existsSync(path)).toBe(false);
}, 10_000);

test("what a former life left is taken over; a path that cannot be had is undefined", async () => {
  const path = join(folder, "p.sock");
  await listenEarly(path);
  const second = await listenEarly(path);
  const server = echo();
  const call = ask(path, "x");
  second?.passTo(server);
  expect(await call).toBe("x");
  await listenOn(server, path);
  await closed(server);
  expect(await listenEarly(join(folder, "long".repeat(40)))).toBeUndefined();
}, 10_000);
