/** What a user may say about one network: typed, or refused by name with an example. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { OperatorError } from "../../src/core/errors.ts";
import { parseNetworkOptions, parsePoolOptions } from "../../src/core/network-options.ts";

type Options = Readonly<Record<string, string>>;

describe("pool options", () => {
  it.each<[Options, object]>([
    [{}, { replay: false }],
    [{ "com.docker.network.ipam.serial": "true" }, { replay: true }],
    [{ "com.docker.network.ipam.serial": "false", "com.docker.whatever": "x", "RequestAddressType": "com.docker.network.gateway" }, { replay: false }],
    [{ "flannel-id": "5b3f-A_1.x" }, { replay: false, flannelId: "5b3f-A_1.x" }],
    [{ "host-subnet-size": "10", "service-range-size": "4" }, { replay: false, hostLength: 10, serviceAddresses: 4 }],
    [{ "host-subnet-size": "30", "service-range-size": "1048576" }, { replay: false, hostLength: 30, serviceAddresses: 1_048_576 }],
  ])("%j", (options, expected) => expect(parsePoolOptions(options)).toEqual(expected));

  it.each<[Options, string]>([
    [{ "flannel-id": "" }, "flannel-id"], [{ "flannel-id": "a/b" }, "flannel-id=a/b"], [{ "flannel-id": "../x" }, "flannel-id"], [{ "flannel-id": "a".repeat(129) }, "flannel-id"],
    [{ "host-subnet-size": "9" }, "from 10 to 30"], [{ "host-subnet-size": "31" }, "from 10 to 30"], [{ "host-subnet-size": "/25" }, "host-subnet-size=/25"],
    [{ "host-subnet-size": "2e1" }, "2e1"], [{ "host-subnet-size": "" }, "host-subnet-size="], [{ "service-range-size": "-4" }, "-4"],
    [{ "flannelid": "x" }, "no such option"], [{ "vni": "5" }, "--ipam-opt vni"], [{ "__proto__x": "5" }, "__proto__x"],
  ])("%j is refused", (options, named) => {
    expect(() => parsePoolOptions(options)).toThrow(expect.objectContaining({ code: "invalid", message: expect.stringContaining(named), cure: expect.stringMatching(/^For example .+=/) }));
  });
});

describe("network options", () => {
  it.each<[Options, object]>([
    [{}, { backend: { Type: "vxlan" } }],
    [{ "vni": "10001", "mtu": "1400", "port": "4789", "gbp": "true", "direct-routing": "false" }, { vni: 10001, backend: { Type: "vxlan", MTU: 1450, Port: 4789, GBP: true, DirectRouting: false } }],
    [{ "com.docker.network.driver.mtu": "1300", "com.docker.other": "x" }, { backend: { Type: "vxlan", MTU: 1350 } }],
    [{ "backend": "host-gw", "mtu": "1300" }, { backend: { Type: "host-gw" } }],
  ])("%j", (options, expected) => expect(parseNetworkOptions(options)).toEqual(expected));

  it.each<[Options, string]>([
    [{ "vni": "0" }, "vni=0"], [{ "vni": "10000000" }, "from 1 to 9999999"], [{ "backend": "wireguard" }, "vxlan or host-gw"], [{ "backend": "VXLAN" }, "VXLAN"],
    [{ "mtu": "500" }, "mtu=500"], [{ "port": "65536" }, "port"], [{ "gbp": "yes" }, "true or false"], [{ "encrypted": "" }, "--opt encrypted"], [{ "flannel-id": "x" }, "--opt flannel-id"],
  ])("%j is refused", (options, named) => {
    expect(() => parseNetworkOptions(options)).toThrow(expect.objectContaining({ code: "invalid", message: expect.stringContaining(named) }));
  });

  it("throws nothing but refusals, whatever is said", () => {
    fc.assert(fc.property(fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("vni", "mtu", "backend", "flannel-id", "host-subnet-size", "toString")), fc.string()), (options) => {
      for (const parse of [parsePoolOptions, parseNetworkOptions]) {
        try { parse(options); } catch (error) { expect(error).toBeInstanceOf(OperatorError); }
      }
    }));
  });
});
