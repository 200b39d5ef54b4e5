/** Whom to ask, and what a person reads when nobody answers. */
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { socketOf, type Places } from "../../src/cli/target.ts";
import { fakeOperator, flannelNp, READY, STATE } from "./fake-operator.ts";

let folder = "";
let places: Places = { labs: "", proc: "", socket: "" };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "fnp-target-"));
  places = { labs: join(folder, "labs"), proc: join(folder, "proc"), socket: join(folder, "debug.sock") };
});
afterEach(async () => { await rm(folder, { recursive: true, force: true }); });

async function nodeRuns(lab: string, node: string, pid: string): Promise<void> {
  await mkdir(join(places.labs, lab), { recursive: true });
  await writeFile(join(places.labs, lab, `${node}.pid`), `${pid}\n`);
}

describe("socketOf", () => {
  test("this machine's, or the one given", async () => {
    expect(await socketOf({}, places)).toBe(places.socket);
    expect(await socketOf({ socket: "/x.sock" }, places)).toBe("/x.sock");
  });

  test("a lab node's through its pid; the lab is found while only one has it", async () => {
    await nodeRuns("demo", "node1", "77");
    await nodeRuns("demo", "node2", "78");
    await nodeRuns("other", "node1", "99");
    expect(await socketOf({ node: "node2" }, places)).toBe(join(places.proc, "78/root", places.socket));
    expect(await socketOf({ node: "node1", lab: "other" }, places)).toBe(join(places.proc, "99/root", places.socket));
    await expect(socketOf({ node: "node1" }, places)).rejects.toMatchObject({ message: "Cannot reach node node1: the labs demo, other have one", cure: "Name the lab, e.g. --lab demo" });
  });

  test("says which part is missing or wrong", async () => {
    await nodeRuns("demo", "node1", "not a pid");
    const refused: readonly (readonly [object, string])[] = [
      [{ node: "node9" }, "no lab on this machine has it running"], [{ node: "node9", lab: "demo" }, "it does not run"],
      [{ node: "node1" }, "its process id is not noted"], [{ lab: "demo" }, "--lab needs a node"],
      [{ node: "node1", socket: "/x" }, "both --socket and --node"], [{ node: "../x" }, "no name of a node or lab"],
    ];
    for (const [options, reason] of refused) await expect(socketOf(options, places)).rejects.toMatchObject({ message: expect.stringContaining(reason) });
  });
});

describe("when nobody answers", () => {
  test("no socket: is the plugin enabled?", async () => {
    const { exit, err } = await flannelNp(["status"], folder);
    expect(err).toBe(`Cannot ask the operator at ${places.socket}: there is no such socket.\nIs the plugin enabled? \`docker plugin ls\` shows it, `
      + "`docker plugin enable flannel-np` starts it; a lab's node is asked with --node NAME.\n");
    expect(exit).toBe(2);
  });

  test("a socket left over, a plain file, a server that hangs up", async () => {
    await writeFile(places.socket, "");
    expect((await flannelNp(["status"], folder)).err).toMatch(/nobody listens there any more|it is no socket/);
    const rude = createServer((socket) => { socket.destroy(); });
    await new Promise<void>((resolve) => { rude.listen(join(folder, "rude.sock"), resolve); });
    expect((await flannelNp(["status", "--socket", join(folder, "rude.sock")])).err).toContain("it ended the connection");
    await new Promise((resolve) => { rude.close(resolve); });
  });

  test("an answer of somebody else", async () => {
    const operator = await fakeOperator({ "GET /readyz": READY, "GET /state": (response: { end(text: string): void }) => { response.end("<html>"); } });
    expect(await flannelNp(["status"], operator.folder)).toMatchObject({ exit: 2, err: expect.stringContaining("it is not JSON") });
    await operator.close();
  });

  test("an old operator without the route", async () => {
    const operator = await fakeOperator({});
    expect(await flannelNp(["plan"], operator.folder)).toMatchObject({ exit: 2, err: expect.stringContaining("no such route") });
    await operator.close();
  });
});

test("a lab node's operator is asked through /proc", async () => {
  const operator = await fakeOperator({ "GET /readyz": READY, "GET /state": STATE });
  await mkdir(join(operator.folder, "labs", "demo"), { recursive: true });
  await writeFile(join(operator.folder, "labs", "demo", "node1.pid"), "4242\n");
  const inside = join(operator.folder, "proc", "4242", "root", operator.folder);
  await mkdir(dirname(inside), { recursive: true });
  await symlink(operator.folder, inside);
  const { exit, out } = await flannelNp(["status", "--node", "node1"], operator.folder);
  expect(out).toContain("node1 (manager, leader)");
  expect(exit).toBe(0);
  await operator.close();
});
