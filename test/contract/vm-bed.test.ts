/** The machine that adapters' kernel halves run in: its commands answer as ours do, and its kernel has what the balancers need. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { NetnsPath } from "../../src/core/ids.ts";
import type { Output } from "../../src/sinks/exec.ts";
import { VM_START_MS, VmBed } from "./vm-bed.ts";

let bed: VmBed;
beforeAll(async () => { bed = await VmBed.start(); }, VM_START_MS);
afterAll(() => bed.close());
afterEach(async () => { expect(await bed.failures()).toEqual([]); });

const tell = (file: string, args: readonly string[], extra: { stdin?: string; netns?: NetnsPath; timeoutMs?: number } = {}): Promise<Output> =>
  bed.exec({ file, args, timeoutMs: 30_000, ...extra }, new AbortController().signal);

describe("commands", () => {
  test("stdin, stdout, stderr and the exit code pass", async () => {
    expect(await tell("sh", ["-c", "cat; echo bad >&2; exit 3"], { stdin: "words\n" })).toEqual({ exitCode: 3, stdout: "words\n", stderr: "bad\n" });
  });
  test("a megabyte there and back", async () => {
    const stdin = "0123456789abcdef".repeat(65_536);
    expect((await tell("cat", [], { stdin })).stdout).toBe(stdin);
  });
  test("what is not there is told apart from what fails", async () => {
    await expect(tell("nosuchprogram", [])).rejects.toMatchObject({ code: "unsupported" });
    await expect(tell("ip", ["link"], { netns: "/run/netns/none" as NetnsPath })).rejects.toMatchObject({ code: "not-found" });
    await expect(tell("sleep", ["60"], { timeoutMs: 300 })).rejects.toMatchObject({ code: "timeout" });
  });
  test("many at once", async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => tell("echo", [String(n)])));
    expect(answers.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 8 }, (_, n) => `${n}\n`));
  });
});

describe("kernel", () => {
  test("what ipvsadm saves, it restores", async () => {
    const [one, other] = [await bed.namespace(), await bed.namespace()];
    const rules = ["-A -f 20481 -s rr", "-a -f 20481 -r 10.1.1.11:0 -m -w 1", "-a -f 20481 -r 10.1.2.11:0 -m -w 0", "-A -f 20482 -s sh"];
    await one.must("ipvsadm", ["--restore"], `${rules.join("\n")}\n`);
    const saved = await one.must("ipvsadm", ["--save", "-n"]);
    expect(saved.trimEnd().split("\n").map((line) => line.trim())).toEqual(rules);
    await other.must("ipvsadm", ["--restore"], saved);
    expect(await other.must("ipvsadm", ["--save", "-n"])).toBe(saved);
    await Promise.all([one.close(), other.close()]);
  });
  test("nft maps addresses to marks, IPVS takes the mark, conntrack sees it", async () => {
    const host = await bed.namespace();
    // Without a rule that needs it (NAT, ct) a namespace tracks no connection.
    await host.must("nft", ["-f", "-"], `table ip fnp {
      map vips { type ipv4_addr : mark; elements = { 10.1.0.5 : 0x5001 } }
      chain out { type filter hook output priority -150; meta mark set ip daddr map @vips; }
      chain hairpin { type nat hook postrouting priority 100; ip saddr 10.1.1.99 snat to 10.1.1.1; }
    }\n`);
    await host.ip("address add 10.1.1.11/32 dev lo", "route add local 10.1.0.0/24 dev lo");
    await host.sysctls.write([["net/ipv4/vs/conntrack", "1"]]);
    await host.must("ipvsadm", ["--restore"], "-A -f 20481 -s rr\n-a -f 20481 -r 10.1.1.11:0 -m\n");
    const answered = await host.must("sh", ["-c", "nc -l 8080 >/run/got & sleep 0.2; echo hello | nc -N -w 5 10.1.0.5 8080; wait; cat /run/got"]);
    expect(answered).toBe("hello\n");
    expect(await host.must("ipvsadm", ["-Lnc"])).toMatch(/TCP +\S+ +\S+ +\S+ +10\.1\.0\.5:8080 +10\.1\.1\.11:8080/);
    expect(await host.must("conntrack", ["-L", "-p", "tcp"])).toMatch(/dst=10\.1\.0\.5 .*src=10\.1\.1\.11/);
    await host.close();
  });
});
