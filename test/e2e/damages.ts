/**
 * The damages of 75-damages.test.ts: what a hand does to an object of ours, the same to its twin, and how the repair is named.
 *
 * In:  shell variables box, veth, vx, gw, range, refused, vtep, peer, via, pmac, pip.  Out: one row per damage.
 */
export interface Damage {
  readonly what: string;
  readonly ours: string;
  readonly theirs: string;
  readonly reconciler: "endpoints" | "gateways" | "firewall" | "flannel";
  /** The one event of the repair. */
  readonly key: RegExp;
  readonly why: RegExp;
}

const VETH = /^fnp[0-9a-z]{12}$/;
const FLANNEL = /^[^/]+$/;
const PEER = /\//;

const setting = (name: string, table: "conf" | "neigh", value: number, right: number): Damage => ({
  what: `${name} of a container's link changed`, ours: `sysctl -qw net.ipv4.${table}.$veth.${name}=${value}`, theirs: `sysctl -qw net.ipv4.${table}.twin0.${name}=${value}`,
  reconciler: "endpoints", key: VETH, why: new RegExp(`^${name} is ${value}, not ${right}$`),
});

const ENDPOINTS: readonly Damage[] = [
  { what: "a container's host route deleted", ours: "ip route del $box dev $veth", theirs: "ip route del 192.0.2.7 dev twin0", reconciler: "endpoints", key: VETH, why: /^no route to / },
  { what: "a container's link set down", ours: "ip link set $veth down", theirs: "ip link set twin0 down", reconciler: "endpoints", key: VETH, why: /^down, no route to / },
  { what: "a container's link with another MTU", ours: "ip link set $veth mtu 1300", theirs: "ip link set twin0 mtu 1300", reconciler: "endpoints", key: VETH, why: /^mtu 1300 → \d+$/ },
  { what: "a container's link with another MAC", ours: "ip link set $veth address 02:00:00:00:00:09", theirs: "ip link set twin0 address 02:00:00:00:00:0a", reconciler: "endpoints", key: VETH, why: /^MAC is 02:00:00:00:00:09, not / },
  { what: "a container's link without its alias", ours: "ip link set $veth alias ''", theirs: "ip link set twin0 alias ''", reconciler: "endpoints", key: VETH, why: /alias differs/ },
  setting("proxy_arp", "conf", 0, 1), setting("rp_filter", "conf", 0, 1), setting("send_redirects", "conf", 1, 0), setting("proxy_delay", "neigh", 80, 0),
];

const GATEWAYS: readonly Damage[] = [
  { what: "the gateway address deleted", ours: "ip addr del $gw dev fnp-gw", theirs: "ip addr del 192.0.2.65/32 dev twingw", reconciler: "gateways", key: /^address /, why: /^missing$/ },
  { what: "the gateway link set down", ours: "ip link set fnp-gw down", theirs: "ip link set twingw down", reconciler: "gateways", key: /^gateway-link/, why: /^the link is down$/ },
  { what: "the gateway link deleted", ours: "ip link del fnp-gw", theirs: "ip link del twingw", reconciler: "gateways", key: /^gateway-link/, why: /^missing$/ },
  { what: "the service range's route deleted", ours: "ip route del local $range dev lo", theirs: "ip route del local 192.0.2.80/30 dev lo", reconciler: "gateways", key: /^service-range /, why: /^missing$/ },
  { what: "the refusal of what nobody holds deleted", ours: "ip route del unreachable $refused metric 16777216", theirs: "ip route del unreachable 192.0.2.96/28 metric 16777216", reconciler: "gateways", key: /^unreachable /, why: /^missing$/ },
  { what: "forwarding switched off", ours: "sysctl -qw net.ipv4.ip_forward=0", theirs: "true", reconciler: "gateways", key: /^forwarding/, why: /^missing$/ },
];

const FIREWALL: readonly Damage[] = [
  { what: "our nft table deleted", ours: "nft delete table ip fnp", theirs: "nft delete chain ip twin isolate", reconciler: "firewall", key: /^table$/, why: /./ },
  { what: "a rule put into our nft table", ours: "nft insert rule ip fnp isolate accept", theirs: "nft add chain ip twin other; nft add rule ip twin other accept", reconciler: "firewall", key: /^table$/, why: /rule 1 of chain isolate/ },
  { what: "an element taken out of our nft table", ours: "nft delete element ip fnp links '{ \"'$vx'\" }'", theirs: "nft flush chain ip twin other", reconciler: "firewall", key: /^table$/, why: /set links/ },
  { what: "the jump to our chain deleted", ours: "iptables -D FORWARD -j FNP-FORWARD", theirs: "iptables -D FORWARD -j TWIN-FORWARD", reconciler: "firewall", key: /^chain$/, why: /the jump from FORWARD is missing/ },
  { what: "our chain flushed", ours: "iptables -F FNP-FORWARD", theirs: "iptables -F TWIN-FORWARD", reconciler: "firewall", key: /^chain$/, why: /the rules of FNP-FORWARD were changed/ },
  { what: "our jump moved before the user's", ours: "printf '*filter\\n-D FORWARD -j FNP-FORWARD\\n-I FORWARD 1 -j FNP-FORWARD\\nCOMMIT\\n' | iptables-restore --noflush", theirs: "true", reconciler: "firewall", key: /^chain$/, why: /the jump stands before DOCKER-USER's/ },
];

const FLANNELD: readonly Damage[] = [
  { what: "the route to another node deleted", ours: "ip route del $peer dev $vx", theirs: "ip route flush 192.0.2.144/28", reconciler: "flannel", key: PEER, why: /^(missing|rows differ from the lease)$/ },
  { what: "the neighbour row of another node deleted", ours: "ip neigh del $via dev $vx", theirs: "ip neigh del 192.0.2.144 dev vxtwin", reconciler: "flannel", key: PEER, why: /^(missing|rows differ from the lease)$/ },
  { what: "the forwarding row of another node deleted", ours: "bridge fdb del $pmac dev $vx dst $pip", theirs: "bridge fdb del 0e:00:00:00:00:01 dev vxtwin dst 203.0.113.9", reconciler: "flannel", key: PEER, why: /^(missing|rows differ from the lease)$/ },
  { what: "rows of a node that is none added", ours: "bridge fdb add 0e:00:00:00:00:99 dev $vx dst 203.0.113.99", theirs: "true", reconciler: "flannel", key: PEER, why: /^no lease has it$/ },
  { what: "the VXLAN device with another MAC", ours: "ip link set $vx address 02:00:00:00:00:0b", theirs: "ip link set vxtwin address 02:00:00:00:00:0c", reconciler: "flannel", key: FLANNEL, why: /^vtep mac 02:00:00:00:00:0b → / },
  { what: "the VXLAN device with another MTU", ours: "ip link set $vx mtu 1200", theirs: "ip link set vxtwin mtu 1200", reconciler: "flannel", key: FLANNEL, why: /^mtu 1200 → \d+$/ },
  { what: "the VXLAN device without its address", ours: "ip addr del $vtep dev $vx", theirs: "ip addr del 192.0.2.129/32 dev vxtwin", reconciler: "flannel", key: FLANNEL, why: /^address \S+ is missing$/ },
  { what: "the VXLAN device set down", ours: "ip link set $vx down", theirs: "ip link set vxtwin down", reconciler: "flannel", key: FLANNEL, why: /^the vxlan device is down$/ },
  { what: "the VXLAN device deleted", ours: "ip link del $vx", theirs: "ip link del vxtwin", reconciler: "flannel", key: FLANNEL, why: /^the vxlan device is gone$|vxlan device missing/ },
  { what: "flanneld killed", ours: "kill -9 $(pgrep -x flanneld)", theirs: "true", reconciler: "flannel", key: FLANNEL, why: /^no flanneld runs$/ },
];

export const DAMAGES: readonly Damage[] = [...ENDPOINTS, ...GATEWAYS, ...FIREWALL, ...FLANNELD];
