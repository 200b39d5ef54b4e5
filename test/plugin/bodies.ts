/**
 * One valid body per method, as captured from dockerd 20.10 … 29 (PoolIDs and address spaces are ours).
 *
 * Rule: the tests of decoding, of the server and of mutated input all start from these.
 */
import type { MethodName } from "../../src/plugin/protocol.ts";

export const NETWORK = "2tul1rqmkl4w79s0s71gj94v2";
export const ENDPOINT = "f9550c6111c671ca5c4a2729f122f5f577431c37533b5d8e3db99837534d516b";
const SERIAL = { "com.docker.network.ipam.serial": "true", "flannel-id": "u1" };
const BOTH = { NetworkID: NETWORK, EndpointID: ENDPOINT };
const PORTS = {
  "com.docker.network.endpoint.exposedports": [{ Proto: 6, Port: 81 }, { Proto: 17, Port: 80 }],
  "com.docker.network.portmap": [{ Proto: 6, IP: "", Port: 80, HostIP: "", HostPort: 8085, HostPortEnd: 8085 }],
};

/** Undefined: the method takes no body. */
export const BODIES: Readonly<Record<MethodName, Readonly<Record<string, unknown>> | undefined>> = {
  "Plugin.Activate": undefined,
  "IpamDriver.GetCapabilities": undefined,
  "IpamDriver.GetDefaultAddressSpaces": undefined,
  "IpamDriver.RequestPool": { AddressSpace: "fnp-global", Pool: "10.1.0.0/16", SubPool: "10.1.4.0/24", Options: SERIAL, V6: false },
  "IpamDriver.ReleasePool": { PoolID: "G:u1" },
  "IpamDriver.RequestAddress": {
    PoolID: "L:u1", Address: "10.1.1.11", Options: {
      "com.docker.network.endpoint.macaddress": "86:25:4f:de:34:fb", "com.docker.network.endpoint.name": "web.1.3z9ff3pqwqlb8m7ka1zxb2lak",
    },
  },
  "IpamDriver.ReleaseAddress": { PoolID: "L:u1", Address: "10.1.2.10" },
  "NetworkDriver.GetCapabilities": undefined,
  "NetworkDriver.AllocateNetwork": {
    NetworkID: NETWORK, Options: { foo: "bar" }, IPv6Data: null,
    IPv4Data: [{ AddressSpace: "", Gateway: "10.1.1.1/16", Pool: "10.1.0.0/16" }],
  },
  "NetworkDriver.FreeNetwork": { NetworkID: NETWORK },
  "NetworkDriver.GwAllocCheck": { Options: { "com.docker.network.internal": true } },
  "NetworkDriver.CreateNetwork": {
    NetworkID: NETWORK, IPv6Data: [], Options: {
      "com.docker.network.enable_ipv4": true, "com.docker.network.enable_ipv6": false, "com.docker.network.internal": true,
      "com.docker.network.generic": { "fl.alloc": "node1" },
    },
    IPv4Data: [{ AddressSpace: "fnp-local", AuxAddresses: {}, Gateway: "10.1.1.1/32", Pool: "10.1.0.0/16" }],
  },
  "NetworkDriver.DeleteNetwork": { NetworkID: NETWORK },
  "NetworkDriver.CreateEndpoint": {
    ...BOTH, Interface: { Address: "10.1.2.10/16", AddressIPv6: "", MacAddress: "02:42:fe:e6:94:c1" },
    Options: { ...PORTS, "com.docker.network.endpoint.macaddress": "AkIRIjNE", "opt.k": "v1" },
  },
  "NetworkDriver.DeleteEndpoint": BOTH,
  "NetworkDriver.EndpointOperInfo": BOTH,
  "NetworkDriver.Join": { ...BOTH, SandboxKey: "/run/docker/netns/be23c76534bc", Options: PORTS },
  "NetworkDriver.Leave": BOTH,
  "NetworkDriver.ProgramExternalConnectivity": { ...BOTH, Options: { ...PORTS, "com.docker.network.driver.private.no_proxy_6to4": true } },
  "NetworkDriver.RevokeExternalConnectivity": BOTH,
  "NetworkDriver.DiscoverNew": { DiscoveryType: 1, DiscoveryData: { Address: "10.99.0.1", BindAddress: "10.99.0.1", Self: true } },
  "NetworkDriver.DiscoverDelete": { DiscoveryType: 1, DiscoveryData: { Address: "10.99.0.2", BindAddress: "10.99.0.2", Self: false } },
};
