/**
 * What the manager's side refused and swarm does not tell its user: `docker network create` succeeds whatever we say.
 *
 * In:  refusals and successes as they happen, Docker's list of networks that got no driver.  Out: problems for `status`.
 * Rule: pure but for what it remembers. A refusal stays as long as its network waits; Docker never passes a network's name
 * or id with RequestPool, so the network is the one made just before (protocol §3.3); what no network waits for is forgotten.
 */
import type { OperatorError } from "./errors.ts";
import type { NetworkId } from "./ids.ts";

/** A swarm network that its allocator could not complete: Docker lists it without a driver. */
export interface WaitingNetwork { readonly id: NetworkId; readonly name: string; readonly createdAtMs: number }
export interface RefusedNetwork { readonly what: string; readonly reason: string; readonly cure: string }

export interface Refused {
  /** Tells one request from another; a repetition takes its place. */
  readonly asked: string;
  /** A container's request concerns a network that is well. */
  readonly by: "network" | "container";
  readonly what: string;
  readonly error: OperatorError;
  /** Where Docker named it. */
  readonly network?: NetworkId;
}
interface Entry extends Refused { readonly atMs: number; networks: readonly WaitingNetwork[]; bound: boolean }

/** The allocator asks at once. */
const MADE_BEFORE_MS = 10_000;
/** A container's start is given up by then, and what it asked for is of no interest any more. */
const CONTAINER_MS = 30_000;
/** Most that are remembered; the oldest go first. */
const MOST = 100;

export class Refusals {
  readonly #entries = new Map<string, Entry>();
  /** Refusals whose network is to be found by the time it was made: each takes the last one made before it. */
  #unnamed: { readonly asked: string; readonly atMs: number }[] = [];
  readonly #now: () => number;

  constructor(now: () => number) { this.#now = now; }

  get isEmpty(): boolean { return this.#entries.size === 0; }

  refused(refused: Refused): void {
    const { asked, by, network } = refused;
    const atMs = this.#now();
    const named = network === undefined ? [] : [{ id: network, name: network, createdAtMs: atMs }];
    const networks = this.#entries.get(asked)?.networks ?? named;
    this.#entries.delete(asked);
    for (const oldest of [...this.#entries.keys()].slice(0, Math.max(0, this.#entries.size + 1 - MOST))) this.#entries.delete(oldest);
    this.#entries.set(asked, { ...refused, atMs, networks, bound: networks.length > 0 });
    if (network === undefined && by === "network" && this.#unnamed.length < MOST) this.#unnamed.push({ asked, atMs });
  }

  granted(asked: string): void { this.#entries.delete(asked); }

  /** Docker's complete list and when it was asked for: of what was refused later it says nothing. Answers the networks found to be refused. */
  listed(waiting: readonly WaitingNetwork[], askedAtMs = this.#now()): readonly { readonly network: NetworkId; readonly error: OperatorError }[] {
    const there = new Map(waiting.map((network) => [network.id, network]));
    for (const entry of this.#entries.values()) {
      entry.networks = entry.networks.map(({ id }) => there.get(id)).filter((network) => network !== undefined);
    }
    const found = this.#name(waiting, askedAtMs);
    const named = new Set([...this.#entries.values()].flatMap(({ networks }) => networks.map(({ id }) => id)));
    const strangers = waiting.some(({ id }) => !named.has(id));
    for (const { asked, by, networks, bound, atMs } of [...this.#entries.values()]) {
      if (networks.length > 0 || atMs > askedAtMs) continue;
      if (by === "container" ? this.#now() - atMs > CONTAINER_MS : bound || !strangers) this.#entries.delete(asked);
    }
    return found;
  }

  #name(waiting: readonly WaitingNetwork[], askedAtMs: number): { network: NetworkId; error: OperatorError }[] {
    const named = new Set([...this.#entries.values()].flatMap(({ networks }) => networks.map(({ id }) => id)));
    const found: { network: NetworkId; error: OperatorError }[] = [];
    // With every new network swarm repeats what it was refused before: who has no name yet goes first.
    const isNamed = ({ asked }: { readonly asked: string }): number => Number((this.#entries.get(asked)?.networks.length ?? 0) > 0);
    for (const { asked, atMs } of this.#unnamed.filter((one) => one.atMs <= askedAtMs).sort((a, b) => isNamed(a) - isNamed(b))) {
      const entry = this.#entries.get(asked);
      const [made] = waiting.filter(({ id, createdAtMs }) => !named.has(id) && createdAtMs <= atMs && createdAtMs > atMs - MADE_BEFORE_MS)
        .sort((a, b) => b.createdAtMs - a.createdAtMs);
      if (entry === undefined || made === undefined) continue;
      named.add(made.id);
      entry.networks = [...entry.networks, made];
      entry.bound = true;
      found.push({ network: made.id, error: entry.error });
    }
    this.#unnamed = this.#unnamed.filter(({ atMs }) => atMs > askedAtMs);
    return found;
  }

  problems(): readonly RefusedNetwork[] {
    return [...this.#entries.values()].flatMap(({ networks, what, error: { message, cure } }): RefusedNetwork[] => {
      const advice = cure ?? "See flannel-np events";
      if (networks.length === 0) return [{ what, reason: message, cure: advice }];
      return networks.map(({ name }) => ({ what: `network ${name}`, reason: message, cure: `${advice}. Then remove this one: docker network rm ${name}` }));
    });
  }
}
