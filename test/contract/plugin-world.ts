/**
 * Docker as the caller of a plugin that is killed again and again, and the truth about who holds which address, kept apart from it.
 *
 * In:  a seed.  Out: one random step after another, by HTTP; each answer is held against what lives and what rests by the wall clock.
 */
import { REST_MS } from "../../src/core/addresses.ts";
import { DockerDesk } from "./docker-desk.ts";
import { randomOf } from "./ipam-world.ts";
import type { Answer, PluginStand } from "./plugin-stand.ts";

const GATEWAY = { RequestAddressType: "com.docker.network.gateway" };
const MAC = "com.docker.network.endpoint.macaddress";
/** The plugin's clock may have told its time this much before ours. */
const SLACK_MS = 200;

interface Net { readonly id: string; readonly cidr: string; readonly pool: string; readonly gateway: string }

export class PluginWorld {
  readonly desk = new DockerDesk();
  readonly random: (below: number) => number;
  readonly counts = { steps: 0, kills: 0, granted: 0, unanswered: 0, refused: 0, repeated: 0 };
  readonly nets: Net[] = [];
  readonly #stand: PluginStand;
  readonly #freedAt = new Map<string, number>();
  #serial = 0;

  constructor(stand: PluginStand, seed: number) {
    this.#stand = stand;
    this.random = randomOf(seed);
  }

  /** Undefined: refused, or no answer because the process died; Docker then knows nothing. */
  async #call(method: string, body: object): Promise<Answer["body"] | undefined> {
    // Now and then the process dies while it works.
    const dies = this.random(150) === 0;
    const asked = this.#stand.ask(method, body);
    if (dies) await this.restart(this.random(8));
    const answer = await asked;
    if (answer === undefined) this.counts.unanswered += 1;
    else if (answer.status !== 200) this.counts.refused += 1;
    return answer?.status === 200 ? answer.body : undefined;
  }

  async restart(afterMs = 0): Promise<void> {
    await new Promise((resolve) => { setTimeout(resolve, afterMs); });
    await this.#stand.kill();
    this.counts.kills += 1;
    await this.#stand.start();
  }

  async makeNetwork(): Promise<void> {
    const id = `net${this.#serial++}`;
    const pool = await this.#call("IpamDriver.RequestPool", { AddressSpace: "fnp-global", Pool: "", SubPool: "", Options: {}, V6: false });
    if (pool === undefined) return;
    const name = String(pool["PoolID"]).slice(2);
    const cidr = String(pool["Pool"]);
    const gateway = await this.#call("IpamDriver.RequestAddress", { PoolID: `G:${name}`, Address: "", Options: GATEWAY });
    const made = await this.#call("NetworkDriver.AllocateNetwork", { NetworkID: id, Options: {}, IPv6Data: null, IPv4Data: [{ AddressSpace: "", Gateway: gateway?.["Address"] ?? "", Pool: cidr }] });
    if (gateway === undefined || made === undefined) return;
    if (this.nets.some((net) => net.pool === name || net.cidr === cidr)) throw new Error(`range ${cidr} was given twice`);
    this.nets.push({ id, cidr, pool: name, gateway: String(gateway["Address"]).split("/")[0] ?? "" });
    this.desk.networks.set(id, { id, cidr });
    this.desk.tell("network", "create", id, { name: id }, "swarm");
  }

  #judge(net: Net, answer: Answer["body"]): string {
    const address = String(answer["Address"]).split("/")[0] ?? "";
    this.counts.granted += 1;
    const holder = [...this.desk.boxes.values(), ...[...this.desk.services.values()].map(({ id, vip }) => ({ id, address: vip }))].find((one) => one.address === address);
    if (holder !== undefined) throw new Error(`${address} was given twice: ${holder.id} has it`);
    if (address === net.gateway) throw new Error(`${address} is the gateway of ${net.id}`);
    const rested = Date.now() - (this.#freedAt.get(address) ?? -Infinity);
    if (rested < REST_MS - SLACK_MS) throw new Error(`${address} rested only ${rested} ms`);
    return address;
  }

  async start(net: Net): Promise<void> {
    if (await this.#call("IpamDriver.RequestPool", { AddressSpace: "fnp-local", Pool: net.cidr, SubPool: "", Options: {}, V6: false }) === undefined) return;
    const n = this.#serial++;
    const mac = `02:42:00:00:${(n >> 8 & 255).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`;
    const answer = await this.#call("IpamDriver.RequestAddress", { PoolID: `L:${net.pool}`, Address: "", Options: { [MAC]: mac } });
    if (answer === undefined) return;
    const address = this.#judge(net, answer);
    const box = { id: `box${n}`, network: net.id, endpoint: `endpoint${n}`, address, sandbox: `s${n}` };
    const both = { NetworkID: net.id, EndpointID: box.endpoint };
    const made = await this.#twice("NetworkDriver.CreateEndpoint", { ...both, Interface: { Address: String(answer["Address"]), AddressIPv6: "", MacAddress: mac }, Options: {} });
    const joined = made === undefined ? undefined : await this.#twice("NetworkDriver.Join", { ...both, SandboxKey: `/run/docker/netns/${box.sandbox}`, Options: {} });
    if (joined === undefined) return this.#over(net, box.endpoint, address);
    this.desk.boxes.set(box.id, box);
    this.desk.tell("container", "start", box.id);
  }

  /** Docker repeats a call whose answer it did not get. */
  async #twice(method: string, body: object): Promise<Answer["body"] | undefined> {
    const first = await this.#call(method, body);
    if (first !== undefined && this.random(10) > 0) return first;
    this.counts.repeated += 1;
    return this.#call(method, body);
  }

  async #over(net: Net, endpoint: string, address: string): Promise<void> {
    this.#freedAt.set(address, Date.now());
    const both = { NetworkID: net.id, EndpointID: endpoint };
    // A call may get lost, or come in another order, or twice.
    const calls: (readonly [string, object])[] = [
      ["NetworkDriver.Leave", both], ["NetworkDriver.DeleteEndpoint", both], ["IpamDriver.ReleaseAddress", { PoolID: `L:${net.pool}`, Address: address }],
    ];
    if (this.random(6) === 0) calls.reverse();
    for (const [method, body] of calls) {
      if (this.random(12) === 0) continue;
      await this.#twice(method, body);
    }
  }

  async stop(): Promise<void> {
    const box = [...this.desk.boxes.values()][this.random(this.desk.boxes.size)];
    const net = this.nets.find(({ id }) => id === box?.network);
    if (box === undefined || net === undefined) return;
    this.desk.boxes.delete(box.id);
    await this.#over(net, box.endpoint, box.address);
    this.desk.tell("container", "die", box.id);
  }

  async serve(net: Net): Promise<void> {
    const answer = await this.#call("IpamDriver.RequestAddress", { PoolID: `G:${net.pool}`, Address: "", Options: {} });
    if (answer === undefined) return;
    const id = `service${this.#serial++}`;
    this.desk.services.set(id, { id, network: net.id, vip: this.#judge(net, answer) });
    this.desk.tell("service", "create", id, { name: id }, "swarm");
  }

  async unserve(): Promise<void> {
    const service = [...this.desk.services.values()][this.random(this.desk.services.size)];
    const net = this.nets.find(({ id }) => id === service?.network);
    if (service === undefined || net === undefined) return;
    this.desk.services.delete(service.id);
    this.desk.tell("service", "remove", service.id, { name: service.id }, "swarm");
    this.#freedAt.set(service.vip, Date.now());
    await this.#call("IpamDriver.ReleaseAddress", { PoolID: `G:${net.pool}`, Address: service.vip });
  }

  async step(): Promise<void> {
    this.counts.steps += 1;
    const net = this.nets[this.random(this.nets.length)];
    const dice = this.random(100);
    if (net === undefined || (dice === 0 && this.nets.length < 3)) await this.makeNetwork();
    else if (dice < 45) await this.start(net);
    else if (dice < 78) await this.stop();
    else if (dice < 88) await this.serve(net);
    else if (dice < 94) await this.unserve();
    else if (dice < 97) this.desk.silence();
    else if (dice < 98) await this.restart();
    if (this.random(2) === 0) this.desk.answers = true;
  }
}
