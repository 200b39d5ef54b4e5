/**
 * A balancer in memory: services, servers, and packets as the rules of the contract send them.
 *
 * Rule: fails now and then like everything that works on a kernel. What the engines differ in is told by `engine`: nftables
 * counts no connections.
 */
import { OperatorError } from "../../src/core/errors.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import type { BalancerEngine } from "../../src/core/service-labels.ts";
import type { BalancerChange, BalancerState, SeenEntry, SeenServer } from "../../src/sinks/balancer.ts";
import type { Asked, BalancerWorld, Held, Kind, Packets, Place } from "../contract/balancer-world.ts";
import { faulty } from "./faulty.ts";

const NAMES: Readonly<Record<string, string>> = { "10.1.1.11": "b1", "10.1.1.12": "b2" };
const ADDRESSES: Readonly<Record<Place, string>> = { client: "10.1.1.10", b1: "10.1.1.11", b2: "10.1.1.12", host: "10.1.1.1" };

/** A damage in the words of the contract: most are seen as a fault of the service. */
const DAMAGES: readonly (readonly [pattern: RegExp, hurt: (entries: Map<string, SeenEntry>) => void])[] = [
  [/(table is|all services are) gone/, (entries) => { entries.clear(); }],
  [/a server is gone$/, (entries) => { entries.delete("10.1.0.5>10.1.1.12"); }],
  [/nobody made|no VIP leads to/, (entries) => { entries.set("10.1.0.77", { kind: "service", vip: "10.1.0.77", scheduler: "rr", affinitySeconds: 0 } as SeenEntry); }],
  [/a server more|said to drain/, (entries) => { entries.set("10.1.0.5>10.1.1.77", { kind: "server", vip: "10.1.0.5", address: "10.1.1.77", weight: 1, drainingMs: 0 } as SeenEntry); }],
  [/./, (entries) => { entries.set("10.1.0.5", { ...entries.get("10.1.0.5"), fault: "it was changed" } as SeenEntry); }],
];

let worlds = 0;

export function fakeBalancer(engine: BalancerEngine): Promise<BalancerWorld> {
  worlds += 1;
  const entries = new Map<string, SeenEntry>();
  let left = Infinity;
  const raw: Sink<BalancerState, BalancerChange> = {
    observe: () => Promise.resolve(new Map(entries)),
    apply: (changes) => {
      for (const change of changes) {
        left -= 1;
        if (left < 0) return Promise.reject(new OperatorError("unavailable", "Cannot balance: the process was killed"));
        perform(entries, change, engine);
      }
      return Promise.resolve();
    },
  };
  const sink = faulty(raw, { seed: worlds });
  return Promise.resolve({
    engine, sink,
    reopen: () => sink,
    interrupt: (writes) => { left = writes ?? Infinity; },
    damage: (name) => Promise.resolve(DAMAGES.find(([pattern]) => pattern.test(name))?.[1](entries)),
    foreign: () => Promise.resolve("theirs"),
    packets: () => Promise.resolve(new FakePackets(entries)),
    close: () => Promise.resolve(),
  });
}

function perform(entries: Map<string, SeenEntry>, { op, key, entry }: BalancerChange, engine: BalancerEngine): void {
  if (op === "delete") {
    entries.delete(key);
    if (entry.kind === "service") for (const each of entries.keys()) if (each.startsWith(`${key}>`)) entries.delete(each);
  } else if (entry.kind === "service") entries.set(key, entry);
  else if (!entries.has(entry.vip)) throw new OperatorError("unavailable", `Cannot balance: no service ${entry.vip}`);
  else entries.set(key, { ...entry, drainingMs: 0, ...(engine === "ipvs" ? { connections: 0 } : {}) });
}

class FakePackets implements Packets {
  readonly #entries: ReadonlyMap<string, SeenEntry>;
  readonly #turns = new Map<string, number>();

  constructor(entries: ReadonlyMap<string, SeenEntry>) { this.#entries = entries; }

  ask(from: Place, _kind: Kind, addresses: readonly string[], count: number): Promise<readonly Asked[]> {
    return Promise.resolve(addresses.map((vip) => {
      const tally = { by: {} as Record<string, number>, peers: {} as Record<string, number>, refused: 0, silent: 0 };
      for (let n = 0; n < count; n += 1) {
        const server = this.#choose(vip);
        if (server === undefined) { tally.refused += 1; continue; }
        const [name, peer] = [NAMES[server] ?? "", server === ADDRESSES[from] ? ADDRESSES.host : ADDRESSES[from]];
        tally.by[name] = (tally.by[name] ?? 0) + 1;
        tally.peers[peer] = (tally.peers[peer] ?? 0) + 1;
      }
      return tally;
    }));
  }

  /** A stream stays where it began, weight or not; a sender goes where weight is. */
  speaks(): Promise<boolean> { return Promise.resolve(true); }

  hold(_from: Place, kind: Kind, vip: string): Promise<Held> {
    const first = this.#choose(vip);
    return Promise.resolve({
      next: () => {
        const own = this.#entries.get(`${vip}>${first ?? ""}`) as SeenServer | undefined;
        if (own !== undefined && (kind === "tcp" || own.weight === 1)) return Promise.resolve(NAMES[first ?? ""] ?? "");
        return Promise.resolve(kind === "tcp" ? "gone" : NAMES[this.#choose(vip) ?? ""] ?? "none");
      },
    });
  }

  #choose(vip: string): string | undefined {
    const service = this.#entries.get(vip);
    if (service?.kind !== "service") return undefined;
    const ready = [...this.#entries.values()].flatMap((entry) => (entry.kind === "server" && entry.vip === vip && entry.weight === 1 ? [entry.address] : []));
    const turn = service.scheduler === "sh" ? 0 : this.#turns.get(vip) ?? 0;
    this.#turns.set(vip, turn + 1);
    return ready[turn % ready.length];
  }
}
