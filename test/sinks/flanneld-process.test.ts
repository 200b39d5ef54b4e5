/** flanneld's process half: how it is called, what its lines mean, when it may start again. */
import { describe, expect, it } from "@jest/globals";
import type { EventName } from "../../src/core/events.ts";
import type { Cidr, FlannelId, Ipv4, Mac, Vni } from "../../src/core/ids.ts";
import type { Exit, ProcessSpec, StartProcess } from "../../src/sinks/exec.ts";
import { Child } from "../../src/sinks/flanneld/child.ts";
import { environmentOf, flagsOf } from "../../src/sinks/flanneld/command.ts";
import { verdictOn, withoutSecrets } from "../../src/sinks/flanneld/log-lines.ts";
import { Patience } from "../../src/sinks/flanneld/patience.ts";
import { ownerOf } from "../../src/sinks/flanneld/strays.ts";
import type { FlanneldSpec } from "../../src/sinks/flanneld.ts";

const SPEC: FlanneldSpec = {
  flannelId: "web" as FlannelId, vni: 6_501 as Vni, subnet: "10.101.11.0/24" as Cidr, network: "10.101.0.0/16" as Cidr, publicIp: "10.99.0.11" as Ipv4,
  link: "eth0", mtuBytes: 1_500, backendType: "vxlan", mac: "0e:00:00:00:00:01" as Mac, extraFlags: ["-v=2", "--iface=wrong"],
};
const endpoints = ["http://a:1", "http://b:2"];
const parts = { subnetFile: "/d/web.env", etcdPrefix: "/flannel/networks/web" };

describe("call", () => {
  it("has the user's flags first, so that ours win", () => {
    expect(flagsOf(SPEC, { ...parts, etcd: { endpoints } })).toEqual(["-v=2", "--iface=wrong", "--etcd-endpoints=http://a:1,http://b:2",
      "--etcd-prefix=/flannel/networks/web", "--iface=eth0", "--public-ip=10.99.0.11", "--subnet-file=/d/web.env",
      "--iptables-forward-rules=false", "--ip-masq=false", "--healthz-port=0"]);
    expect(flagsOf({ ...SPEC, backendType: "host-gw" }, { ...parts, etcd: { endpoints } })).toContain("--iface=10.99.0.11");
  });

  it("carries credentials in the environment only", () => {
    const etcd = { endpoints, username: "root", password: "pw" };
    expect(flagsOf(SPEC, { ...parts, etcd }).join()).not.toContain("pw");
    expect(environmentOf(etcd)).toEqual({ FLANNELD_ETCD_USERNAME: "root", FLANNELD_ETCD_PASSWORD: "pw" });
  });

  it("gives a CA by flag with a client certificate, else through Go's own store", () => {
    const mutual = { endpoints, caFile: "/ca", certFile: "/c", keyFile: "/k" };
    expect(flagsOf(SPEC, { ...parts, etcd: mutual })).toEqual(expect.arrayContaining(["--etcd-certfile=/c", "--etcd-keyfile=/k", "--etcd-cafile=/ca"]));
    expect(environmentOf(mutual)).toEqual({});
    expect(flagsOf(SPEC, { ...parts, etcd: { endpoints, caFile: "/ca" } }).join()).not.toContain("/ca");
    expect(environmentOf({ endpoints, caFile: "/ca" })).toEqual({ SSL_CERT_FILE: "/ca" });
  });

  it("is known again by its subnet file", () => {
    expect(ownerOf(["flanneld", ...flagsOf(SPEC, { ...parts, etcd: { endpoints } })], "/d")).toBe("web");
    expect(ownerOf(["flanneld", "--subnet-file=/d/web.env"], "/e")).toBeUndefined();
    expect(ownerOf(["flanneld", "--subnet-file=/d/sub/web.env"], "/d")).toBeUndefined();
    expect(ownerOf([""], "/d")).toBeUndefined();
  });
});

describe("lines", () => {
  it.each([
    ["I1120 19:24:12.1 1 subnet.go:138] Batch elem [0] is { lease.Event{} }", "drop"],
    ["I1120 19:24:12.1 1 main.go:400] Wrote subnet file to /d/web.env", "ready"],
    ["W1120 19:24:12.1 1 registry.go:383] Watch of subnet leases failed because header revision != 0", "restart"],
    ["W1120 19:24:12.1 1 registry.go:325] etcd watch for /p fell behind compaction horizon (compact rev 5), re-listing and resuming", "restart"],
    ["E1120 19:24:12.1 1 vxlan_network.go:359] AddARP failed: no such device", "restart"],
    ["I1120 19:24:12.1 1 vxlan_network.go:102] vxlan device missing, attempting to recreate...", "restart"],
    ["E1120 19:24:12.1 1 local_manager.go:402] Lease has been revoked. Shutting down daemon.", "warn"],
    ["timed out", "log"],
  ])("%s: %s", (line, verdict) => expect(verdictOn(line)).toBe(verdict));

  it("lose their secrets", () => {
    expect(withoutSecrets("I1 main.go:229] CLI flags config: {etcdPassword:pw}", ["pw"])).toBe("I1 main.go:229] CLI flags config: (withheld)");
    expect(withoutSecrets("authentication of root:pw failed, pw", ["pw"])).toBe("authentication of root:*** failed, ***");
    expect(withoutSecrets("x".repeat(5_000), [])).toHaveLength(1_001);
  });
});

describe("patience", () => {
  const pace = { decentLifeMs: 1_000, firstMs: 500, maxMs: 30_000 };

  it("doubles the wait from 0.5 s to 30 s", () => {
    const patience = new Patience(pace);
    const waits = Array.from({ length: 9 }, () => { patience.ended(10, 0); return patience.waitMs(0); });
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    expect(patience.waitMs(29_999)).toBe(1);
    expect(patience.waitMs(30_000)).toBe(0);
  });

  it("forgets after a decent life, and when what is wanted changes", () => {
    const patience = new Patience(pace);
    patience.ended(10, 0);
    patience.ended(1_000, 0);
    expect([patience.failures, patience.waitMs(0)]).toEqual([0, 0]);
    patience.ended(10, 0);
    patience.forget();
    expect([patience.failures, patience.waitMs(0)]).toEqual([0, 0]);
  });
});

describe("one life", () => {
  function life() {
    const said: EventName[] = [];
    const signals: string[] = [];
    const seen = { troubles: 0, say: (_line: string): void => undefined, end: (_exit: Exit): void => undefined };
    const child = new Child(SPEC, { emit: (event) => { said.push(event); }, now: () => 5, secrets: [], onTrouble: () => { seen.troubles++; } });
    const start: StartProcess = (spec: ProcessSpec) => {
      seen.say = spec.onStderr ?? seen.say;
      return { pid: 42, exited: new Promise<Exit>((resolve) => { seen.end = resolve; }), write: () => undefined, kill: (signal = "SIGTERM") => { signals.push(signal); } };
    };
    child.start(start, { file: "flanneld", args: [] });
    return { child, said, signals, seen };
  }
  const turn = (): Promise<void> => new Promise(setImmediate);

  it("is ready with its subnet file", async () => {
    const { child, seen } = life();
    expect(child.running).toEqual({ pid: 42, startedAtMs: 5, spec: SPEC, ready: false });
    seen.say("Wrote subnet file to /d/web.env");
    await child.settled;
    expect(child.running?.ready).toBe(true);
  });

  it("is in trouble once, however often it complains", () => {
    const { child, seen, said } = life();
    seen.say("AddARP failed: a");
    seen.say("AddARP failed: b");
    expect(child.running?.complaint).toBe("AddARP failed: a");
    expect(seen.troubles).toBe(1);
    expect(said).toEqual(["flanneld.started", "flanneld.warned", "flanneld.warned"]);
  });

  it("calls an end nobody asked for trouble, exit code 0 included", async () => {
    const { child, seen, said } = life();
    seen.say("flag provided but not defined: -nonsense");
    seen.end({ exitCode: 0 });
    await turn();
    expect(child.running).toBeUndefined();
    expect(child.obituary).toBe("it ended with exit code 0 after saying: flag provided but not defined: -nonsense");
    expect([seen.troubles, said.at(-1)]).toEqual([1, "flanneld.exited"]);
  });

  it("is no trouble when it is stopped", async () => {
    const { child, seen, signals } = life();
    const stopped = child.stop();
    seen.say("Subnet watch failed: context canceled");
    seen.end({ signal: "SIGTERM" });
    await stopped;
    expect([signals, seen.troubles, child.running]).toEqual([["SIGTERM"], 0, undefined]);
    await child.stop();
  });
});
