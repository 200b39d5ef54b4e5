/**
 * Docker as a client of the address book, and the truth about who holds which address, kept apart from the process under test.
 *
 * In:  a seed.  Out: one random step after another; each answer is held against what lives and what rests.
 */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { REST_MS } from "../../src/core/addresses.ts";
import type { Cidr, EndpointId, Ipv4, NetworkId } from "../../src/core/ids.ts";
import type { Endpoint, Service } from "../../src/core/model.ts";
import { network, service } from "../plan/builders.ts";
import type { Command, Reply } from "./ipam-process.ts";

const CHILD = fileURLToPath(new URL("ipam-process.ts", import.meta.url));

/** One life of the process. */
export class Life {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, (reply: Reply | undefined) => void>();
  #serial = 0;
  readonly gone: Promise<unknown>;

  constructor(endpoint: string, folder: string, nowMs: number) {
    mkdirSync(`${folder}/note`, { recursive: true });
    this.#child = spawn(process.execPath, ["--import", "tsx", CHILD, endpoint, folder, String(nowMs)], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin.on("error", () => undefined);
    this.gone = new Promise((resolve) => { this.#child.once("exit", resolve); }).then(() => { for (const answer of this.#waiting.values()) answer(undefined); });
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const reply = JSON.parse(line) as Reply & { readonly id: number };
      this.#waiting.get(reply.id)?.(reply);
      this.#waiting.delete(reply.id);
    });
  }

  /** Undefined when the process died before it answered. */
  ask(command: Command): Promise<Reply | undefined> {
    const id = this.#serial++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.stdin.write(`${JSON.stringify({ id, command })}\n`);
    });
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.gone;
  }
}

/** mulberry32: small, seeded, good enough to choose steps by. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

interface Net { readonly id: NetworkId; readonly cidr: Cidr; readonly flannelId: string; readonly gateway: string }

export class World {
  readonly random: (below: number) => number;
  readonly #endpoint: string;
  readonly #folder: string;
  nowMs = 1_700_000_000_000;
  life: Life;
  readonly nets: Net[] = [];
  /** `<flannel-id> <address>` → who has it. */
  readonly boxes = new Map<string, Endpoint>();
  readonly vips = new Map<string, Service>();
  readonly placeholders: { readonly net: Net; readonly address: Ipv4 }[] = [];
  readonly #freedAt = new Map<string, number>();
  #serial = 0;
  #listening = true;
  readonly counts = { steps: 0, kills: 0, granted: 0, exhausted: 0, replayed: 0 };

  constructor(endpoint: string, folder: string, seed: number) {
    this.random = randomOf(seed);
    [this.#endpoint, this.#folder] = [endpoint, folder];
    this.life = this.#born();
  }

  #born(): Life { return new Life(this.#endpoint, this.#folder, this.nowMs); }

  async restart(): Promise<void> {
    await this.life.kill();
    this.counts.kills++;
    this.life = this.#born();
  }

  /** Docker's listing as of now; an old one stays while Docker is silent. */
  async tell(): Promise<void> {
    await this.life.ask({ do: "docker", listing: {
      complete: this.#listening, endpoints: [...this.boxes.values()], services: [...this.vips.values()],
      networks: this.nets.map(({ id, cidr }) => network(1, { id, cidr })),
    } });
  }

  async #call(method: Extract<Command, { do: "call" }>["method"], body: object): Promise<Record<string, string> | undefined> {
    const asking = this.life.ask({ do: "call", method, body });
    if (this.random(2_000) === 0) await this.restart();
    const reply = await asking;
    if (reply?.error !== undefined && reply.error.code !== "exhausted") throw new Error(`${method} ${JSON.stringify(body)}: ${reply.error.code} ${reply.error.message}`);
    if (reply?.error !== undefined) this.counts.exhausted++;
    return reply?.ok as Record<string, string> | undefined;
  }

  async makeNetwork(): Promise<void> {
    const id = `net-${this.#serial++}` as NetworkId;
    const pool = await this.#call("IpamDriver.RequestPool", { AddressSpace: "fnp-global", Pool: "", SubPool: "", Options: {}, V6: false });
    if (pool === undefined) return;
    const flannelId = (pool["PoolID"] ?? "").slice(2);
    const gateway = await this.#call("IpamDriver.RequestAddress", { PoolID: `G:${flannelId}`, Address: "", Options: { RequestAddressType: "com.docker.network.gateway" } });
    const bound = await this.life.ask({ do: "bind", network: id, cidr: pool["Pool"] as Cidr });
    if (gateway === undefined || bound?.error !== undefined || bound === undefined) return;
    if (this.nets.some((net) => net.flannelId === flannelId || net.cidr === pool["Pool"])) throw new Error(`range ${pool["Pool"]} given twice`);
    this.nets.push({ id, cidr: pool["Pool"] as Cidr, flannelId, gateway: gateway["Address"] ?? "" });
    await this.#nodeSide(this.nets.at(-1) as Net);
  }

  async #nodeSide({ cidr, flannelId }: Net): Promise<void> {
    await this.#call("IpamDriver.RequestPool", { AddressSpace: "fnp-local", Pool: cidr, SubPool: "", Options: {}, V6: false });
    await this.#call("IpamDriver.RequestAddress", { PoolID: `L:${flannelId}`, Address: "", Options: { RequestAddressType: "com.docker.network.gateway" } });
  }

  /** An answer is right when nobody living has the address and it has rested. */
  #judge(net: Net, answer: Record<string, string>, what: string): Ipv4 {
    const address = (answer["Address"] ?? "").split("/")[0] as Ipv4;
    const key = `${net.flannelId} ${address}`;
    this.counts.granted++;
    if (this.boxes.has(key) || this.vips.has(key)) throw new Error(`${what}: ${key} given twice`);
    if (net.gateway.startsWith(`${address}/`)) throw new Error(`${what}: ${key} is the gateway`);
    const rested = this.nowMs - (this.#freedAt.get(key) ?? -Infinity);
    if (rested < REST_MS) throw new Error(`${what}: ${key} rested only ${rested} ms`);
    return address;
  }

  async start(net: Net): Promise<void> {
    const mac = `02:42:00:00:${(this.#serial >> 8 & 255).toString(16).padStart(2, "0")}:${(this.#serial++ & 255).toString(16).padStart(2, "0")}`;
    const answer = await this.#call("IpamDriver.RequestAddress", { PoolID: `L:${net.flannelId}`, Address: "", Options: { "com.docker.network.endpoint.macaddress": mac } });
    if (answer === undefined) return;
    const address = this.#judge(net, answer, "container");
    const key = `${net.flannelId} ${address}`;
    // A start that fails: given back, or forgotten by a dockerd that died.
    if (this.random(8) === 0) {
      if (this.random(2) === 0) await this.#call("IpamDriver.ReleaseAddress", { PoolID: `L:${net.flannelId}`, Address: address });
      this.#freedAt.set(key, this.nowMs);
      return;
    }
    const endpoint: Endpoint = { id: `ep-${this.#serial++}` as EndpointId, network: net.id, address, stage: "joined" };
    this.boxes.set(key, endpoint);
    await this.life.ask({ do: "begin", endpoint });
  }

  async stop(): Promise<void> {
    const [key, endpoint] = [...this.boxes][this.random(this.boxes.size)] ?? [];
    if (key === undefined || endpoint === undefined) return;
    const [flannelId = "", address = ""] = key.split(" ");
    this.boxes.delete(key);
    this.#freedAt.set(key, this.nowMs);
    if (this.random(4) === 0) return;
    await this.life.ask({ do: "end", endpoint: endpoint.id });
    for (let n = this.random(3) + 1; n > 0; n--) await this.#call("IpamDriver.ReleaseAddress", { PoolID: `L:${flannelId}`, Address: address });
    // The allocator's own release, and a stranger's.
    await this.#call("IpamDriver.ReleaseAddress", { PoolID: this.random(2) === 0 ? "" : `G:${flannelId}`, Address: address });
  }

  async serve(net: Net): Promise<void> {
    const answer = await this.#call("IpamDriver.RequestAddress", { PoolID: `G:${net.flannelId}`, Address: "", Options: {} });
    if (answer === undefined) return;
    const address = this.#judge(net, answer, "service");
    if (this.random(3) > 0) this.placeholders.push({ net, address });
    else this.vips.set(`${net.flannelId} ${address}`, service(this.#serial++, { vips: [{ network: net.id, address }] }));
  }

  async unserve(): Promise<void> {
    const [key] = [...this.vips][this.random(this.vips.size)] ?? [];
    if (key === undefined) return;
    this.vips.delete(key);
    this.#freedAt.set(key, this.nowMs);
    const [flannelId = "", address = ""] = key.split(" ");
    await this.#call("IpamDriver.ReleaseAddress", { PoolID: `G:${flannelId}`, Address: address });
  }

  /** What a new leader's plugin is asked (protocol §4.2): the same must come back. */
  async replay(): Promise<void> {
    this.counts.replayed++;
    for (const net of this.nets) {
      const options = { "com.docker.network.ipam.serial": "true" };
      const pool = await this.#call("IpamDriver.RequestPool", { AddressSpace: "fnp-global", Pool: net.cidr, SubPool: "", Options: options, V6: false });
      if (pool !== undefined && pool["PoolID"] !== `G:${net.flannelId}`) throw new Error(`replay of ${net.cidr}: ${pool["PoolID"]}`);
      const same = async (address: string, type: object): Promise<void> => {
        const answer = await this.#call("IpamDriver.RequestAddress", { PoolID: `G:${net.flannelId}`, Address: address.split("/")[0] ?? "", Options: { ...options, ...type } });
        if (answer !== undefined && !(answer["Address"] ?? "").startsWith(`${address.split("/")[0]}/`)) throw new Error(`replay of ${address}: ${answer["Address"]}`);
      };
      await same(net.gateway, { RequestAddressType: "com.docker.network.gateway" });
      for (const [key] of this.vips) if (key.startsWith(`${net.flannelId} `)) await same(key.split(" ")[1] ?? "", {});
    }
  }

  async clock(ms: number): Promise<void> {
    this.nowMs += ms;
    await this.life.ask({ do: "clock", nowMs: this.nowMs });
  }

  async step(): Promise<void> {
    this.counts.steps++;
    const net = this.nets[this.random(this.nets.length)];
    const dice = this.random(100);
    if (net === undefined || (dice === 0 && this.nets.length < 4)) await this.makeNetwork();
    else if (dice < 38) await this.start(net);
    else if (dice < 66) await this.stop();
    else if (dice < 78) await this.serve(net);
    else if (dice < 84) await this.unserve();
    else if (dice < 95) await this.clock([10, 1_000, 5_000, 29_000, 31_000][this.random(5)] ?? 1);
    else if (dice < 96) await this.clock(400_000);
    else if (dice < 97) await this.replay();
    else if (dice < 99) this.#listening = this.random(3) > 0;
    else if (this.random(8) === 0) await this.restart();
    if (this.random(3) === 0) await this.tell();
  }
}
