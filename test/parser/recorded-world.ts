/** What stood in the kernel when the recordings below test/golden were made. */
import type { Cidr, EndpointId, Ipv4, Vni } from "../../src/core/ids.ts";
import { vethHost, vethPeer, vethPrefix, vxlanLink } from "../../src/core/names.ts";
import type { EndpointLink, GatewayEntry } from "../../src/sinks/links.ts";
import type { IsolatedNetwork } from "../../src/sinks/nft-table.ts";

const SOURCE = "10.1.1.1" as Ipv4;

export const GATEWAY: readonly GatewayEntry[] = [
  { kind: "gateway-link", up: true }, { kind: "address", address: SOURCE },
  { kind: "service-range", cidr: "10.1.0.0/24" as Cidr, source: SOURCE },
  { kind: "unreachable", cidr: "10.1.1.0/24" as Cidr }, { kind: "unreachable", cidr: "10.1.0.0/16" as Cidr },
];

export const ENDPOINTS: readonly EndpointLink[] = ["1a", "2b"].map((start, n) => {
  const alias = start.repeat(32) as EndpointId;
  return {
    link: vethHost(101 as Vni, alias), peer: vethPeer(alias), alias, address: `10.1.1.${11 + n}` as Ipv4, source: SOURCE, mtuBytes: 1450, joined: false,
  };
});

export const NETWORKS: readonly IsolatedNetwork[] = ([[101, "10.1.0.0/16"], [6514, "10.2.16.0/20"]] as const).map(([vni, cidr]) =>
  ({ vni: vni as Vni, cidr: cidr as Cidr, vethPrefix: vethPrefix(vni as Vni), vxlan: vxlanLink(vni as Vni) }));
