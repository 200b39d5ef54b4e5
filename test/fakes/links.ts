/**
 * A host's links, addresses and routes in memory, with the refusals and side effects that the kernel has.
 *
 * Rule: one host, two sinks over it, as in the kernel; test/contract/links.test.ts runs the same cases on both.
 */
import { OperatorError } from "../../src/core/errors.ts";
import type { Ipv4 } from "../../src/core/ids.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import { gatewayKey } from "../../src/core/gateway.ts";
import { withFaults } from "../../src/sinks/links/parse.ts";
import { hostMac, linkSettings } from "../../src/sinks/links/render.ts";
import type {
  EndpointChange, EndpointLink, EndpointState, GatewayChange, GatewayEntry, GatewayState, ObservedEndpoint,
} from "../../src/sinks/links.ts";

interface Veth {
  link: string;
  alias: string;
  mac: string;
  up: boolean;
  mtuBytes: number;
  peer: { name: string; mtuBytes: number } | undefined;
  readonly routes: Map<Ipv4, Ipv4 | undefined>;
  /** By the setting's name, "proxy_arp". */
  readonly settings: Map<string, string>;
}

export class FakeHost {
  readonly gateways: Sink<GatewayState, GatewayChange>;
  readonly endpoints: Sink<EndpointState, EndpointChange>;
  readonly #entries = new Map<string, GatewayEntry>();
  readonly #veths = new Map<string, Veth>();

  constructor() {
    this.gateways = {
      observe: () => Promise.resolve(new Map(this.#entries)),
      apply: (changes) => this.#applyGateways(changes),
    };
    this.endpoints = {
      observe: () => Promise.resolve(new Map([...this.#veths].map(([link, veth]) => [link, observed(veth)]))),
      apply: (changes) => settle(changes.map((change) => () => this.#applyEndpoint(change))),
    };
  }

  /** What a person does with `ip link set LINK down`: the kernel drops the routes over it. */
  linkDown(link: string): void {
    if (this.#entries.has("gateway-link")) this.#entries.set("gateway-link", { kind: "gateway-link", up: link !== "fnp-gw" });
    const veth = this.#veths.get(link);
    if (veth === undefined) return;
    veth.up = false;
    veth.routes.clear();
  }

  linkGone(link: string): void { this.#veths.delete(link); }
  dropRoute(address: Ipv4): void { for (const { routes } of this.#veths.values()) routes.delete(address); }
  addRoute(link: string, address: Ipv4): void { this.#veths.get(link)?.routes.set(address, undefined); }
  setting(link: string, name: string, value: string): void { this.#veths.get(link)?.settings.set(name, value); }

  rename(link: string, alias: string, mtuBytes: number): void {
    const veth = this.#veths.get(link);
    if (veth !== undefined) Object.assign(veth, { alias, mtuBytes });
  }

  /** A pair as somebody leaves it who stops after `ip link add`. */
  halfPair(link: string, peer: string): void {
    this.#veths.set(link, {
      link, alias: "", mac: "unset", up: false, mtuBytes: 1500, peer: { name: peer, mtuBytes: 1500 }, routes: new Map(),
      settings: new Map([["proxy_arp", "0"], ["proxy_delay", "80"], ["send_redirects", "1"], ["rp_filter", "0"], ["disable_ipv6", "0"]]),
    });
  }

  /** Docker moves the container's end into its sandbox. */
  movePeer(peer: string): void {
    for (const veth of this.#veths.values()) if (veth.peer?.name === peer) veth.peer = undefined;
  }

  #hasAddress(address: Ipv4): boolean { return this.#entries.has(`address ${address}`); }

  async #applyGateways(changes: readonly GatewayChange[]): Promise<void> {
    if (changes.some(({ op, entry }) => op === "delete" && entry.kind === "forwarding")) {
      throw new OperatorError("bug", "Cannot switch forwarding off: other programs of this host need it too");
    }
    const order: readonly string[] = ["gateway-link", "address", "service-range", "unreachable", "forwarding"];
    const ranked = [...changes].sort((a, b) => order.indexOf(a.entry.kind) - order.indexOf(b.entry.kind));
    await settle([
      ...ranked.filter(({ op }) => op !== "delete").map(({ entry }) => () => this.#make(entry)),
      ...ranked.filter(({ op }) => op === "delete").reverse().map(({ entry }) => () => this.#remove(entry)),
    ]);
  }

  #make(entry: GatewayEntry): void {
    if (entry.kind === "address" && !this.#entries.has("gateway-link")) throw new OperatorError("not-found", "Cannot add the address: Cannot find device");
    if (entry.kind === "service-range" && !this.#hasAddress(entry.source)) throw new OperatorError("unavailable", "Cannot add the route: Invalid prefsrc address.");
    this.#entries.set(gatewayKey(entry), entry);
  }

  #remove(entry: GatewayEntry): void {
    this.#entries.delete(gatewayKey(entry));
    for (const [key, other] of this.#entries) {
      if (entry.kind === "gateway-link" && other.kind === "address") this.#entries.delete(key);
    }
    // The kernel takes along host routes whose source is no address any more.
    for (const { routes } of this.#veths.values()) {
      for (const [address, source] of routes) if (source !== undefined && !this.#hasAddress(source)) routes.delete(address);
    }
  }

  #applyEndpoint(change: EndpointChange): void {
    if (change.op === "delete") { this.#veths.delete(change.link); return; }
    const { endpoint } = change;
    if (!this.#veths.has(endpoint.link)) {
      if (endpoint.joined) {
        throw new OperatorError("unsupported", `Cannot make the link of endpoint ${endpoint.alias}: its other end is no longer in the container`, { cure: "Restart the container" });
      }
      this.halfPair(endpoint.link, endpoint.peer);
    }
    const veth = this.#veths.get(endpoint.link);
    if (veth !== undefined) this.#complete(veth, endpoint, change.op === "update");
  }

  #complete(veth: Veth, { alias, mtuBytes, address, source, link }: EndpointLink, clean: boolean): void {
    Object.assign(veth, { alias, mtuBytes, mac: hostMac(alias), up: true, peer: veth.peer && { ...veth.peer, mtuBytes } });
    for (const { name, value } of linkSettings(link)) veth.settings.set(name, value);
    if (clean) for (const other of [...veth.routes.keys()]) if (other !== address) veth.routes.delete(other);
    if (!this.#hasAddress(source)) throw new OperatorError("unavailable", `Cannot route ${address}: Invalid prefsrc address.`);
    for (const { routes } of this.#veths.values()) routes.delete(address);
    veth.routes.set(address, source);
  }
}

function observed({ link, alias, mtuBytes, peer, routes, up, mac, settings }: Veth): ObservedEndpoint {
  const values = linkSettings(link).map(({ name }) => settings.get(name));
  const list = [...routes].map(([address, source]) => ({ address, source }));
  return withFaults({ link, alias, mtuBytes, peer, routes: list, up, mac }, values);
}

/** All are tried, the first failure is told at the end, as `ip -force -batch` does. */
function settle(steps: readonly (() => void)[]): Promise<void> {
  const failures = steps.flatMap((step): unknown[] => {
    try { step(); return []; } catch (error) { return [error]; }
  });
  return failures.length === 0 ? Promise.resolve() : Promise.reject(failures[0]);
}
