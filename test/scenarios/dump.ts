/**
 * Everything that the operators keep, as sorted lines of text: what a person would look at on each node, and etcd.
 *
 * Rule: nothing that depends on when something happened: times are dots; what rests or is only kept for the next start is left out.
 */
import { gatewayKey } from "../../src/core/gateway.ts";
import { stableJson } from "../../src/core/records.ts";
import type { Cluster } from "./cluster.ts";
import { keys, type Node } from "./node.ts";

const signal = new AbortController().signal;

async function links({ host }: Node): Promise<readonly string[]> {
  const gateways = [...(await host.gateways.observe(signal)).values()].map((entry) =>
    `gateway ${gatewayKey(entry)}${entry.kind === "service-range" ? ` from ${entry.source}` : ""}${entry.kind === "gateway-link" && !entry.up ? " down" : ""}`);
  const ends = [...await host.endpoints.observe(signal)].map(([link, { alias, mtuBytes, routes, peer, faults }]) =>
    `link ${link} ${alias} mtu ${mtuBytes} ${routes.map(({ address, source }) => `${address} from ${source}`).join(" ")}${peer === undefined ? "" : " not joined"} ${faults.join(", ")}`.trim());
  return [...gateways, ...ends];
}

async function tunnels({ flanneld }: Node): Promise<readonly string[]> {
  return [...await flanneld.observe()].flatMap(([id, { running, device, peers }]) => [
    `flanneld ${id} ${running === undefined ? "ended" : `${running.spec.subnet} ${running.ready ? "ready" : "waiting"}`} ${device?.mac} mtu ${device?.mtuBytes}`,
    ...peers.map(({ subnet, publicIp, mac }) => `peer ${id} ${subnet} ${publicIp} ${mac}`),
  ]);
}

async function guards({ nft, iptables }: Node): Promise<readonly string[]> {
  const { networks, faults } = await nft.table.observe(signal);
  const chain = iptables.save("nft").split("\n").filter((line) => line.includes("FNP"));
  return [...networks.map(({ vni, cidr }) => `isolated ${vni} ${cidr}`), ...faults, ...chain.map((line) => `iptables ${line}`)];
}

function balancing({ balancing: { entries, table } }: Node): readonly string[] {
  return [...[...entries.keys()].map((key) => `vips ${key}`), ...[...table].map(([key, entry]) => `balancer ${key}${entry.kind === "server" ? ` weight ${entry.weight}` : ""}`)];
}

function names({ dns: { table, served } }: Node): readonly string[] {
  const zones = [...table?.zones ?? []].flatMap(([, { name: zone, names: all }]) => [...all].map(([name, { addresses }]) => `name ${name}.${zone} ${addresses.join(" ")}`));
  const views = [...served.keys()].map((sandbox) => `served ${sandbox} ${(table?.sandboxes.get(sandbox)?.zones ?? []).join(" ")}`);
  return [...zones, ...views];
}

/** Who may have written it: a managers' race has no winner that matters. */
function record(value: string): string {
  try {
    const { owner: _owner, index: _index, ...rest } = JSON.parse(value) as Record<string, unknown>;
    return stableJson(rest).replace(/("\w+AtMs"):\d+/g, "$1:…");
  } catch { return value; }
}

export async function dump(cluster: Cluster): Promise<readonly string[]> {
  const lines: string[] = [];
  for (const node of cluster.nodes) {
    const parts = [await links(node), await tunnels(node), await guards(node), balancing(node), names(node)];
    lines.push(...parts.flatMap((part) => [...part].sort()).map((line) => `${node.name} ${line}`));
  }
  const told = [...cluster.etcd.items.values()].filter(({ key }) => !key.startsWith(keys.serviceRanges));
  return [...lines, ...told.map(({ key, value, lease }) => `etcd ${key.slice(keys.prefix.length)}${lease === undefined ? "" : " leased"} ${record(value)}`).sort()];
}

/** What went and what came, in the order of the dumps. */
export function difference(before: readonly string[], now: readonly string[]): readonly string[] {
  const [had, has] = [new Set(before), new Set(now)];
  return [...before.filter((line) => !has.has(line)).map((line) => `- ${line}`), ...now.filter((line) => !had.has(line)).map((line) => `+ ${line}`)];
}
