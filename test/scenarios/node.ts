/**
 * One node: its kernel and engine in memory, and the operator's own composition (src/root) on them.
 *
 * Rule: what a killed process would still do is done no more: its lines are dead. The kernel and the state files stay.
 */
import { BehaviorSubject } from "rxjs";
import { parseConfig } from "../../src/config.ts";
import type { Engine } from "../../src/core/engine.ts";
import type { EventName } from "../../src/core/events.ts";
import type { Ipv4, NodeId } from "../../src/core/ids.ts";
import type { Task } from "../../src/core/model.ts";
import { keysBelow } from "../../src/core/names.ts";
import { encodeSubnetLease } from "../../src/core/records.ts";
import type { Change } from "../../src/core/plan.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import { Admission } from "../../src/plugin/admission.ts";
import { ipamDriver } from "../../src/plugin/ipam-driver.ts";
import { networkDriver } from "../../src/plugin/network-driver.ts";
import { METHODS } from "../../src/plugin/protocol.ts";
import { facts, type Facts } from "../../src/root/facts.ts";
import { followIdentity, leaveKeys } from "../../src/root/identity.ts";
import { operate, type Facilities, type Operator } from "../../src/root/operator.ts";
import { firewall } from "../../src/sinks/firewall.ts";
import { decodeState, encodeState } from "../../src/sinks/state-file.ts";
import { FakeBalancing } from "../fakes/balancing.ts";
import { FakeDns } from "../fakes/dns.ts";
import type { FakeEtcd, Line } from "../fakes/etcd.ts";
import { FakeFlanneld } from "../fakes/flanneld.ts";
import { faulty, seeded } from "../fakes/faulty.ts";
import { FakeIptables } from "../fakes/iptables.ts";
import { FakeHost } from "../fakes/links.ts";
import { FakeNft } from "../fakes/nft-table.ts";
import { FakeDocker, type Swarm } from "../fakes/swarm.ts";

export const keys = keysBelow("/flannel");
const { config } = parseConfig({ AVAILABLE_SUBNETS: "10.1.0.0/16", NETWORK_SUBNET_SIZE: "20", DEFAULT_HOST_SUBNET_SIZE: "25", BALANCER: "nftables" });

export interface Setting { readonly etcd: FakeEtcd; readonly swarm: Swarm; readonly seed: number; /** Share of calls that fail. */ readonly rate: number }
/** One life of the operator's process. */
interface Life extends Operator { readonly known: Facts; readonly calls: Readonly<Record<string, (body: object) => Promise<unknown>>>; alive: boolean }

/** A state file as text, so that it can be lost or cut off. */
class Disk {
  text = "";
  readonly read = (): unknown => {
    const decoded = decodeState(this.text);
    return "state" in decoded ? decoded.state : undefined;
  };
  readonly write = (state: unknown): Promise<void> => {
    this.text = encodeState(state);
    return Promise.resolve();
  };
}

export class Node {
  readonly name: string;
  readonly publicIp: Ipv4;
  readonly docker: FakeDocker;
  host = new FakeHost();
  nft = new FakeNft();
  iptables = new FakeIptables();
  readonly balancing = new FakeBalancing();
  readonly dns = new FakeDns();
  readonly flanneld: FakeFlanneld;
  readonly state = new Disk();
  readonly others = new Disk();
  /** Places that this node cannot reach. */
  readonly cut = new Set<"docker" | "etcd">();
  /** A machine that is off answers no probe. */
  isUp = true;
  readonly said: { readonly event: EventName; readonly fields: unknown }[] = [];
  life: Life | undefined;
  /** Sees every change of a facility before it is made. */
  onApply: (facility: string, changes: readonly Change[]) => Promise<void> = () => Promise.resolve();
  readonly #setting: Setting;
  readonly #random: () => number;
  /** Somebody looks who must not be disturbed. */
  #isCalm = false;

  constructor(name: string, publicIp: Ipv4, role: "manager" | "worker", setting: Setting) {
    [this.name, this.publicIp, this.#setting] = [name, publicIp, setting];
    this.#random = seeded(setting.seed);
    this.docker = new FakeDocker(setting.swarm, name as NodeId, role);
    this.flanneld = new FakeFlanneld(({ flannelId, subnet, mac, vni }) => {
      if (this.cut.has("etcd")) return false;
      setting.etcd.put(keys.subnet(flannelId, subnet), encodeSubnetLease({ flannelId, subnet, publicIp, vtepMac: mac }, vni));
      return true;
    });
  }

  /** Those on networks that there are. */
  tasks(): readonly Task[] {
    const { tasks, networks } = this.#setting.swarm;
    return [...tasks.values()].filter((task) => task.networks.some((id) => networks.has(id))).map(({ record }) => record);
  }

  /** No call fails meanwhile. */
  async calmly<T>(work: () => Promise<T>): Promise<T> {
    this.#isCalm = true;
    try { return await work(); } finally { this.#isCalm = false; }
  }

  get engine(): Engine | undefined { return this.life?.engine; }
  probes: (address: Ipv4) => boolean = () => true;

  start(): void {
    const life = { alive: true };
    const line = (place: "docker" | "etcd"): Line => ({
      isAlive: () => life.alive, isCut: () => this.cut.has(place), fails: () => !this.#isCalm && this.#random() < this.#setting.rate,
    });
    const emit = (event: EventName, fields: unknown): void => { if (life.alive) this.said.push({ event, fields }); };
    const base = { config, keys, emit, admission: new Admission() };
    const gate = <A extends readonly unknown[], T>(call: (...args: A) => T) => (...args: A): T | Promise<never> => (life.alive ? call(...args) : new Promise<never>(() => undefined));
    const underlay = { link: "eth0", address: this.publicIp, mtuBytes: 1500 };
    const known = facts(base, { underlay$: new BehaviorSubject<typeof underlay | undefined>(underlay), names$: new BehaviorSubject<readonly string[] | undefined>(["flannel-np:latest"]) }, {
      docker: this.docker.api(line("docker")), etcd: this.#setting.etcd.client(line("etcd")), hostname: this.name, routes: () => Promise.resolve([]),
      probe: (address) => Promise.resolve(this.probes(address) ? "answered" : "silent"),
      state: { read: this.state.read, write: gate(this.state.write), note: gate(this.state.write) },
      others: { read: this.others.read, write: gate(this.others.write) },
    });
    const operator = operate(base, known, this.#facilities(life));
    followIdentity(base, known, operator.lease);
    this.life = Object.assign(life, { ...operator, known, calls: this.#calls(base, known, operator) });
  }

  /** SIGKILL. */
  kill(): void {
    if (this.life === undefined) return;
    this.life.alive = false;
    this.life.lease.stop();
    void this.life.engine.stop().catch(() => undefined);
    this.life = undefined;
    this.flanneld.ended();
    this.dns.ended();
  }

  /** SIGTERM. */
  async stop(): Promise<void> {
    if (this.life === undefined) return;
    await this.life.engine.stop();
    await leaveKeys({ keys }, this.life.known, this.life.lease);
    await this.life.known.save();
    this.kill();
  }

  /** The machine's end: the kernel's tables and the engine's containers with it. */
  off(): void {
    this.kill();
    this.isUp = false;
    [this.host, this.nft, this.iptables] = [new FakeHost(), new FakeNft(), new FakeIptables()];
    this.balancing.gone();
    this.flanneld.gone();
    this.dns.namespaces.clear();
    this.docker.boxes.clear();
    this.docker.local.clear();
  }

  #calls(base: { readonly emit: (event: EventName, fields: unknown) => void; readonly admission: Admission }, { book, memory, snapshot$ }: Facts, { engine }: Operator): Life["calls"] {
    const drivers: Readonly<Record<string, unknown>> = {
      ...networkDriver({ book, engine, intents: memory, snapshot: () => snapshot$.value, ...base }), ...ipamDriver(book, base.admission),
    };
    return Object.fromEntries(Object.entries(METHODS).map(([method, { decode }]) => {
      const [, name = ""] = method.split(".");
      const call = drivers[`${name.charAt(0).toLowerCase()}${name.slice(1)}`] as (request: unknown, signal: AbortSignal) => Promise<unknown>;
      return [method, (body: object) => call(decode(body), new AbortController().signal)];
    }));
  }

  #facilities(life: { readonly alive: boolean }): Facilities {
    let seed = this.#setting.seed;
    const seen = <O, C extends Change>(facility: string, sink: Sink<O, C>): Sink<O, C> => {
      const watched: Sink<O, C> = {
        observe: (signal) => (life.alive ? sink.observe(signal) : new Promise(() => undefined)),
        apply: async (changes, signal) => {
          if (!life.alive) return new Promise(() => undefined);
          await this.onApply(facility, changes);
          return sink.apply(changes, signal);
        },
      };
      seed += 1;
      const troubled = faulty(watched, { seed, rate: this.#setting.rate });
      return { observe: (signal) => (this.#isCalm ? watched : troubled).observe(signal), apply: (changes, signal) => (this.#isCalm ? watched : troubled).apply(changes, signal) };
    };
    return {
      firewall: seen("firewall", firewall(this.nft.table, this.iptables.chain)), gateways: seen("gateways", this.host.gateways),
      flanneld: { ...seen("flannel", this.flanneld), carried: () => this.flanneld.carried() }, endpoints: seen("endpoints", this.host.endpoints), dns: seen("dns", this.dns),
      balancer: { engine: "nftables", vips: seen("vips", this.balancing.vips), services: seen("balancer", this.balancing.services) },
    };
  }
}
