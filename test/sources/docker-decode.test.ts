/** Bodies recorded from engines 28.5.2 (manager) and 20.10.24 (worker), and bodies no engine should send. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { containerOf, infoOf, networksOf, nodesOf, servicesOf, summariesOf, tasksOf } from "../../src/sources/docker-decode.ts";

const recorded = (engine: string, name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../golden/docker-${engine}/${name}.json`, import.meta.url), "utf8"));
const inspection = (engine: string, name: string): unknown => (recorded(engine, "inspections") as Record<string, unknown>)[name];

describe("engine 28, manager", () => {
  test("info", () => expect(infoOf(recorded("28", "info"))).toMatchObject({ role: "manager", address: "10.99.0.11", node: expect.any(String) }));
  test("networks with an IPv4 block, whatever their driver", () => {
    const { items, garbage } = networksOf(recorded("28", "networks"));
    expect(garbage).toEqual([]);
    expect(items.map(({ driver, record }) => `${record.name} ${driver} ${record.cidr}`).sort()).toEqual([
      "bridge bridge 172.17.0.0/16", "docker_gwbridge bridge 172.18.0.0/16", "ingress overlay 10.0.0.0/24", "ov overlay 10.0.1.0/24",
    ]);
  });
  test("services of both modes", () => {
    const { items } = servicesOf(recorded("28", "services"));
    expect(items.find(({ name }) => name === "web")).toMatchObject({
      mode: "vip", labels: { tier: "front" }, networks: [{ aliases: ["www"] }], vips: [{ address: "10.0.1.2" }], index: expect.any(Number),
    });
    expect(items.find(({ name }) => name === "rr")).toMatchObject({ mode: "dnsrr", vips: [] });
  });
  test("tasks", () => {
    const { items } = tasksOf(recorded("28", "tasks"));
    expect(items).toHaveLength(3);
    for (const { record, networks } of items) {
      expect(record).toMatchObject({ state: "running", desiredState: "running", service: expect.any(String), node: expect.any(String), container: expect.any(String) });
      expect(networks).toHaveLength(1);
    }
  });
  test("a task's container: its names, address from IPAddress", () => {
    const web = containerOf(inspection("28", "web"));
    expect(web).toMatchObject({ running: true, health: "healthy", service: expect.any(String), task: expect.any(String) });
    expect(web.sandbox).toMatch(/^[0-9a-f]{12}$/);
    expect(web.attachments).toMatchObject([{ address: "10.0.1.3", aliases: [web.name, web.id.slice(0, 12)] }]);
  });
  test("an attached container has its own aliases", () => {
    expect(containerOf(inspection("28", "plain")).attachments[0]?.aliases).toEqual(["plain", "pal", expect.stringMatching(/^[0-9a-f]{12}$/)]);
  });
  test("a container that never started has no attachment", () => {
    expect(containerOf(inspection("28", "made"))).toMatchObject({ running: false, attachments: [] });
  });
  test("the list call shows each container's networks", () => {
    const { items, garbage } = summariesOf(recorded("28", "containers"));
    expect([items.length, garbage.length]).toEqual([5, 0]);
    expect(new Set(items.map(({ fingerprint }) => fingerprint)).size).toBe(5);
  });
});

describe("engine 20.10, worker", () => {
  test("info", () => expect(infoOf(recorded("20.10", "info"))).toMatchObject({ role: "worker", address: "10.99.0.12" }));
  test("names are put together", () => {
    const web = containerOf(inspection("20.10", "web"));
    expect(web.attachments).toMatchObject([{ aliases: [web.name, web.id.slice(0, 12)], address: expect.stringMatching(/^10\.0\.1\./) }]);
  });
  test("networks it has a container on", () => {
    expect(networksOf(recorded("20.10", "networks")).items.map(({ record }) => record.name)).toContain("ov");
  });
});

describe("oddities", () => {
  test("the real address counts, not the placeholder", () => {
    const body = { Id: "c".repeat(64), Name: "/x", State: { Status: "running" }, Config: {}, NetworkSettings: { SandboxKey: "/run/docker/netns/be23c76534bc", Networks: {
      n: { NetworkID: "n1", EndpointID: "e1", IPAddress: "10.1.2.10", IPAMConfig: { IPv4Address: "10.1.1.11" }, Aliases: ["139d99bd176c", "h-1"] },
      off: { NetworkID: "n2", EndpointID: "", IPAddress: "" }, nothing: null,
    } } };
    expect(containerOf(body)).toMatchObject({ health: "none", sandbox: "be23c76534bc", attachments: [{ network: "n1", address: "10.1.2.10", aliases: ["x", "139d99bd176c", "h-1", "cccccccccccc"] }] });
  });
  test("a paused container runs, a restarting one does not", () => {
    const body = (Status: string) => ({ Id: "c", Name: "/x", State: { Status }, Config: {} });
    expect(["paused", "restarting", "exited"].map((status) => containerOf(body(status)).running)).toEqual([true, false, false]);
  });
  test("tasks that ended are history, not facts", () => {
    const task = (State: string, DesiredState: string) => ({ ID: State, Status: { State }, DesiredState });
    expect(tasksOf([task("failed", "shutdown"), task("running", "shutdown"), task("complete", "shutdown")]).items.map(({ record }) => record.state)).toEqual(["running"]);
  });
  test("one odd body is named and hides no other", () => {
    expect(servicesOf([{ ID: "a", Spec: { Name: "a" } }, { ID: "b", Spec: {} }, 7])).toMatchObject({
      items: [{ id: "a", mode: "vip", networks: [], index: 0 }], garbage: [{ key: "b", reason: expect.stringContaining("Spec.Name") }, { key: "#2" }],
    });
  });
  test.each(["active", "pending", "inactive", "locked", "error"])("role while swarm is %s", (LocalNodeState) => {
    const role = { active: "worker", inactive: "none" }[LocalNodeState] ?? "unknown";
    expect(infoOf({ Swarm: { LocalNodeState, ControlAvailable: false, NodeID: "" } })).toEqual({ role });
  });
  test("nodes", () => expect(nodesOf([
    { ID: "a", Version: { Index: 9 }, Description: { Hostname: "n1" }, Status: { State: "ready" }, ManagerStatus: { Leader: true } },
    { ID: "b", Status: { State: "down" }, ManagerStatus: {} }, { ID: "c" }, {},
  ])).toEqual({
    items: [
      { leader: true, record: { id: "a", hostname: "n1", state: "ready", index: 9 } },
      { leader: false, record: { id: "b", hostname: "", state: "down", index: 0 } },
      { leader: false, record: { id: "c", hostname: "", state: "unknown", index: 0 } },
    ],
    garbage: [{ key: "#3", reason: expect.any(String) }],
  }));
  test("a body of another kind throws, it is not an empty list", () => {
    expect(() => servicesOf({ message: "no" })).toThrow();
    expect(() => containerOf([])).toThrow();
  });
});
