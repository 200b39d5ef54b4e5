/** README's first command, as a stranger types it: once from nothing, once more where everything stands. */
import { afterAll, describe, expect, it } from "@jest/globals";
import { existsSync } from "node:fs";
import { execa } from "execa";
import { prefixLength, parseCidr, contains, parseIpv4, type Cidr, type Ipv4 } from "../../src/core/ids.ts";
import { findLab } from "../../lab/lab.ts";
import { LAB_ID, must } from "./bed.ts";

const ID = `${LAB_ID}proof`;
const root = new URL("../..", import.meta.url).pathname;
async function flannelNp(...args: readonly string[]): Promise<{ readonly exitCode: number | undefined; readonly stdout: string }> {
  const { exitCode, stdout } = await execa(`${root}flannel-np`, args, { reject: false, stdin: "ignore" });
  return { exitCode, stdout };
}

interface Task { readonly node: string; readonly address: string; readonly subnet: string; readonly container: string }

/** Rows of the proof's first table: TASK ON, ADDRESS, NODE'S SUBNET, CONTAINER. */
const tasksIn = (text: string): Task[] =>
  [...text.matchAll(/^(node\d+)\s+(\d+\.\d+\.\d+\.\d+)\s+(\d+\.\d+\.\d+\.\d+\/\d+)\s+([0-9a-f]{12})$/gm)]
    .map(([, node = "", address = "", subnet = "", container = ""]) => ({ node, address, subnet, container }));

/** What a repetition must leave alone. */
async function fingerprint(): Promise<string> {
  const lab = await findLab(ID);
  if (lab === undefined) throw new Error(`Cannot find lab ${ID}`);
  const parts = await Promise.all(lab.nodes.map((node) => must(node, ["sh", "-c", "docker ps --no-trunc --format '{{.ID}}'; docker plugin ls --no-trunc --format '{{.ID}} {{.Enabled}}'; ip -o link | cut -d: -f1,2; pidof node flanneld dockerd"])));
  return [...parts, await must(lab.node("node1"), ["docker", "service", "inspect", "-f", "{{.Version.Index}}", "demo"])].join("\n");
}

afterAll(async () => { await flannelNp("lab", "down", "--lab", ID); });

describe("./flannel-np lab up", () => {
  let before = "";

  it("ends in a proof: a task on each of two nodes, each in its node's own subnet, packets both ways", async () => {
    const { exitCode, stdout } = await flannelNp("lab", "up", "--lab", ID);
    expect(exitCode).toBe(0);
    const tasks = tasksIn(stdout);
    expect(tasks.map(({ node }) => node).sort()).toEqual(["node1", "node2"]);
    for (const { address, subnet } of tasks) expect(contains(parseCidr(subnet) as Cidr, parseIpv4(address) as Ipv4)).toBe(true);
    expect(new Set(tasks.map(({ subnet }) => subnet)).size).toBe(2);
    expect(tasks.map(({ subnet }) => prefixLength(subnet as Cidr))).toEqual([25, 25]);
    for (const [from, to] of [["node1", "node2"], ["node2", "node1"]] as const) {
      expect(stdout).toMatch(new RegExp(`^${from}\\s+${to} [\\d.]+\\s+[\\d.]+ ms\\s+[0-9a-f]{12} `, "m"));
    }
    before = await fingerprint();
  });

  it("repeated is quick, shows the same again, and changes nothing", async () => {
    const { exitCode, stdout } = await flannelNp("lab", "up", "--lab", ID);
    expect(exitCode).toBe(0);
    expect(tasksIn(stdout)).toHaveLength(2);
    expect(await fingerprint()).toBe(before);
  });

  it("is taken away whole by lab down, twice if you like", async () => {
    for (let n = 0; n < 2; n += 1) expect((await flannelNp("lab", "down", "--lab", ID)).exitCode).toBe(0);
    expect(existsSync(`/run/flannel-np-lab/${ID}`)).toBe(false);
    const { stdout } = await execa("ip", ["netns", "list"]);
    expect(stdout).not.toContain(`fnp-${ID}-`);
  });
});
