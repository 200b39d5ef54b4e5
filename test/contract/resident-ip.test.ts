/** The resident `ip` beside a fresh one, on the kernel: the same answers, also after links have been taken away and made again. */
import { describe, expect, it } from "@jest/globals";
import { startProcess, type Command, type Output } from "../../src/sinks/exec.ts";
import { residentIp } from "../../src/sinks/resident-ip.ts";
import { Namespace } from "./namespace.ts";

const signal = new AbortController().signal;
const look = (...lines: readonly string[]): Command => ({ file: "ip", args: ["-json", "-force", "-batch", "-"], stdin: lines.map((line) => `${line}\n`).join(""), timeoutMs: 20_000 });

interface Bed { readonly host: Namespace; readonly ask: (command: Command) => Promise<Output>; readonly started: () => number; readonly fresh: () => number }

async function inNamespace(work: (bed: Bed) => Promise<void>): Promise<void> {
  const host = await Namespace.make();
  let started = 0;
  let fresh = 0;
  const resident = residentIp(
    (spec) => { started += 1; return startProcess({ ...spec, netns: host.path }); },
    (command, stop) => { fresh += 1; return host.exec(command, stop); }, () => performance.now(),
  );
  try {
    await work({ host, ask: (command) => resident.exec(command, signal), started: () => started, fresh: () => fresh });
  } finally {
    resident.close();
    await host.close();
  }
}

const named = ({ stdout }: Output): readonly { ifname: string; ifindex: number }[] => JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as readonly { ifname: string; ifindex: number }[];

describe("the resident ip", () => {
  it("answers a hundred looks at once, each with its own documents, out of one program", () => inNamespace(async ({ host, ask, started, fresh }) => {
    await host.ip(...Array.from({ length: 50 }, (_, n) => `link add name fnpt${n} type veth peer name fnpp${n}`), "link add name fnpb type bridge");
    const kinds = Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? "veth" : "bridge"));
    // While the kernel settles new links "Dump was interrupted" is a complaint, and such a look is asked again.
    for (let asked = -1; asked !== fresh();) {
      asked = fresh();
      await ask(look("link show type veth", "address show", "link show type veth"));
    }
    const complaints = fresh();
    const answers = await Promise.all(kinds.map((kind) => ask(look("route show table all proto 102", `link show type ${kind}`))));
    expect(answers.map((answer) => named(answer).filter(({ ifname }) => ifname !== undefined).length)).toEqual(kinds.map((kind) => (kind === "veth" ? 100 : 1)));
    expect(answers[0]).toEqual(await host.exec(look("route show table all proto 102", "link show type veth"), signal));
    expect(started()).toBe(1);
    expect(fresh() - complaints).toBeLessThan(50);
  }));

  it("tells of a link made again under its old name", () => inNamespace(async ({ host, ask, started, fresh }) => {
    const indexOf = async (): Promise<number | undefined> => named(await ask(look("address show type veth"))).find(({ ifname }) => ifname === "fnpt0")?.ifindex;
    await host.ip("link add name fnpt0 type veth peer name fnpp0");
    const before = await indexOf();
    await host.ip("link delete dev fnpt0", "link add name fnpt0 type veth peer name fnpp0");
    const truth = (JSON.parse(await host.must("ip", ["-json", "link", "show", "dev", "fnpt0"])) as readonly { ifindex: number }[])[0]?.ifindex;
    expect(truth).not.toBe(before);
    expect(await indexOf()).toBe(truth);
    expect([started(), fresh()]).toEqual([1, 0]);
  }));

  it("leaves a look that names a link, one with a complaint and a change to a fresh program", () => inNamespace(async ({ ask, started, fresh }) => {
    expect(await ask(look("address show dev fnpt0"))).toMatchObject({ stderr: 'Device "fnpt0" does not exist.\nCommand failed -:1\n' });
    expect(started()).toBe(0);
    expect(await ask(look("link show type veth", "route get 203.0.113.1"))).toMatchObject({ stderr: "RTNETLINK answers: Network is unreachable\nCommand failed -:2\n" });
    await ask({ ...look("link add name fnpt1 type veth peer name fnpp1"), args: ["-force", "-batch", "-"] });
    expect(named(await ask(look("link show type veth"))).map(({ ifname }) => ifname).sort()).toEqual(["fnpp1", "fnpt1"]);
    expect([started(), fresh()]).toEqual([1, 3]);
  }));
});

describe("the resident ip that dies", () => {
  it("is replaced, and the look that it left is answered", () => inNamespace(async ({ host }) => {
    await host.ip("link add name fnpt1 type veth peer name fnpp1");
    const pids: number[] = [];
    const resident = residentIp((spec) => {
      const child = startProcess({ ...spec, netns: host.path });
      pids.push(child.pid ?? 0);
      return child;
    }, host.exec, () => performance.now());
    for (let round = 0; round < 3; round += 1) {
      expect(named(await resident.exec(look("link show type veth"), signal)).map(({ ifname }) => ifname).sort()).toEqual(["fnpp1", "fnpt1"]);
      process.kill(pids.at(-1) ?? 0, "SIGKILL");
      expect(named(await resident.exec(look("link show type veth"), signal)).map(({ ifname }) => ifname).sort()).toEqual(["fnpp1", "fnpt1"]);
    }
    expect(pids.length).toBeGreaterThanOrEqual(3);
    resident.close();
  }));

  it("is left alone for a minute when it lives and says nothing", () => inNamespace(async ({ host }) => {
    let started = 0;
    let clock = 0;
    const resident = residentIp(() => {
      started += 1;
      return startProcess({ file: "sleep", args: ["60"], input: true });
    }, host.exec, () => clock);
    const ask = async (): Promise<string> => (await resident.exec(look("link show type veth"), signal)).stdout;
    expect(await ask()).toBe("[]\n");
    expect([await ask(), await ask(), started]).toEqual(["[]\n", "[]\n", 1]);
    clock = 60_000;
    expect([await ask(), started]).toEqual(["[]\n", 2]);
    resident.close();
  }));
});
