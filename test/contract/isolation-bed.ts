/**
 * A host as Docker and our sinks make it, with everything around it that may want in: all in network namespaces.
 *
 *   host: red 10.1/16 and blue 10.2/16 (routed veths), docker0, docker_gwbridge, a LAN, FORWARD policy DROP
 *   node2: another node of both networks, behind links that have the names of flannel's devices
 */
import type { Cidr, EndpointId, Ipv4, Vni } from "../../src/core/ids.ts";
import { vethHost, vethPeer, vethPrefix, vxlanLink } from "../../src/core/names.ts";
import { firewall, type FirewallChange } from "../../src/sinks/firewall.ts";
import { acceptChain } from "../../src/sinks/iptables.ts";
import { gatewayKey } from "../../src/core/gateway.ts";
import { endpointLinks, gatewayLinks, type EndpointLink, type GatewayEntry } from "../../src/sinks/links.ts";
import { nftTable, type IsolatedNetwork } from "../../src/sinks/nft-table.ts";
import { Namespace } from "./namespace.ts";

const signal = new AbortController().signal;
const network = (vni: number, cidr: string): IsolatedNetwork =>
  ({ vni: vni as Vni, cidr: cidr as Cidr, vethPrefix: vethPrefix(vni as Vni), vxlan: vxlanLink(vni as Vni) });
const RED = network(101, "10.1.0.0/16");
const BLUE = network(102, "10.2.0.0/16");
/** Neighbours in the table: a lookup among many has to find the right one. */
const OTHERS = Array.from({ length: 60 }, (_, n) => network(6514 + 37 * n, `10.${100 + n}.0.0/16`));

const endpointId = (name: string): EndpointId => name.padEnd(64, "0") as EndpointId;

export type Flavour = "nft" | "legacy";

export class Bed {
  readonly host: Namespace;
  readonly places = new Map<string, Namespace>();
  #guests = 0;

  static async make(flavour: Flavour): Promise<Bed> {
    const bed = new Bed(await Namespace.make());
    await bed.#dockerSide(flavour);
    await bed.#gateways();
    for (const [name, net, last] of [["red1", RED, 11], ["red2", RED, 12], ["red3", RED, 13], ["blue1", BLUE, 11], ["blue2", BLUE, 12]] as const) {
      await bed.#container(name, net, last);
    }
    // red3 tries the forbidden way through its own link, the others through docker_gwbridge.
    await bed.at("red3").ip("route add 10.2.0.0/16 via 10.1.1.1");
    // red1 forges: the address is red3's.
    await bed.at("red1").ip("address add 10.1.1.13/32 dev lo");
    await bed.#otherNode();
    await bed.protect();
    return bed;
  }

  constructor(host: Namespace) { this.host = host; }

  at(name: string): Namespace {
    const place = name === "host" ? this.host : this.places.get(name);
    if (place === undefined) throw new Error(`no place ${name}`);
    return place;
  }

  /** Isolation and acceptance, as the firewall reconciler asks for them. */
  async protect(): Promise<void> {
    const table = { networks: [RED, BLUE, ...OTHERS].sort((a, b) => a.vni - b.vni) };
    const changes: FirewallChange[] = [
      { op: "create", key: "chain", why: "test", target: "chain" }, { op: "create", key: "table", why: "test", target: "table", table },
    ];
    const sink = firewall(nftTable(this.host.exec), acceptChain(this.host.exec, () => this.host.must("cat", ["/proc/net/ip_tables_names"])));
    await sink.apply(changes, signal);
  }

  /** The host end of a red container's pair. */
  linkOf(name: string): string { return vethHost(RED.vni, endpointId(name)); }

  /** True when an answer came in time; `from` is an address the sender uses that is not its first. */
  async reaches(sender: string, target: string, waitSeconds: number, from?: string): Promise<boolean> {
    const source = from === undefined ? [] : ["-I", from];
    const { exitCode } = await this.at(sender).tell("ping", ["-n", "-c", "2", "-i", "0.2", "-W", String(waitSeconds), ...source, target]);
    return exitCode === 0;
  }

  /** Echo requests that arrived there so far: what is asked one way may leak although no answer finds back. */
  async requestsSeen(places: readonly string[]): Promise<number> {
    const counts = await Promise.all(places.map(async (name) => {
      const rows = (await this.at(name).must("cat", ["/proc/net/snmp"])).split("\n").filter((line) => line.startsWith("Icmp: "));
      const [names, values] = rows.map((row) => row.split(" "));
      return Number(values?.[names?.indexOf("InEchos") ?? -1]);
    }));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async close(): Promise<void> {
    await Promise.all([this.host, ...this.places.values()].map((place) => place.close()));
  }

  async #place(name: string): Promise<Namespace> {
    const place = await Namespace.make();
    this.places.set(name, place);
    return place;
  }

  async #dockerSide(flavour: Flavour): Promise<void> {
    await this.host.sysctls.write([["net/ipv4/ip_forward", "1"]]);
    await this.host.ip(
      "link add docker0 type bridge", "address add 172.17.0.1/16 dev docker0", "link set docker0 up",
      "link add docker_gwbridge type bridge", "address add 172.18.0.1/16 dev docker_gwbridge", "link set docker_gwbridge up",
    );
    await this.host.must(`iptables-${flavour}-restore`, ["--noflush"], DOCKER_FILTER);
    await this.host.must(`iptables-${flavour}-restore`, ["--noflush"], DOCKER_NAT);
    await this.#onBridge("docker1", "docker0", "172.17.0.2/16", "172.17.0.1");
    await this.#onBridge("gwonly", "docker_gwbridge", "172.18.0.99/16", "172.18.0.1");
    const lan = await this.#place("lan");
    await this.host.ip(`link add eth0 type veth peer name eth0 netns ${lan.name}`, "address add 192.168.50.1/24 dev eth0", "link set eth0 up");
    await lan.ip("address add 192.168.50.2/24 dev eth0", "link set eth0 up", "route add 10.0.0.0/8 via 192.168.50.1");
  }

  async #onBridge(name: string, bridge: string, address: string, gateway: string): Promise<void> {
    await this.#attach(await this.#place(name), "eth0", bridge, address);
    await this.at(name).ip(`route add default via ${gateway}`);
  }

  async #attach(place: Namespace, link: string, bridge: string, address: string): Promise<void> {
    this.#guests += 1;
    await this.host.ip(`link add vg${this.#guests} type veth peer name ${link} netns ${place.name}`, `link set vg${this.#guests} master ${bridge} up`);
    await place.ip(`address add ${address} dev ${link}`, `link set ${link} up`);
  }

  async #gateways(): Promise<void> {
    const entries: GatewayEntry[] = [{ kind: "gateway-link", up: true }, { kind: "forwarding" }];
    for (const n of [1, 2]) {
      const source = `10.${n}.1.1` as Ipv4;
      entries.push(
        { kind: "address", address: source }, { kind: "service-range", cidr: `10.${n}.0.0/24` as Cidr, source },
        { kind: "unreachable", cidr: `10.${n}.1.0/24` as Cidr }, { kind: "unreachable", cidr: `10.${n}.0.0/16` as Cidr },
      );
    }
    await gatewayLinks(this.host.exec, this.host.sysctls).apply(entries.map((entry) => ({ op: "create", key: gatewayKey(entry), why: "test", entry })), signal);
  }

  /** What CreateEndpoint does by our sink, and Join by Docker. */
  async #container(name: string, { vni }: IsolatedNetwork, last: number): Promise<void> {
    const [n, alias] = [vni - 100, endpointId(name)];
    const endpoint: EndpointLink = {
      link: vethHost(vni, alias), peer: vethPeer(alias), alias, joined: false, mtuBytes: 1450,
      address: `10.${n}.1.${last}` as Ipv4, source: `10.${n}.1.1` as Ipv4,
    };
    await endpointLinks(this.host.exec, this.host.sysctls).apply([{ op: "create", key: endpoint.link, why: "test", endpoint }], signal);
    const place = await this.#place(name);
    await this.host.ip(`link set ${endpoint.peer} netns ${place.name}`);
    await place.ip(
      `link set ${endpoint.peer} name eth0`, `address add ${endpoint.address}/24 dev eth0`, "link set eth0 up",
      `route add 10.${n}.0.0/16 via 10.${n}.1.1`,
    );
    await this.#attach(place, "eth1", "docker_gwbridge", `172.18.${n}.${last}/16`);
    await place.ip("route add default via 172.18.0.1");
  }

  async #otherNode(): Promise<void> {
    const node = await this.#place("node2");
    await node.sysctls.write([["net/ipv4/ip_forward", "1"]]);
    for (const n of [1, 2]) {
      const device = `flannel.${100 + n}`;
      await this.host.ip(
        `link add ${device} type veth peer name ${device} netns ${node.name}`, `address add 10.${n}.1.0/32 dev ${device}`,
        `link set ${device} up`, `route add 10.${n}.2.0/24 via 10.${n}.2.0 dev ${device} src 10.${n}.1.0 onlink`,
      );
      await node.ip(
        `address add 10.${n}.2.0/32 dev ${device}`, `link set ${device} up`, `address add 10.${n}.2.11/32 dev lo`,
        `route add 10.${n}.1.0/24 via 10.${n}.1.0 dev ${device} src 10.${n}.2.0 onlink`,
      );
    }
  }
}

/** What Docker 26 leaves in the filter table, as far as it matters to forwarding. */
const DOCKER_FILTER = `*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A DOCKER-USER -j RETURN
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A FORWARD -o docker_gwbridge -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker_gwbridge ! -o docker_gwbridge -j ACCEPT
-A FORWARD -i docker_gwbridge -o docker_gwbridge -j DROP
COMMIT
`;
const DOCKER_NAT = `*nat
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o docker_gwbridge -j MASQUERADE
COMMIT
`;
