/** The source over a fake engine: what is said when, and with which coverage. */
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import type { Ipv4 } from "../../src/core/ids.ts";
import type { Views } from "../../src/core/model.ts";
import { all, Bed, container, network, pass, service, task } from "./docker-bed.ts";

const down = new OperatorError("unavailable", "Cannot ask Docker: gone", { cure: "Start it" });
let bed: Bed;
beforeEach(() => { bed = new Bed(); });
afterEach(() => bed.end());

describe("a manager", () => {
  test("speaks at once, knowing nothing; then tells all that is ours", async () => {
    bed.start();
    expect(bed.coverage()).toBe(all("unknown"));
    expect(bed.now.node.items.size).toBe(0);
    await pass(100);
    expect(bed.coverage()).toBe(all("complete"));
    expect([...bed.now.networks.items.keys(), ...bed.now.services.items.keys(), ...bed.now.tasks.items.keys()]).toEqual(["ours", "web", "t1"]);
    expect([...bed.now.containers.items.values()]).toMatchObject([{ id: "c1", node: "node1", state: "running" }]);
    expect([...bed.now.endpoints.items.values()]).toEqual([{ id: "e-c1", network: "ours", address: "10.1.8.2", stage: "joined", sandbox: "s" }]);
    expect(bed.now.node.items.get("self")).toEqual({ id: "node1", hostname: "h1", role: "manager", leader: true, address: "10.0.0.4", dockerSeen: true });
    expect(bed.said).toEqual([["source.synced", { source: "docker", items: expect.any(Number) }]]);
  });

  test("events that come together are one reading, and what did not change is the same object", async () => {
    bed.start();
    await pass(100);
    const before = bed.now;
    bed.engine.asked.length = 0;
    bed.engine.svcs = [...bed.engine.svcs, service("new", "ours")];
    for (const action of ["create", "update", "update"]) bed.engine.tell("service", action, "new", {}, "swarm");
    await pass(50);
    expect(bed.engine.asked).toEqual(["services", "tasks"]);
    expect(bed.now.services.items.size).toBe(2);
    expect(bed.now.services.items.get("web")).toBe(before.services.items.get("web"));
    expect(bed.now.containers).toBe(before.containers);
  });

  test("the events of a health check wake nobody", async () => {
    bed.start();
    await pass(100);
    bed.engine.asked.length = 0;
    for (const action of ["exec_create: /bin/true", "exec_start: /bin/true", "exec_die", "top", "attach"]) bed.engine.tell("container", action, "c1");
    await pass(100);
    expect(bed.engine.asked).toEqual([]);
  });

  test("tasks have no events: they are read every 30 s", async () => {
    bed.start();
    await pass(100);
    bed.engine.jobs = [...bed.engine.jobs, task("t3", "ours")];
    await pass(30_100);
    expect(bed.now.tasks.items.size).toBe(2);
  });

  test("while services change, they are read four times a second; at rest they are not", async () => {
    bed.start();
    await pass(30_000);
    bed.engine.tell("service", "update", "web", { "updatestate.new": "updating" }, "swarm");
    await pass(300);
    bed.engine.jobs = bed.engine.jobs.map((job) => ({ ...job, record: { ...job.record, desiredState: "shutdown", index: 2 } }));
    await pass(300);
    expect([...bed.now.tasks.items.values()].map(({ desiredState }) => desiredState)).toEqual(["shutdown"]);
    bed.engine.tell("service", "update", "web", { "updatestate.new": "completed" }, "swarm");
    await pass(15_000);
    bed.engine.asked.length = 0;
    await pass(4_000);
    expect(bed.engine.asked.filter((call) => call === "tasks")).toEqual([]);
  });

  test("swarm without a leader: its kinds turn unknown, containers go on", async () => {
    bed.start();
    await pass(100);
    for (const call of ["info", "networks", "nodes", "services", "tasks"]) bed.engine.hanging.add(call);
    await pass(10_200);
    expect(bed.coverage()).toBe("networks:unknown services:unknown tasks:unknown containers:complete endpoints:complete node:unknown");
    expect(bed.now.services.items.size).toBe(1);
    bed.engine.boxes.set("c3", container("c3", "ours"));
    bed.engine.tell("container", "start", "c3");
    await pass(50);
    expect(bed.now.containers.items.has("c3")).toBe(true);
    bed.engine.hanging.clear();
    await pass(12_000);
    expect(bed.coverage()).toBe(all("complete"));
  });

  test("tells the ranges of other drivers' networks, ours apart", async () => {
    bed.start();
    expect(bed.strangers).toBeUndefined();
    await pass(100);
    expect(bed.strangers?.()).toEqual(["10.1.0.0/16"]);
    bed.engine.nets = bed.engine.nets.filter(({ driver }) => driver !== "bridge");
    await pass(61_000);
    expect(bed.strangers?.()).toEqual([]);
  });

  test("a network list without a leader behind it is not believed", async () => {
    bed.start();
    await pass(100);
    bed.engine.nets = [];
    bed.engine.broken.set("nodes", down);
    bed.engine.tell("network", "remove", "x", { name: "x" }, "swarm");
    await pass(50);
    expect(bed.now.networks.items.has("ours")).toBe(true);
    expect(bed.now.networks.coverage).toBe("unknown");
  });

  test("demoted: services and tasks are empty and unknown, so that etcd speaks for them", async () => {
    bed.start();
    await pass(100);
    bed.engine.role = "worker";
    bed.engine.tell("service", "update", "web", {}, "swarm");
    await pass(100);
    expect(bed.coverage()).toBe("networks:partial services:unknown tasks:unknown containers:complete endpoints:complete node:complete");
    expect([bed.now.services.items.size, bed.now.tasks.items.size]).toEqual([0, 0]);
    expect(bed.now.node.items.get("self")).toMatchObject({ role: "worker", leader: false });
  });
});

describe("a worker", () => {
  beforeEach(() => { bed.engine.role = "worker"; });

  test("asks managers' questions of nobody", async () => {
    bed.start();
    await pass(100);
    expect(bed.engine.asked).not.toContain("services");
    expect(bed.coverage()).toBe("networks:partial services:unknown tasks:unknown containers:complete endpoints:complete node:complete");
  });

  test("promoted without any event: seen within 5 s", async () => {
    bed.start();
    await pass(100);
    bed.engine.role = "manager";
    await pass(5_100);
    expect(bed.coverage()).toBe(all("complete"));
  });

  test("left and joined again under a new id: its containers follow", async () => {
    bed.start();
    await pass(100);
    bed.engine.node = "node1b";
    bed.engine.tell("network", "create", "i", { name: "ingress", type: "overlay" });
    await pass(50);
    expect([...bed.now.containers.items.values()].map(({ node }) => node)).toEqual(["node1b"]);
  });
});

describe("a lost engine", () => {
  test("everything unknown, nothing forgotten; then listed again in full", async () => {
    bed.start();
    await pass(100);
    const before = bed.now;
    bed.engine.broken.set("*", down);
    bed.engine.stream.error(down);
    expect(bed.coverage()).toBe(all("unknown"));
    expect(bed.now.containers.items).toBe(before.containers.items);
    await pass(30_000);
    expect(bed.said.filter(([event]) => event === "source.lost")).toEqual([["source.lost", { source: "docker", reason: "Cannot ask Docker: gone. Start it" }]]);
    bed.engine.broken.clear();
    bed.engine.boxes.delete("c1");
    await pass(2_500);
    expect(bed.coverage()).toBe(all("complete"));
    expect(bed.now.containers.items.size).toBe(0);
  });

  test("an engine that accepts and hangs: one call at a time, unknown within 15 s", async () => {
    bed.start();
    await pass(100);
    for (const call of ["info", "networks", "services", "tasks", "nodes", "containers"]) bed.engine.hanging.add(call);
    await pass(15_500);
    expect(bed.coverage()).toBe(all("unknown"));
    bed.engine.asked.length = 0;
    await pass(60_000);
    expect(bed.engine.asked.length).toBeLessThan(30);
  });
});

describe("names and underlay", () => {
  test("while our alias is unknown, nothing is complete; once known, it is", async () => {
    bed.names = undefined;
    bed.engine.nets = [network("ours", "registry.example.org/team/flannel-np:2"), network("bridge", "bridge")];
    bed.start();
    await pass(100);
    expect([bed.now.networks.coverage, bed.now.networks.items.size, bed.now.containers.coverage]).toEqual(["partial", 1, "partial"]);
    bed.names = ["registry.example.org/team/flannel-np:2"];
    await pass(600);
    expect(bed.coverage()).toBe(all("complete"));
  });

  test("the underlay is part of the node's facts", async () => {
    bed.start();
    await pass(100);
    bed.underlay$.next({ link: "eth0", address: "10.0.0.4" as Ipv4, mtuBytes: 1500 });
    expect(bed.now.node.items.get("self")?.underlay?.link).toBe("eth0");
  });

  test("several subscribers, one engine; after the last nothing is left", async () => {
    const { source } = bed;
    const subscription = source.views$.subscribe();
    await pass(100);
    const late: Views[] = [];
    source.views$.subscribe((views) => late.push(views)).unsubscribe();
    expect(late[0]?.networks.coverage).toBe("complete");
    expect(bed.engine.asked.filter((call) => call === "networks")).toHaveLength(1);
    subscription.unsubscribe();
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe("a slow engine", () => {
  test("thousands of events during one reading are one more reading, and the next ones are heard", async () => {
    bed.start();
    await pass(100);
    const quick = bed.engine.containers;
    const listing = await quick();
    let answer = (): void => undefined;
    bed.engine.containers = () => new Promise((resolve) => {
      bed.engine.containers = quick;
      answer = () => { resolve(listing); };
    });
    await pass(60_000);
    for (let n = 0; n < 5_000; n += 1) {
      bed.engine.tell("container", "start", "c1");
      await pass(21);
    }
    bed.engine.asked.length = 0;
    answer();
    await pass(100);
    expect(bed.engine.asked.filter((call) => call === "container c1")).toHaveLength(1);
    bed.engine.asked.length = 0;
    bed.engine.tell("container", "start", "c2");
    await pass(100);
    expect(bed.engine.asked).toEqual(["container c2"]);
  }, 60_000);
});
