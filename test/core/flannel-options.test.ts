/** Which of the user's flannel options pass, and which are refused by name. */
import { expect, test } from "@jest/globals";
import { flannelArguments, parseFlannelOptions } from "../../src/core/flannel-options.ts";

test.each<[string, string[]]>([
  ["", []],
  ["-iface=eth0", ["--iface=eth0"]],
  ["--iface eth0 -iface 10.0.0.4", ["--iface=eth0", "--iface=10.0.0.4"]],
  ["  -iface-regex='^10\\.' --iface-regex \"eth[01]\" ", ["--iface-regex=^10\\.", "--iface-regex=eth[01]"]],
  ["-iface-can-reach 10.0.0.1 --public-ip=192.0.2.7", ["--iface-can-reach=10.0.0.1", "--public-ip=192.0.2.7"]],
  ["-v=2 -subnet-lease-renew-margin=120 -iptables-resync 10", ["--v=2", "--subnet-lease-renew-margin=120", "--iptables-resync=10"]],
  ["-vmodule=network=2,vxlan=3", ["--vmodule=network=2,vxlan=3"]],
])("passes %j", (text, expected) => {
  const { flags, refused } = parseFlannelOptions(text);
  expect(refused).toEqual([]);
  expect(flannelArguments(flags)).toEqual(expected);
});

test.each<[string, string, RegExp]>([
  ["-etcd-endpoints=http://a:1", "etcd-endpoints", /ETCD_\*/],
  ["--etcd-password secret", "etcd-password", /ETCD_\*/],
  ["-subnet-file=/x", "subnet-file", /own subnet file/],
  ["-ip-masq", "ip-masq", /docker_gwbridge/],
  ["--iptables-forward-rules=true", "iptables-forward-rules", /fight/],
  ["-healthz-port 8080", "healthz-port", /own port/],
  ["-kube-subnet-mgr", "kube-subnet-mgr", /Kubernetes/],
  ["-kubeconfig-file=/k", "kubeconfig-file", /Kubernetes/],
  ["-net-config-path=/n", "net-config-path", /Kubernetes/],
  ["-ip-blackhole-route", "ip-blackhole-route", /unreachable/],
  ["-version", "version", /exit/],
  ["-ifcae=eth0", "ifcae", /no such flag/],
  ["-constructor=1", "constructor", /no such flag/],
  ["eth0", "eth0", /no flag/],
  ["-iface", "iface", /missing/],
  ["-iface=", "iface", /empty/],
  ["-v=much", "v", /whole number/],
  ["-subnet-lease-renew-margin=1440", "subnet-lease-renew-margin", /1 to 1439/],
  ["-public-ip=node1", "public-ip", /IPv4/],
  ["-public-ipv6=10.0.0.1", "public-ipv6", /IPv6/],
  ["-iface-regex=(", "iface-regex", /regular expression/],
])("refuses %j by name", (text, name, reason) => {
  const { flags, refused } = parseFlannelOptions(text);
  expect(flags).toEqual([]);
  expect(refused).toEqual([{ name, reason: expect.stringMatching(reason) }]);
});

test("one refused flag does not hide the others, nor does its value become a stray word", () => {
  expect(parseFlannelOptions("-etcd-prefix /x -ip-masq -iface eth1 -nonsense=1")).toEqual({
    flags: [{ name: "iface", value: "eth1" }],
    refused: [
      { name: "etcd-prefix", reason: expect.any(String) }, { name: "ip-masq", reason: expect.any(String) }, { name: "nonsense", reason: expect.any(String) },
    ],
  });
});
