/**
 * The facilities of this host, the engine on them, and what makes it look again.
 *
 * In:  snapshots.  Out: the engine; the parts that need an orderly end.
 */
import { Observable } from "rxjs";
import type { Engine } from "../core/engine.ts";
import type { BalancerChoice } from "../core/state-answer.ts";
import type { DebugOptions } from "../plugin/debug.ts";
import { dnsSink } from "../sinks/dns.ts";
import { dnsServing, type DnsServing } from "../sinks/dns/serve.ts";
import { etcdFiles } from "../sinks/etcd-files.ts";
import type { NodeLease } from "../sinks/etcd.ts";
import { runCommand, spawnLines, startProcess } from "../sinks/exec.ts";
import { firewall } from "../sinks/firewall.ts";
import { flanneldSink, type FlanneldSink } from "../sinks/flanneld.ts";
import { acceptChain, legacyTablesIn } from "../sinks/iptables.ts";
import { endpointLinks, gatewayLinks } from "../sinks/links.ts";
import { watchNamespaces } from "../sinks/namespaces.ts";
import { nftTable } from "../sinks/nft-table.ts";
import { residentIp } from "../sinks/resident-ip.ts";
import { sysctlsBelow } from "../sinks/sysctls.ts";
import { kernelHints } from "../sources/kernel.ts";
import { balancing, chosen, vipsOf, type Choice } from "./balancer.ts";
import { PATHS, type Base } from "./base.ts";
import type { Facts } from "./facts.ts";
import { operate } from "./operator.ts";
import { vipsOfSwarm } from "./vip-swarm.ts";

/** Who looks again when the kernel tells of a link for this purpose, or of a facility alone. A container's start makes nobody else look. */
const CONCERNED = {
  gateway: ["gateways"], endpoint: ["endpoints"], tunnel: ["flannel"],
  links: ["gateways", "endpoints", "flannel"], routes: ["gateways", "endpoints", "flannel"], neighbours: ["flannel"], nft: ["firewall"], vips: ["vips", "balancer"],
} as const;

export interface Acts {
  readonly engine: Engine;
  readonly flanneld: FlanneldSink;
  readonly lease: NodeLease;
  readonly names: DnsServing;
  readonly balancer: BalancerChoice;
  readonly vips: DebugOptions["vips"];
  readonly vipsOfSwarm: DebugOptions["vipsOfSwarm"];
  closeLooks(): void;
}

export function acts(base: Base, known: Facts, choice: Choice): Acts {
  const { config, keys, emit } = base;
  const poke = (name: string): void => engine.poke(name);
  const sysctls = sysctlsBelow("/proc/sys");
  const links = residentIp(startProcess, runCommand, () => performance.now());
  const tunnels = residentIp(startProcess, runCommand, () => performance.now(), { details: true });
  const flanneld = flanneldSink({
    exec: tunnels.exec, startProcess, emit, file: PATHS.program, directory: `${PATHS.state}/subnets`, etcd: etcdFiles(config.etcd, PATHS.tls),
    etcdPrefix: keys.flannelPrefix, changed: () => poke("flannel"),
  });
  const names = dnsServing({ emit, cache: config.dnsCache, lost: () => poke("dns") });
  const balancer = balancing(base, choice, sysctls);
  const { engine, lease } = operate(base, known, {
    firewall: firewall(nftTable(runCommand), acceptChain(runCommand, legacyTablesIn("/proc/net/ip_tables_names"))),
    gateways: gatewayLinks(links.exec, sysctls), endpoints: endpointLinks(links.exec, sysctls), flanneld,
    dns: dnsSink({ serving: names, exec: runCommand, directory: PATHS.namespaces, emit, now: Date.now }),
    balancer,
  });
  const hints$ = kernelHints({ spawn: (file, args) => new Observable((out) => spawnLines(file, args, out)) });
  hints$.subscribe(({ facility, purpose }) => {
    if (facility === "vips") balancer.table.changed();
    for (const name of CONCERNED[purpose ?? facility]) poke(name);
  });
  const unwatch = watchNamespaces(PATHS.namespaces, () => poke("dns"));
  const vips = vipsOf(base, known, choice, balancer);
  return { engine, flanneld, lease, names, balancer: chosen(choice), vips, vipsOfSwarm: vipsOfSwarm(base, known, vips), closeLooks: () => { links.close(); tunnels.close(); unwatch(); } };
}
