/** Decoding: what dockerd sends becomes branded values; what it never sends is refused by field. */
import { describe, expect, test } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import { METHODS, poolIdOf, type MethodName } from "../../src/plugin/protocol.ts";
import { parseFlannelId } from "../../src/core/ids.ts";
import { BODIES, ENDPOINT, NETWORK } from "./bodies.ts";

const names = Object.keys(METHODS) as MethodName[];
const decode = (name: MethodName, body: unknown): unknown => METHODS[name].decode(body);

/** The reason a body is refused with. */
function refusal(name: MethodName, body: unknown): string {
  try {
    decode(name, body);
  } catch (error) {
    if (error instanceof OperatorError && error.code === "invalid") return error.message;
    throw error;
  }
  throw new Error(`${name} accepted ${JSON.stringify(body)}`);
}

describe("every method", () => {
  test.each(names)("%s reads its captured body, with fields it does not know", (name) => {
    const body = BODIES[name];
    expect(METHODS[name].takesBody).toBe(body !== undefined);
    expect(() => decode(name, body && { ...body, FromTheFuture: { a: [1] } })).not.toThrow();
  });

  test.each(names.filter((name) => METHODS[name].takesBody))("%s refuses what is no object, by name", (name) => {
    for (const body of [undefined, null, 7, "x", []]) {
      if (name === "NetworkDriver.GwAllocCheck" && Array.isArray(body)) continue;
      expect(refusal(name, body)).toBe("Cannot read the request: the body is not an object");
    }
  });
});

describe("IpamDriver.RequestPool", () => {
  const asked = (fields: object): unknown => decode("IpamDriver.RequestPool", { AddressSpace: "fnp-global", Pool: "", SubPool: "", Options: null, V6: false, ...fields });

  test("the address space tells who asks; empty ranges are none", () => {
    expect(asked({})).toEqual({ caller: "manager", family: "ipv4", options: {} });
    expect(asked({ AddressSpace: "fnp-local", Pool: "10.1.0.0/16", Options: { "flannel-id": "u1" } }))
      .toEqual({ caller: "node", family: "ipv4", pool: "10.1.0.0/16", options: { "flannel-id": "u1" } });
  });

  test("IPv6 is passed on, whatever its range looks like", () => {
    expect(asked({ Pool: "fd00::/64", V6: true })).toEqual({ caller: "manager", family: "ipv6", options: {} });
  });

  test("says which range is wrong, and never repeats it", () => {
    expect(refusal("IpamDriver.RequestPool", { AddressSpace: "fnp-global", Pool: "secret" }))
      .toBe("Cannot read the request: Pool is not an IPv4 range such as 10.1.0.0/16");
    expect(refusal("IpamDriver.RequestPool", { AddressSpace: "LocalDefault" })).toContain("AddressSpace is no address space of this driver");
  });
});

describe("IpamDriver.RequestAddress", () => {
  const asked = (fields: object): unknown => decode("IpamDriver.RequestAddress", { PoolID: "G:u1", Address: "", Options: null, ...fields });
  const gateway = { RequestAddressType: "com.docker.network.gateway" };
  const mac = { "com.docker.network.endpoint.macaddress": "02:42:FE:e6:94:c1" };

  test("the pool's prefix tells the side, the options the purpose", () => {
    expect(asked({ Options: gateway })).toEqual({ caller: "manager", flannelId: "u1", purpose: "gateway" });
    expect(asked({ PoolID: "L:u1", Options: gateway, Address: "10.1.1.1" }))
      .toEqual({ caller: "node", flannelId: "u1", purpose: "gateway", address: "10.1.1.1" });
    expect(asked({ Address: "10.1.1.9" })).toEqual({ caller: "manager", flannelId: "u1", purpose: "manager-address", address: "10.1.1.9" });
    expect(asked({ PoolID: "L:u1", Address: "10.1.1.11", Options: { ...mac, "com.docker.network.endpoint.name": "web.1" } })).toEqual({
      caller: "node", flannelId: "u1", purpose: "endpoint", address: "10.1.1.11", mac: "02:42:fe:e6:94:c1", endpointName: "web.1",
    });
  });

  test("a node's request without MAC is refused with a cure, a pool of somebody else's too", () => {
    expect(refusal("IpamDriver.RequestAddress", { PoolID: "L:u1" })).toContain("disable and enable the plugin");
    for (const PoolID of ["", "G:", "P-u1", "g:u1", "G:a/b", "G:../x", `G:${"x".repeat(129)}`, 5]) {
      expect(refusal("IpamDriver.RequestAddress", { PoolID })).toContain("PoolID");
    }
  });

  test("pool ids are read as they are made", () => {
    const id = parseFlannelId("u1") ?? ("" as never);
    expect(decode("IpamDriver.ReleasePool", { PoolID: poolIdOf("node", id) })).toEqual({ caller: "node", flannelId: "u1" });
    expect(decode("IpamDriver.ReleasePool", { PoolID: poolIdOf("manager", id) })).toEqual({ caller: "manager", flannelId: "u1" });
  });
});

describe("releases", () => {
  test("an empty PoolID is a manager's hint about nothing known", () => {
    expect(decode("IpamDriver.ReleasePool", { PoolID: "" })).toEqual({ caller: "manager" });
    expect(decode("IpamDriver.ReleaseAddress", { PoolID: "", Address: "10.1.1.9" })).toEqual({ caller: "manager", address: "10.1.1.9" });
  });

  test("an address may be missing", () => {
    expect(decode("IpamDriver.ReleaseAddress", { PoolID: "L:u1" })).toEqual({ caller: "node", flannelId: "u1" });
  });
});

describe("networks", () => {
  test("AllocateNetwork: options, pools with gateway, IPv6 named", () => {
    expect(decode("NetworkDriver.AllocateNetwork", { ...BODIES["NetworkDriver.AllocateNetwork"], IPv6Data: [{ Pool: "fd00::/64" }] })).toEqual({
      network: NETWORK, options: { foo: "bar" }, ipv6: ["fd00::/64"],
      ipv4: [{ pool: "10.1.0.0/16", gateway: { address: "10.1.1.1", prefixLength: 16 } }],
    });
    expect(decode("NetworkDriver.AllocateNetwork", { NetworkID: NETWORK, Options: null, IPv4Data: null, IPv6Data: null }))
      .toEqual({ network: NETWORK, options: {}, ipv4: [], ipv6: [] });
  });

  test("CreateNetwork: flags out of Docker's own keys, options out of the generic ones", () => {
    expect(decode("NetworkDriver.CreateNetwork", BODIES["NetworkDriver.CreateNetwork"])).toEqual({
      network: NETWORK, options: { "fl.alloc": "node1" }, internal: true, ipv6Enabled: false, ipv6: [],
      ipv4: [{ pool: "10.1.0.0/16", gateway: { address: "10.1.1.1", prefixLength: 32 } }],
    });
    expect(decode("NetworkDriver.CreateNetwork", { NetworkID: NETWORK })).toEqual({
      network: NETWORK, options: {}, internal: false, ipv6Enabled: false, ipv4: [], ipv6: [],
    });
  });

  test("an id that could leave its place in a key or path is refused", () => {
    for (const NetworkID of ["", "../x", "a/b", "a b", "a\0", "x".repeat(129), null]) {
      expect(refusal("NetworkDriver.DeleteNetwork", { NetworkID })).toContain("NetworkID");
    }
  });
});

describe("endpoints", () => {
  test("CreateEndpoint: address, both MAC spellings, ports, the user's options", () => {
    expect(decode("NetworkDriver.CreateEndpoint", BODIES["NetworkDriver.CreateEndpoint"])).toEqual({
      network: NETWORK, endpoint: ENDPOINT, address: { address: "10.1.2.10", prefixLength: 16 }, mac: "02:42:fe:e6:94:c1",
      userMac: "02:42:11:22:33:44", driverOptions: { "opt.k": "v1" },
      ports: {
        exposed: [{ protocol: 6, port: 81 }, { protocol: 17, port: 80 }],
        published: [{ protocol: 6, port: 80, hostIp: "", hostPort: 8085, hostPortEnd: 8085 }],
      },
    });
  });

  test("CreateEndpoint of a second network has empty options, an interface may be null", () => {
    expect(decode("NetworkDriver.CreateEndpoint", { NetworkID: NETWORK, EndpointID: ENDPOINT, Interface: null, Options: {} })).toEqual({
      network: NETWORK, endpoint: ENDPOINT, driverOptions: {}, ports: { exposed: [], published: [] },
    });
  });

  test("Join: the sandbox is an absolute path", () => {
    expect(decode("NetworkDriver.Join", { NetworkID: NETWORK, EndpointID: ENDPOINT, SandboxKey: "/var/run/docker/netns/x" }))
      .toEqual({ network: NETWORK, endpoint: ENDPOINT, sandboxKey: "/var/run/docker/netns/x", ports: { exposed: [], published: [] } });
    expect(refusal("NetworkDriver.Join", { NetworkID: NETWORK, EndpointID: ENDPOINT, SandboxKey: "x" })).toContain("SandboxKey is not an absolute path");
  });

  test("every port published at once can be read", () => {
    const list = Array.from({ length: 131_070 }, (_, n) => ({ Proto: n < 65_535 ? 6 : 17, Port: (n % 65_535) + 1, HostPort: 1, HostPortEnd: 1 }));
    const read = METHODS["NetworkDriver.Join"].decode({
      NetworkID: NETWORK, EndpointID: ENDPOINT, SandboxKey: "/n", Options: { "com.docker.network.portmap": list },
    });
    expect(read.ports.published).toHaveLength(131_070);
  });

  test("a wrong port or MAC is named by its place", () => {
    const options = (Options: object): string => refusal("NetworkDriver.CreateEndpoint", { NetworkID: NETWORK, EndpointID: ENDPOINT, Options });
    expect(options({ "com.docker.network.portmap": [{ Port: 70_000 }] })).toContain("com.docker.network.portmap.0.Port is above 65535");
    expect(options({ "opt.k": "x".repeat(4_097) })).toContain("Options.opt.k is longer than 4096 characters");
    expect(options({ "com.docker.network.endpoint.macaddress": "AkIR" })).toContain("is not a MAC address of six bytes");
  });
});
