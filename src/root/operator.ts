/**
 * Reconcilers joined with what they act on, and the engine that repeats them.
 *
 * In:  snapshots, the facilities of this host.  Out: the engine, the node's lease.
 * Rule: knows no tool and no path: test/scenarios runs it on facilities in memory.
 */
import { createEngine, type Engine } from "../core/engine.ts";
import { flannelArguments } from "../core/flannel-options.ts";
import type { Snapshot } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { bind, type AnyBinding, type Pace, type Sink } from "../core/reconciler.ts";
import type { BalancerEngine } from "../core/service-labels.ts";
import { balancerWith, dnsWith, endpoints, firewall, flannelWith, gateways, leasesWith, mirrorWith, publishWith, vips } from "../reconcilers/index.ts";
import type { BalancerChange, BalancerState } from "../sinks/balancer.ts";
import type { DnsChange, DnsState } from "../sinks/dns.ts";
import { etcdSink, NodeLease } from "../sinks/etcd.ts";
import type { FirewallChange, FirewallState } from "../sinks/firewall.ts";
import type { FlanneldChange, FlanneldSink, FlanneldTable } from "../sinks/flanneld.ts";
import { leasesSink } from "../sinks/leases.ts";
import type { EndpointChange, EndpointState, GatewayChange, GatewayState } from "../sinks/links.ts";
import type { VipChange, VipState } from "../sinks/vip-table.ts";
import type { Base } from "./base.ts";
import type { Facts } from "./facts.ts";

const NODE_LEASE_SECONDS = 10;
const PACE: Pace = { minIntervalMs: 200, resyncMs: 60_000, backoffMs: [100, 60_000] };
/** etcd's return is no news for whoever wants what he wanted before: he asks again in time for the goal of 5 s (a read or two each). */
const ASKING: Pace = { ...PACE, backoffMs: [100, 5_000] };
/** What has no events, or loses them, is looked at this often (design D23): iptables-legacy, and settings below /proc/sys. */
const WATCHFUL: Pace = { ...PACE, resyncMs: 4_000 };
/** A container that just started waits for its names. */
const PROMPT: Pace = { ...WATCHFUL, minIntervalMs: 20 };
/** What a first listing may take; then what is known has to do. */
const PATIENCE_MS = 20_000;

export interface BalancerFacility {
  readonly engine: BalancerEngine;
  /** What is sent to a service range is refused, and nothing balanced. */
  readonly off?: boolean;
  readonly vips: Sink<VipState, VipChange>;
  readonly services: Sink<BalancerState, BalancerChange>;
}

/** One sink per facility of the host; etcd's are made here. */
export interface Facilities {
  readonly firewall: Sink<FirewallState, FirewallChange>;
  readonly gateways: Sink<GatewayState, GatewayChange>;
  readonly flanneld: Sink<FlanneldTable, FlanneldChange> & Pick<FlanneldSink, "carried">;
  readonly endpoints: Sink<EndpointState, EndpointChange>;
  readonly dns: Sink<DnsState, DnsChange>;
  /** Absent: nobody answers for VIPs here. */
  readonly balancer?: BalancerFacility;
}

export interface Operator { readonly engine: Engine; readonly lease: NodeLease }

export function operate(
  { config, keys, emit }: Pick<Base, "config" | "keys" | "emit">, { client, snapshot$ }: Pick<Facts, "client" | "snapshot$">, facilities: Facilities,
): Operator {
  const poke = (name: string): void => engine.poke(name);
  const lease = new NodeLease({ client, ttlSeconds: NODE_LEASE_SECONDS, onLost: () => poke("publish") });
  const leaseEntries = etcdSink({ client, lease, prefixes: () => [keys.pools, keys.networks] });
  const published = etcdSink({ client, lease, prefixes: () => [keys.docker, keys.schema, ...ownNode(snapshot$.value, keys)] });
  const mirrored = etcdSink({ client, lease, prefixes: () => (snapshot$.value.node.leader ? [keys.serviceRanges] : []) });
  const dns = dnsWith({
    mode: config.dnsCompatible ? "compatible" : "complete", ttlSeconds: config.dnsTtlSeconds, texts: config.dnsTexts, patientUntilMs: Date.now() + PATIENCE_MS,
  });
  const bindings: AnyBinding[] = [
    bind({ reconciler: leasesWith(keys), sink: leasesSink(leaseEntries, facilities.flanneld), pace: ASKING }),
    bind({ reconciler: firewall, sink: facilities.firewall, pace: WATCHFUL }),
    bind({ reconciler: gateways, sink: facilities.gateways, pace: WATCHFUL }),
    bind({ reconciler: flannelWith(flannelArguments(config.flannelFlags)), sink: facilities.flanneld, pace: PACE }),
    bind({ reconciler: endpoints, sink: facilities.endpoints, pace: WATCHFUL }),
    ...balancing(facilities.balancer, config.drainMs),
    bind({ reconciler: dns, sink: facilities.dns, pace: PROMPT }),
    bind({ reconciler: publishWith(keys), sink: published, pace: ASKING }),
    bind({ reconciler: mirrorWith(keys), sink: mirrored, pace: { ...ASKING, minIntervalMs: 1_000 } }),
  ];
  const engine = createEngine({ bindings, snapshot$, emit });
  engine.reports$.subscribe((report) => { if (report.reconciler === "flannel" && report.result === "converged") poke("leases"); });
  return { engine, lease };
}

function balancing(facility: BalancerFacility | undefined, drainMs: number): readonly AnyBinding[] {
  if (facility === undefined) return [];
  const { engine, off = false } = facility;
  return [
    bind({ reconciler: vips, sink: facility.vips, pace: WATCHFUL }),
    bind({ reconciler: balancerWith({ engine, off, drainMs }), sink: facility.services, pace: { ...WATCHFUL, minIntervalMs: 50 } }),
  ];
}

const ownNode = ({ node }: Snapshot, keys: Keys): readonly string[] => (node.id === undefined ? [] : [keys.node(node.id)]);
