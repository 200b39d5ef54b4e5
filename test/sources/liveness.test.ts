/** Liveness on streams: events said once, only the doubtful probed, and what a probe proves on real sockets. */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { createServer, type AddressInfo } from "node:net";
import { BehaviorSubject } from "rxjs";
import type { Ipv4 } from "../../src/core/ids.ts";
import type { NodeRecord, Views } from "../../src/core/model.ts";
import { unknownView, type Coverage, type View } from "../../src/core/precedence.ts";
import { liveness, type Liveness } from "../../src/sources/liveness.ts";
import { probe, type ProbeResult } from "../../src/sources/probe.ts";
import { recorder } from "../core/world.ts";
import { container, NODE, OTHER, publicIp } from "../plan/builders.ts";

const EMPTY: Views = {
  networks: unknownView(), services: unknownView(), tasks: unknownView(), containers: unknownView(), endpoints: unknownView(),
  pools: unknownView(), subnets: unknownView(), members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
};
const record: NodeRecord = { id: OTHER, hostname: "b", publicIp: publicIp(2), role: "worker" };
const view = <T extends { readonly id: string }>(items: readonly T[], coverage: Coverage = "complete"): View<T> =>
  ({ coverage, items: new Map(items.map((item) => [item.id, item])) });
const told: Views = { ...EMPTY, nodes: view([record]), containers: view([container(1, { node: OTHER })]) };
const silent: Views = { ...EMPTY, nodes: view<NodeRecord>([]), containers: view([]) };

describe("on streams", () => {
  let etcd$: BehaviorSubject<Views>;
  let docker$: BehaviorSubject<Views>;
  let answer: ProbeResult;
  let asked: Ipv4[];
  let seen: Views[];
  let said: ReturnType<typeof recorder>;
  let alive: Liveness;
  beforeEach(() => {
    jest.useFakeTimers();
    etcd$ = new BehaviorSubject<Views>(told);
    docker$ = new BehaviorSubject<Views>({ ...EMPTY, node: { coverage: "complete", items: new Map([["self", { id: NODE, hostname: "a", role: "manager", leader: true, dockerSeen: true }]]) } });
    [answer, asked, seen, said] = ["answered", [], [], recorder()];
    alive = liveness({ etcd$, docker$, emit: said.emit, probeMs: 100, probe: (address) => { asked.push(address); return Promise.resolve(answer); } });
    alive.views$.subscribe((views) => seen.push(views));
  });
  afterEach(() => { jest.useRealTimers(); });
  const boxes = (): number => seen.at(-1)?.containers.items.size ?? -1;
  const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);
  const events = (): string[] => said.said.map(({ event }) => event);

  it("probes nobody who speaks", async () => {
    await pass(1_000);
    expect([asked, events(), boxes()]).toEqual([[], [], 1]);
  });

  it("a slow node answers its probes and keeps its place; its return is told", async () => {
    etcd$.next(silent);
    await pass(10_000);
    expect([boxes(), asked.length > 50, new Set(asked)]).toEqual([1, true, new Set([publicIp(2)])]);
    etcd$.next(told);
    expect(events()).toEqual(["node.doubtful", "node.returned"]);
  });

  it("a dead one is gone after three probes, told once with its sign, and probed no more", async () => {
    answer = "silent";
    etcd$.next(silent);
    await pass(250);
    expect(boxes()).toBe(1);
    await pass(100);
    expect(boxes()).toBe(0);
    await pass(1_000);
    expect(asked).toHaveLength(3);
    expect(said.named("node.dead")).toEqual([{ event: "node.dead", fields: { node: OTHER, hostname: "b", sign: "it failed 3 probes", containers: 1 } }]);
  });

  it("an answer between failures counts from the start; what could not be asked counts for nothing", async () => {
    etcd$.next(silent);
    for (const next of ["silent", "silent", "answered", "silent", "unasked", "unasked", "silent"] as const) {
      answer = next;
      await pass(100);
      expect(boxes()).toBe(1);
    }
    answer = "silent";
    await pass(100);
    expect(boxes()).toBe(0);
  });

  it("who is cut off from etcd judges nobody", async () => {
    answer = "silent";
    etcd$.next({ ...silent, nodes: unknownView(told.nodes.items), containers: unknownView(told.containers.items) });
    await pass(5_000);
    expect([asked, boxes(), events()]).toEqual([[], 1, []]);
  });
});

describe("a probe", () => {
  const listening = async (): Promise<{ readonly port: number; close(): void }> => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", resolve); });
    return { port: (server.address() as AddressInfo).port, close: () => server.close() };
  };

  it("is answered by an open port and by a closed one", async () => {
    const { port, close } = await listening();
    expect(await probe("127.0.0.1" as Ipv4, port)).toBe("answered");
    close();
    expect(await probe("127.0.0.1" as Ipv4, port)).toBe("answered");
  });

  it("proves nothing when it cannot be sent", async () => {
    expect(await probe("255.255.255.255" as Ipv4, 7946, 500)).toBe("unasked");
  });
});
