/**
 * Every name we create in the kernel and every key in etcd: functions of identifiers, so a restart adopts what it finds.
 *
 * Rule: links ≤ 15 bytes (IFNAMSIZ − 1) and start with `fnp` (or are flannel's own `flannel.<VNI>`); nobody else builds names.
 */
import type { Cidr, EndpointId, FlannelId, Ipv4, Mac, NetworkId, NodeId, ServiceId, TaskId, Vni, ContainerId } from "./ids.ts";
import { fnv1a64 } from "./hash.ts";

/** Prefix of every link of ours; iptables and nft match it as a wildcard. */
export const LINK_PREFIX = "fnp";
/** Carries the gateway addresses of all networks. */
export const GATEWAY_LINK = "fnp-gw";
/** Our nft table in the host's namespace (family ip). */
export const NFT_TABLE = "fnp";
/** Our nft table around the balancer (family ip); apart from the other, so that a change of one never rewrites both. */
export const VIP_TABLE = "fnp-vips";
/** Our chain in iptables' filter table. */
export const IPTABLES_CHAIN = "FNP-FORWARD";

const base36 = (value: bigint, digits: number): string =>
  (value % 36n ** BigInt(digits)).toString(36).padStart(digits, "0");

/** Common start of all veth names of a network, for wildcard matches: `fnp` + VNI in 5 base-36 digits (24 bits fit). */
export const vethPrefix = (vni: Vni): string => `${LINK_PREFIX}${base36(BigInt(vni), 5)}`;
/** Host end of an endpoint's veth pair: 15 bytes. */
export const vethHost = (vni: Vni, endpoint: EndpointId): string => `${vethPrefix(vni)}${base36(fnv1a64(endpoint), 7)}`;
/** The container's end before Docker moves and renames it; never matches our prefix, so no rule takes it for a host end. */
export const vethPeer = (endpoint: EndpointId): string => `fnq${base36(fnv1a64(endpoint), 12)}`;
/** flanneld's device; the name is flannel's. */
export const vxlanLink = (vni: Vni): string => `flannel.${vni}`;

/** Stable MAC of this node's VTEP: locally administered, from PublicIP and VNI, equal after every restart and reboot. */
export function vtepMac(publicIp: Ipv4, vni: Vni): Mac {
  const hash = fnv1a64(`${publicIp}/${vni}`).toString(16).padStart(16, "0");
  const octets = [hash.slice(0, 2), hash.slice(2, 4), hash.slice(4, 6), hash.slice(6, 8), hash.slice(8, 10)];
  return ["0e", ...octets].join(":") as Mac;
}

/** `10.1.0.0/20` → `10.1.0.0-20`, flannel's spelling of a CIDR inside a key. */
export const cidrSegment = (cidr: Cidr): string => cidr.replace("/", "-");

/** Keys below ETCD_PREFIX (design §6). `prefix` has no trailing slash. */
export interface Keys {
  readonly prefix: string;
  readonly schema: string;
  readonly pools: string;
  pool(cidr: Cidr): string;
  readonly vnis: string;
  vni(vni: Vni): string;
  readonly networks: string;
  config(id: FlannelId): string;
  subnets(id: FlannelId): string;
  subnet(id: FlannelId, subnet: Cidr): string;
  /** What flanneld gets as `--etcd-prefix`. */
  flannelPrefix(id: FlannelId): string;
  readonly serviceRanges: string;
  serviceRange(id: FlannelId, address: Ipv4): string;
  readonly docker: string;
  dockerNetwork(id: NetworkId): string;
  dockerService(id: ServiceId): string;
  dockerTask(id: TaskId): string;
  dockerNode(id: NodeId): string;
  /** What one node asks all others; gone when it has its answers. */
  readonly questions: string;
  question(id: string): string;
  readonly answers: string;
  answer(question: string, node: string): string;
  readonly nodes: string;
  node(id: NodeId): string;
  nodeContainers(id: NodeId): string;
  nodeContainer(node: NodeId, id: ContainerId): string;
}

export function keysBelow(etcdPrefix: string): Keys {
  const prefix = `/${etcdPrefix.split("/").filter((segment) => segment !== "").join("/")}`;
  const at = (...path: readonly string[]): string => [prefix, ...path].join("/");
  return {
    prefix, schema: at("schema"),
    pools: at("pools/"), pool: (cidr) => at("pools", cidrSegment(cidr)),
    vnis: at("vnis/"), vni: (vni) => at("vnis", String(vni)),
    networks: at("networks/"), config: (id) => at("networks", id, "config"),
    subnets: (id) => at("networks", id, "subnets/"), subnet: (id, subnet) => at("networks", id, "subnets", cidrSegment(subnet)),
    flannelPrefix: (id) => at("networks", id),
    serviceRanges: at("service-range/"), serviceRange: (id, address) => at("service-range", id, address),
    docker: at("docker/"), dockerNetwork: (id) => at("docker/networks", id),
    dockerService: (id) => at("docker/services", id), dockerTask: (id) => at("docker/tasks", id), dockerNode: (id) => at("docker/nodes", id),
    questions: at("docker/questions/"), question: (id) => at("docker/questions", id), answers: at("docker/answers/"), answer: (question, node) => at("docker/answers", question, node),
    nodes: at("nodes/"), node: (id) => at("nodes", id), nodeContainers: (id) => at("nodes", id, "containers/"),
    nodeContainer: (node, id) => at("nodes", node, "containers", id),
  };
}
