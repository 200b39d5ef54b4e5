/**
 * A node with one small network, its Docker, its clock and its process, as random steps see them.
 *
 * Rule: what really lives is kept apart from what Docker has told; the book is asked only what Docker would ask.
 */
import { expect } from "@jest/globals";
import { AddressBook, type Claims, type LedgerState } from "../../src/core/address-book.ts";
import { GRANT_GRACE_MS, REST_MS } from "../../src/core/addresses.ts";
import { OperatorError } from "../../src/core/errors.ts";
import { contains, nth, sizeOf, type EndpointId, type Ipv4 } from "../../src/core/ids.ts";
import type { Endpoint, Intents, Pool, Service, Views } from "../../src/core/model.ts";
import { unknownView, type View } from "../../src/core/precedence.ts";
import { snapshotOf } from "../../src/core/snapshot.ts";
import { Memory } from "../../src/sources/memory.ts";
import { cidr, ip, lease, MY_IP, network, networkId, NODE, pool, service } from "../plan/builders.ts";

/** 4 × 8 addresses: 5 to give in the service range, 5 in this node's subnet, so that every address soon comes round. */
export const SMALL: Pool = pool(1, { cidr: cidr("10.1.0.0/27"), serviceRange: cidr("10.1.0.0/29"), hostSubnetLength: 29 });
export const OWN = cidr("10.1.0.8/29");
/** After this long a starting container runs or has failed (docker's own deadlines lie far below). */
const STARTED_MS = 60_000;

export type Step =
  | { readonly do: "start" | "vip" | "placeholder"; readonly count: number }
  | { readonly do: "stop" | "crash" | "unvip" | "restart" | "node-gateway" | "lost-start" | "failed-start" }
  | { readonly do: "hint"; readonly host: number }
  | { readonly do: "clock"; readonly ms: number }
  | { readonly do: "listing"; readonly complete: boolean };

interface Box { readonly endpoint: Endpoint; readonly sinceMs: number }
const nobody: Claims = Object.fromEntries(["claimPool", "findPool", "bindPool", "claimLease", "releasePool"].map((name) =>
  [name, () => { throw new Error(`${name} must not be needed`); }])) as unknown as Claims;
const complete = <T>(items: readonly (readonly [string, T])[]): View<T> => ({ coverage: "complete", items: new Map(items) });
const empty: Views = {
  networks: unknownView(), services: unknownView(), tasks: unknownView(), containers: unknownView(), endpoints: unknownView(),
  pools: unknownView(), subnets: unknownView(), members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
};

export class Model {
  nowMs = 1_000_000;
  #listening = true;
  #told: readonly Endpoint[] = [];
  #told$: readonly Service[] = [];
  #boxes = new Map<Ipv4, Box>();
  #vips = new Map<Ipv4, number>();
  #grantedAt = new Map<Ipv4, number>();
  #freedAt = new Map<Ipv4, number>();
  #serial = 0;
  #saved: LedgerState = {};
  #memory = new Memory(empty, () => this.nowMs);
  #book = this.#newBook({});

  #newBook(kept: LedgerState): AddressBook {
    const book: AddressBook = new AddressBook({
      claims: nobody, own: this.#memory, now: () => this.nowMs, emit: () => undefined, snapshot: () => this.#snapshot(),
      save: () => { this.#saved = JSON.parse(JSON.stringify(book.state())) as LedgerState; return Promise.resolve(); },
    }, kept);
    return book;
  }

  #views(): Views {
    const view = <T extends { readonly id: string }>(items: readonly T[]): View<T> =>
      ({ coverage: this.#listening ? "complete" : "unknown", items: new Map(items.map((item) => [item.id, item])) });
    return { ...empty, endpoints: view(this.#told), services: view(this.#told$), networks: view([network(1)]), node: complete([["self", {
      id: NODE, hostname: "box", role: "manager", leader: true, dockerSeen: true, underlay: { link: "eth0", address: MY_IP, mtuBytes: 1500 },
    }]]) };
  }

  #snapshot(): ReturnType<typeof snapshotOf> {
    let intents: Intents | undefined;
    this.#memory.intents$.subscribe((now) => { intents = now; }).unsubscribe();
    const etcd: Views = { ...empty, pools: complete([[SMALL.cidr, SMALL]]), subnets: complete([["own", lease(1, 1, { subnet: OWN })]]) };
    return snapshotOf({ docker: this.#views(), etcd, memory: empty }, intents ?? { begun: new Map(), ended: new Set(), pools: new Map(), subnets: new Map(), grants: new Map() }, 1, this.nowMs);
  }

  /** While Docker answers, its listing follows what is. */
  #listen(): void {
    if (!this.#listening) return;
    this.#told = [...this.#boxes.values()].filter(({ sinceMs }) => this.nowMs - sinceMs >= STARTED_MS / 2).map(({ endpoint }) => endpoint);
    this.#told$ = [...this.#vips.keys()].map((address, n) => service(n, { vips: [{ network: networkId(1), address }] }));
    this.#memory.confirmDocker(this.#views());
  }

  async #ask(asked: Promise<string>): Promise<Ipv4 | undefined> {
    try {
      return ip((await asked).split("/")[0] ?? "");
    } catch (error) {
      expect(error).toBeInstanceOf(OperatorError);
      expect(error).toMatchObject({ code: "exhausted", cure: expect.any(String) });
      return undefined;
    }
  }

  #freshFrom(range: Pool["cidr"], address: Ipv4): void {
    expect(contains(range, address)).toBe(true);
    expect([nth(range, 0), nth(range, 1), nth(range, sizeOf(range) - 1)]).not.toContain(address);
    expect({ address, rested: this.nowMs - (this.#freedAt.get(address) ?? -Infinity) >= REST_MS }).toEqual({ address, rested: true });
  }

  async #nodeAddress(): Promise<Ipv4 | undefined> {
    const address = await this.#ask(this.#book.nodeAddress(SMALL.flannelId, { gateway: false, owner: `mac-${this.#serial++}` }));
    if (address === undefined) return undefined;
    this.#freshFrom(OWN, address);
    expect([...this.#boxes.keys()]).not.toContain(address);
    this.#boxes.set(address, { endpoint: { id: `ep-${this.#serial++}` as EndpointId, network: networkId(1), address, stage: "created" }, sinceMs: this.nowMs });
    return address;
  }

  async #managerAddress(): Promise<Ipv4 | undefined> {
    const address = await this.#ask(this.#book.managerAddress(SMALL.flannelId, { gateway: false }));
    if (address === undefined) return undefined;
    this.#freshFrom(SMALL.serviceRange, address);
    expect([...this.#vips.keys()]).not.toContain(address);
    expect({ address, old: this.nowMs - (this.#grantedAt.get(address) ?? -Infinity) > GRANT_GRACE_MS }).toEqual({ address, old: true });
    this.#grantedAt.set(address, this.nowMs);
    return address;
  }

  async #end(how: "stop" | "crash"): Promise<void> {
    const [first] = this.#boxes;
    if (first === undefined) return;
    const [address, { endpoint }] = first;
    this.#boxes.delete(address);
    this.#freedAt.set(address, this.nowMs);
    if (how === "crash") return;
    this.#memory.end(endpoint.id);
    await this.#book.release("node", SMALL.flannelId, address);
  }

  async #give(address: Ipv4 | undefined, then: "joins" | "is lost" | "is released"): Promise<void> {
    const box = address === undefined ? undefined : this.#boxes.get(address);
    if (address === undefined || box === undefined) return;
    if (then === "joins") return this.#memory.begin(box.endpoint);
    this.#boxes.delete(address);
    this.#freedAt.set(address, this.nowMs);
    if (then === "is released") await this.#book.release("node", SMALL.flannelId, address);
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case "start": for (const address of await Promise.all(Array.from({ length: step.count }, () => this.#nodeAddress()))) await this.#give(address, "joins"); break;
      case "lost-start": await this.#give(await this.#nodeAddress(), "is lost"); break;
      case "failed-start": await this.#give(await this.#nodeAddress(), "is released"); break;
      case "vip": for (const address of await Promise.all(Array.from({ length: step.count }, () => this.#managerAddress()))) if (address !== undefined) this.#vips.set(address, this.nowMs); break;
      case "placeholder": await Promise.all(Array.from({ length: step.count }, () => this.#managerAddress())); break;
      case "stop": case "crash": await this.#end(step.do); break;
      case "unvip": for (const [address] of [...this.#vips].slice(0, 1)) { this.#vips.delete(address); this.#freedAt.set(address, this.nowMs); } break;
      case "hint": await this.#book.release("manager", SMALL.flannelId, nth(SMALL.cidr, step.host)); break;
      case "node-gateway": expect(await this.#book.nodeAddress(SMALL.flannelId, { gateway: true, owner: "gateway" })).toBe("10.1.0.9/29"); break;
      case "clock": this.nowMs += step.ms; break;
      case "listing": this.#listening = step.complete; break;
      case "restart": this.#memory = new Memory(empty, () => this.nowMs); this.#book = this.#newBook(this.#saved); break;
    }
    this.#listen();
  }
}
