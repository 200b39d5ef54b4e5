/** The two hosts on which the cases of links run, and the hands that disturb them. */
import type { EndpointId, Ipv4 } from "../../src/core/ids.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import { linkSettings } from "../../src/sinks/links/render.ts";
import {
  endpointLinks, gatewayLinks, type EndpointChange, type EndpointState, type GatewayChange, type GatewayState,
} from "../../src/sinks/links.ts";
import { FakeHost } from "../fakes/links.ts";
import { Namespace } from "./namespace.ts";
import type { World } from "./suite.ts";

/** What a person, Docker or another program does to the host. */
export interface Hands {
  linkDown(link: string): Promise<void>;
  linkGone(link: string): Promise<void>;
  halfPair(link: string, peer: string): Promise<void>;
  movePeer(peer: string): Promise<void>;
  rename(link: string, alias: EndpointId, mtuBytes: number): Promise<void>;
  addRoute(link: string, address: Ipv4): Promise<void>;
  dropRoute(address: Ipv4): Promise<void>;
  setting(link: string, name: string, value: string): Promise<void>;
  /** Links, addresses and routes of other programs. */
  strangers(): Promise<void>;
}

export interface LinksWorld extends World {
  readonly gateways: Sink<GatewayState, GatewayChange>;
  readonly endpoints: Sink<EndpointState, EndpointChange>;
  readonly hands: Hands;
}

export function fakeWorld(): Promise<LinksWorld> {
  const host = new FakeHost();
  const now = <A extends readonly unknown[]>(act: (...args: A) => void) => (...args: A): Promise<void> => { act.apply(host, args as never); return Promise.resolve(); };
  return Promise.resolve({
    gateways: host.gateways, endpoints: host.endpoints, close: () => Promise.resolve(),
    hands: {
      linkDown: now(host.linkDown), linkGone: now(host.linkGone), halfPair: now(host.halfPair), movePeer: now(host.movePeer),
      rename: now(host.rename), addRoute: now(host.addRoute), dropRoute: now(host.dropRoute), setting: now(host.setting),
      strangers: () => Promise.resolve(),
    },
  });
}

export async function kernelWorld(): Promise<LinksWorld> {
  const host = await Namespace.make();
  const sandbox = await Namespace.make();
  await host.sysctls.write([["net/ipv4/ip_forward", "0"]]);
  const resident = host.resident();
  return {
    gateways: gatewayLinks(resident.exec, host.sysctls), endpoints: endpointLinks(resident.exec, host.sysctls), hands: handsOn(host, sandbox),
    close: async () => { resident.close(); await Promise.all([host.close(), sandbox.close()]); },
  };
}

const handsOn = (host: Namespace, sandbox: Namespace): Hands => ({
  linkDown: (link) => host.ip(`link set dev ${link} down`),
  linkGone: (link) => host.ip(`link delete dev ${link}`),
  halfPair: (link, peer) => host.ip(`link add name ${link} type veth peer name ${peer}`),
  movePeer: (peer) => host.ip(`link set dev ${peer} netns ${sandbox.name}`),
  rename: (link, alias, mtuBytes) => host.ip(`link set dev ${link} alias ${alias} mtu ${mtuBytes}`),
  addRoute: (link, address) => host.ip(`route add ${address}/32 dev ${link} scope link proto 102`),
  dropRoute: (address) => host.ip(`route delete ${address}/32 proto 102`),
  setting: async (link, name, value) => {
    await host.sysctls.write(linkSettings(link).filter((setting) => setting.name === name).map(({ path }) => [path, value] as const));
  },
  strangers: () => host.ip(
    "link add name veth0 type veth peer name eth7", "link set dev veth0 up", "address add 172.18.0.1/16 dev veth0",
    "link add name docker0 type bridge", "address add 172.17.0.1/16 dev docker0", "link set dev docker0 up",
    "route add unreachable 10.9.0.0/16", "route add 10.8.0.0/16 dev docker0 proto 4", "route add local 10.7.0.0/24 dev lo",
  ),
});
