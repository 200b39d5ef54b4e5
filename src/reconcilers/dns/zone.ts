/**
 * The names of one network: what its containers may ask for, and who answers to it.
 *
 * In:  the network, its containers and services, who serves.  Out: `DnsZone`, and names that several services claim.
 * Rule: pure; lists come out sorted. A container answers while it runs; a service's tasks while they take new connections. A
 *       service is known as long as it exists: without tasks its name has no addresses, and is nobody else's.
 */
import type { Ipv4, NetworkId } from "../../core/ids.ts";
import type { Attachment, Container, Network, Service } from "../../core/model.ts";
import { parseNetworkOptions } from "../../core/network-options.ts";
import { backendsOf, type Backend, type Serving } from "../../core/serving.ts";
import type { DnsName, DnsService, DnsZone } from "../../sinks/dns/vocabulary.ts";

export interface ZoneSettings { readonly ttlSeconds: number; readonly texts: boolean }

export interface Holder { readonly container: Container; readonly attachment: Attachment }

export interface ZoneParts {
  readonly network: Network;
  /** Running containers on it, of all nodes. */
  readonly holders: readonly Holder[];
  /** Services on it. */
  readonly services: readonly Service[];
  readonly serving: Serving;
  readonly settings: ZoneSettings;
}

export interface Zone {
  readonly zone: DnsZone;
  /** Name → services that claim it, where they are several. */
  readonly shared: ReadonlyMap<string, readonly string[]>;
}

/** Service label that gives a port a name of its own: `flannel-np.srv.http=8080` or `=5353/udp`. */
const PORT_LABEL = "flannel-np.srv.";
const SHORT_ID = 12;

export function zoneOf(parts: ZoneParts): Zone {
  const { network, holders, services } = parts;
  const names = new Names();
  const pointers = new Map<Ipv4, string>();
  const ports = new Map<string, DnsService[]>();
  const claims = new Map<string, Set<string>>();
  for (const { container, attachment } of holders) {
    for (const name of namesOf(container, attachment)) names.add(name, [attachment.address], textsOf(parts, container));
    pointers.set(attachment.address, `${container.name}.${network.name}`.toLowerCase());
  }
  for (const service of services) {
    addService(parts, service, names, pointers);
    for (const [name, served] of portsOf(parts, service)) ports.set(name, [...ports.get(name) ?? [], ...served]);
    for (const name of serviceNames(service, network.id)) claims.set(name, (claims.get(name) ?? new Set()).add(service.name));
  }
  const zone = { network: network.id, name: network.name.toLowerCase(), ttlSeconds: ttlOf(parts), names: names.all(), pointers, services: ports };
  return { zone, shared: new Map([...claims].filter(([, claimants]) => claimants.size > 1).map(([name, claimants]) => [name, [...claimants].sort()])) };
}

/** Name, short id, hostname and aliases: Docker lists most of them; engine 20.10 lists a hostname only as an alias. */
const namesOf = ({ id, name, hostname }: Container, { aliases }: Attachment): readonly string[] =>
  [name, id.slice(0, SHORT_ID), hostname, ...aliases].filter((each) => each !== "").map((each) => each.toLowerCase());

function serviceNames({ name, networks }: Service, network: NetworkId): readonly string[] {
  const aliases = networks.filter((each) => each.network === network).flatMap((each) => each.aliases);
  return [...new Set([name, ...aliases].map((each) => each.toLowerCase()))];
}

function addService({ network, serving, settings }: ZoneParts, service: Service, names: Names, pointers: Map<Ipv4, string>): void {
  const ready = readyOf(serving, service, network.id);
  const tasks = ready.map(({ address }) => address);
  const vip = vipOf(service, network.id);
  const said = settings.texts ? [`service=${service.name}`] : [];
  const each = settings.texts ? ready.map(({ task, node, address }) => `service=${service.name} task=${task ?? ""} node=${node} address=${address}`) : [];
  for (const name of serviceNames(service, network.id)) {
    if (service.mode === "vip") names.add(name, vip === undefined ? [] : [vip], said);
    else names.add(name, tasks, [...said, ...each]);
    names.add(`tasks.${name}`, tasks, each);
  }
  if (vip !== undefined) pointers.set(vip, `${service.name}.${network.name}`.toLowerCase());
}

const readyOf = (serving: Serving, { id }: Service, network: NetworkId): readonly Backend[] =>
  backendsOf(serving, id, network).filter(({ state }) => state === "ready");

const vipOf = ({ mode, vips }: Service, network: NetworkId): Ipv4 | undefined =>
  (mode === "vip" ? vips.find((vip) => vip.network === network)?.address : undefined);

/** Every published or labelled port under its number, and under its name where it has one. */
function* portsOf({ network, serving, holders }: ZoneParts, service: Service): Generator<readonly [string, readonly DnsService[]]> {
  const vip = vipOf(service, network.id);
  const nameOf = new Map(holders.map(({ container }) => [container.id, container.name.toLowerCase()]));
  const targets = service.mode === "vip"
    ? [{ name: service.name.toLowerCase(), addresses: vip === undefined ? [] : [vip] }]
    : readyOf(serving, service, network.id).map(({ container, address }) => ({ name: nameOf.get(container) ?? container.slice(0, SHORT_ID), addresses: [address] }));
  const own = new Map<string, { readonly port: number; readonly label: string; readonly protocol: string }>();
  for (const { port, protocol, name } of [...service.ports ?? [], ...labelled(service)]) {
    for (const label of name === undefined ? [String(port)] : [String(port), name.toLowerCase()]) own.set(`_${label}._${protocol}`, { port, label, protocol });
  }
  for (const [label, { port }] of own) {
    for (const name of serviceNames(service, network.id)) {
      yield [`${label}.${name}`, targets.map((target) => ({ port, target: `${target.name}.${network.name}`.toLowerCase(), addresses: target.addresses }))];
    }
  }
}

function labelled({ labels }: Service): readonly { readonly port: number; readonly protocol: string; readonly name: string }[] {
  return Object.entries(labels).sort().flatMap(([label, value]) => {
    const found = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(value.trim());
    const port = Number(found?.[1]);
    if (!label.startsWith(PORT_LABEL) || found === null || port < 1 || port > 65_535) return [];
    return [{ port, protocol: found[2] ?? "tcp", name: label.slice(PORT_LABEL.length) }];
  });
}

function textsOf({ settings, services }: ZoneParts, { service, task, node, name }: Container): readonly string[] {
  if (!settings.texts) return [];
  const owner = services.find(({ id }) => id === service);
  return [[`container=${name}`, ...(owner === undefined ? [] : [`service=${owner.name}`]), ...(task === undefined ? [] : [`task=${task}`]), `node=${node}`].join(" ")];
}

/** A bad value was refused when the network was made; one that slipped by must not take the names away. */
function ttlOf({ network, settings }: ZoneParts): number {
  try { return parseNetworkOptions(network.options).dnsTtlSeconds ?? settings.ttlSeconds; } catch { return settings.ttlSeconds; }
}

/** Gathers; a name may come from several containers and services. */
class Names {
  readonly #names = new Map<string, { readonly addresses: Set<Ipv4>; readonly texts: Set<string> }>();

  add(name: string, addresses: readonly Ipv4[], texts: readonly string[]): void {
    const known = this.#names.get(name) ?? { addresses: new Set<Ipv4>(), texts: new Set<string>() };
    for (const address of addresses) known.addresses.add(address);
    for (const text of texts) known.texts.add(text);
    this.#names.set(name, known);
  }

  all(): ReadonlyMap<string, DnsName> {
    return new Map([...this.#names].map(([name, { addresses, texts }]) => [name, { addresses: [...addresses].sort(), texts: [...texts].sort() }]));
  }
}
