/** What `vip list` tells: each server as the kernel has it, by its container, and what a run would change. */
import { describe, expect, it } from "@jest/globals";
import type { EndpointId, ServiceId, TaskId } from "../../src/core/ids.ts";
import { balancerWith } from "../../src/reconcilers/balancer.ts";
import { vipReport } from "../../src/reconcilers/vip-report.ts";
import type { BalancerState, SeenEntry } from "../../src/sinks/balancer.ts";
import { addressOf, container, ip, lease, network, networkId, pool, service, snapshotOf } from "./builders.ts";

const VIP = ip("10.1.0.9");
const STRAY = ip("10.1.0.77");
const serves = (host: number) => container(host, {
  service: "svc-1" as ServiceId, task: `task-${host}` as TaskId,
  networks: { [networkId(1)]: { endpoint: `ep-1-${host}` as EndpointId, address: addressOf(1, host), aliases: [] } },
});
const snapshot = snapshotOf({
  networks: { items: [network(1)] }, pools: { items: [pool(1)] }, subnets: { items: [lease(1)] }, services: { items: [service(1)] }, containers: { items: [serves(2), serves(10)] },
});
const balancer = balancerWith({ engine: "nftables", drainMs: 1_000 });
function report(observed: BalancerState, flows: ReadonlyMap<string, number> = new Map()) {
  const desired = balancer.desire(snapshot);
  return vipReport({ snapshot, desired: desired.value.entries, observed, plan: balancer.plan(desired, observed), flows });
}
const state = (...entries: readonly SeenEntry[]): BalancerState =>
  new Map(entries.map((entry) => [entry.kind === "service" ? entry.vip : `${entry.vip}>${entry.address}`, entry]));
const server = (host: number, weight: 0 | 1, drainingMs = 0): SeenEntry => ({ kind: "server", vip: VIP, address: addressOf(1, host), weight, drainingMs });
const head = (vip: typeof VIP): SeenEntry => ({ kind: "service", vip, scheduler: "rr", affinitySeconds: 0 });

describe("the list of VIPs", () => {
  it("names service, network, containers and connections, and no difference where there is none", () => {
    const flows = new Map([[`${VIP}>${addressOf(1, 10)}`, 3]]);
    expect(report(state(head(VIP), server(10, 1), server(2, 1)), flows)).toEqual([expect.objectContaining({
      service: "svc1", network: "web1", vip: VIP, differences: [],
      backends: [expect.objectContaining({ address: addressOf(1, 2), state: "ready", connections: 0 }), expect.objectContaining({ address: addressOf(1, 10), state: "ready", connections: 3 })],
    })]);
  });

  it("shows what is missing, what drains although nobody wants it, and a VIP that no service has", () => {
    const [gone, row] = report(state(head(VIP), server(2, 1), server(99, 0, 500), head(STRAY)));
    expect(gone).toMatchObject({ service: "", vip: STRAY, backends: [], differences: [`delete ${STRAY} (not desired)`] });
    expect(row?.backends.map(({ address, state: word }) => `${address} ${word}`)).toEqual([
      `${addressOf(1, 2)} ready`, `${addressOf(1, 10)} missing`, `${addressOf(1, 99)} draining`,
    ]);
    expect(row?.backends[2]).toMatchObject({ drainingMs: 500, container: "", node: "" });
    expect(row?.differences).toEqual([`create ${VIP}>${addressOf(1, 10)} (missing)`, `delete ${VIP}>${addressOf(1, 99)} (not desired)`]);
  });
});
