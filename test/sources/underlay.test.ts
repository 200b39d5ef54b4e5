/** The interface for VXLAN, by flannel's rules and ours. */
import { expect, test } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import { parseFlannelOptions } from "../../src/core/flannel-options.ts";
import { parseIpv4, type Ipv4 } from "../../src/core/ids.ts";
import { chooseUnderlay, type HostNetwork } from "../../src/sources/underlay.ts";

const link = (ifname: string, mtu: number, ...addresses: string[]) => ({
  ifname, mtu, addr_info: addresses.map((text) => ({ family: "inet", local: text.split("/")[0] ?? "", prefixlen: Number(text.split("/")[1] ?? 24) })),
});
const host: HostNetwork = {
  links: [
    link("lo", 65536, "127.0.0.1/8"), link("eth0", 1500, "192.0.2.10/24"), link("enp7s0", 1450, "169.254.9.9/16", "10.0.0.4/24"),
    link("eth2", 9000, "10.9.0.4/24", "10.8.0.4/24"), link("docker0", 1500, "172.17.0.1/16"), link("eth3", 1500),
  ],
  routes: [
    { dst: "default", dev: "eth0", gateway: "192.0.2.1" }, { dst: "10.0.0.0/24", dev: "enp7s0", prefsrc: "10.0.0.4" },
    { dst: "10.0.0.0/8", dev: "eth2", gateway: "10.8.0.1" }, { dst: "172.17.0.0/16", dev: "docker0", prefsrc: "172.17.0.1" },
  ],
};
const choose = (text: string, swarm?: string, on = host) => {
  const chosen = chooseUnderlay(parseFlannelOptions(text).flags, on, swarm === undefined ? undefined : (parseIpv4(swarm) as Ipv4));
  return chosen instanceof OperatorError ? chosen : `${chosen.link} ${chosen.address} ${chosen.mtuBytes}`;
};

test.each<[string, string | undefined, string]>([
  ["", "10.0.0.4", "enp7s0 10.0.0.4 1450"],
  ["", undefined, "eth0 192.0.2.10 1500"],
  ["", "203.0.113.9", "eth0 192.0.2.10 1500"],
  ["-iface=enp7s0", "192.0.2.10", "enp7s0 10.0.0.4 1450"],
  ["-iface=10.8.0.4", undefined, "eth2 10.8.0.4 9000"],
  ["-iface=nope -iface=eth3 -iface=eth2", undefined, "eth2 10.9.0.4 9000"],
  ["-iface=nope -iface-regex=^10\\.8", undefined, "eth2 10.8.0.4 9000"],
  ["-iface-regex=^enp", undefined, "enp7s0 10.0.0.4 1450"],
  ["-iface-regex=^wg -iface-can-reach=10.0.0.77", undefined, "enp7s0 10.0.0.4 1450"],
  ["-iface-can-reach=10.5.5.5", undefined, "eth2 10.8.0.4 9000"],
  ["-iface-can-reach=8.8.8.8", undefined, "eth0 192.0.2.10 1500"],
  ["-iface=enp7s0 -public-ip=203.0.113.5", undefined, "enp7s0 203.0.113.5 1450"],
  ["-public-ip=10.9.0.4", "192.0.2.10", "eth2 10.9.0.4 9000"],
  ["-public-ip=203.0.113.5", "10.0.0.4", "enp7s0 203.0.113.5 1450"],
])("flags %j, swarm %s → %s", (text, swarm, expected) => expect(choose(text, swarm)).toBe(expected));

test("flags that match nothing are an error that names them and what there is", () => {
  const error = choose("-iface=wg0", "10.0.0.4");
  expect(error).toMatchObject({ code: "invalid", message: expect.stringContaining("--iface=wg0"), cure: expect.stringContaining("enp7s0 (10.0.0.4)") });
});

test("no address, no route: not found, with a cure", () => {
  expect(choose("", "10.0.0.4", { links: [], routes: [] })).toMatchObject({ code: "not-found", cure: expect.stringContaining("-iface=NAME") });
});
