/**
 * Random lives of services: whatever is done, in whatever order, and whoever is killed over it, the kernel's table ends as desired.
 *
 * Services and servers come, drain, go and come back; whoever writes is killed before or after it wrote; hands delete what is
 * ours; the operator begins anew. Each step is one pass of the engine; every 25th, and the last, goes on until there is nothing to do.
 * Must hold then: the kernel's table is what is desired, a second look plans nothing. Always: after a whole pass the next plans
 * no more than what was changed, and a pass starts at most PASS processes.
 */
import { expect } from "@jest/globals";
import type { Ipv4 } from "../../src/core/ids.ts";
import type { BalancerEngine } from "../../src/core/service-labels.ts";
import { balancerWith } from "../../src/reconcilers/index.ts";
import type { BalancerChange, BalancerEntry, BalancerState, SeenEntry, VirtualService } from "../../src/sinks/balancer.ts";
import { balancerWorld, type BedOptions, type BenchWorld } from "./balancer-bed.ts";
import { keyOf, server, service, settle, signal } from "./balancer-cases.ts";
import { DAMAGES } from "./balancer-damage.ts";

const SETTLE_EVERY = 25;
/** Two that write and one that looks. One more where the table was touched by others, one where IPVS's ticks are not known yet. */
const PASS = 3;
const VIPS = Array.from({ length: 30 }, (_, n) => `10.1.0.${5 + n}` as Ipv4);
const SERVERS = Array.from({ length: 40 }, (_, n) => `10.1.1.${11 + n}` as Ipv4);

/** xorshift32 */
function dice(seed: number): (below: number) => number {
  let state = seed || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Entries = Map<string, BalancerEntry>;
type Roll = (below: number) => number;

/** Changes what is desired; a draining server is one that was ready before. */
function change(entries: Entries, roll: Roll, engine: BalancerEngine): void {
  const vip = VIPS[roll(VIPS.length)] as Ipv4;
  const mine = [...entries.values()].filter((entry) => entry.kind === "server" && entry.vip === vip);
  const one = mine[roll(Math.max(1, mine.length))];
  const what = roll(100);
  const made = (): VirtualService => service(vip, roll(3) === 0 ? "sh" : "rr", engine === "ipvs" && roll(4) === 0 ? 600 : 0);
  if (!entries.has(vip)) {
    entries.set(vip, made());
    for (let n = roll(8); n > 0; n -= 1) add(entries, server(vip, SERVERS[roll(SERVERS.length)] as Ipv4));
  } else if (what < 12) {
    for (const entry of mine) entries.delete(keyOf(entry));
    entries.delete(vip);
  } else if (what < 20) for (const entry of mine) entries.delete(keyOf(entry));
  else if (what < 25) entries.set(vip, made());
  else if (what < 55 || one === undefined) add(entries, server(vip, SERVERS[roll(SERVERS.length)] as Ipv4));
  else if (what < 75) entries.delete(keyOf(one));
  else if (one.kind === "server") entries.set(keyOf(one), server(vip, one.address, one.weight === 1 ? 0 : 1));
}

const add = (entries: Entries, entry: BalancerEntry): void => { entries.set(keyOf(entry), entry); };
const differing = (a: Entries, b: Entries): number => [...new Set([...a.keys(), ...b.keys()])].filter((key) => JSON.stringify(a.get(key)) !== JSON.stringify(b.get(key))).length;
const isSame = (want: BalancerEntry, seen: SeenEntry | undefined): boolean => seen !== undefined && seen.fault === undefined && (want.kind === "server"
  ? seen.kind === "server" && seen.weight === want.weight
  : seen.kind === "service" && (seen.scheduler ?? want.scheduler) === want.scheduler && seen.affinitySeconds === want.affinitySeconds);

/** What of the table is not as desired. A draining server that a hand took away is not made again. */
function wrong(entries: Entries, state: BalancerState): readonly string[] {
  const missing = [...entries].filter(([key, want]) => !isSame(want, state.get(key)) && !(want.kind === "server" && want.weight === 0 && !state.has(key))).map(([key]) => `${key} is not as desired`);
  return [...missing, ...[...state.keys()].filter((key) => !entries.has(key)).map((key) => `${key} is not desired`)];
}

const SEED = Number(process.env["FNP_SEED"] ?? Date.now() % 1_000_000_007);
const FULL = process.env["FNP_TEST_FULL"] === "1";
/** Steps of a long run; a short one has as many as the suite says. */
export const stepsOf = (short: number): number => (FULL ? 2_000 : short);

/** FNP_SEED repeats a run. */
export async function randomLives(options: BedOptions, steps: number): Promise<void> {
  process.stderr.write(`   seed: FNP_SEED=${SEED}${FULL ? "" : `; ${steps} steps, 2,000 with FNP_TEST_FULL=1`}\n`);
  const life = new Life(await balancerWorld({ ...options, ownChains: 12 }), dice(SEED));
  try {
    await life.run(steps);
    process.stderr.write(`   ${steps} steps: ${JSON.stringify(life.did)}\n`);
    expect(life.did.killed).toBeGreaterThan(0);
  } finally {
    await life.close();
  }
}

class Life {
  readonly #world: BenchWorld;
  readonly #roll: Roll;
  readonly #entries: Entries = new Map();
  readonly did = { killed: 0, damaged: 0, began: 0, settled: 0, planned: 0, mostProcesses: 0 };
  #sink: BenchWorld["sink"];
  /** The last pass was whole and nobody has touched the table since. */
  #isWhole = false;
  /** For so many passes a damage may come that was not seen to happen. */
  #mayCome = 0;
  /** This sink has seen a service with affinity (IPVS). */
  #knowsTicks = false;

  constructor(world: BenchWorld, roll: Roll) { [this.#world, this.#roll, this.#sink] = [world, roll, world.sink]; }

  /** Throws what was wrong, with the step. */
  async run(steps: number): Promise<void> {
    for (let n = 1; n <= steps; n += 1) {
      try {
        await this.#step();
        if (n % SETTLE_EVERY === 0 || n === steps) await this.#settled();
      } catch (cause) {
        throw new Error(`step ${n}: ${String(cause)}`, { cause });
      }
    }
  }

  close(): Promise<void> { return this.#world.close(); }

  async #step(): Promise<void> {
    const before = new Map(this.#entries);
    for (let n = 1 + this.#roll(3); n > 0; n -= 1) change(this.#entries, this.#roll, this.#world.engine);
    await this.#spoil();
    this.#mayCome = Math.max(0, this.#mayCome - 1);
    await this.#pass(this.#isWhole && this.#mayCome === 0 ? differing(before, this.#entries) + this.#over(before) : Infinity);
  }

  /** Draining servers that IPVS knows to be idle go by themselves. */
  #over(before: Entries): number {
    return this.#world.engine === "ipvs" ? [...before.values()].filter((entry) => entry.kind === "server" && entry.weight === 0).length : 0;
  }

  async #spoil(): Promise<void> {
    const what = this.#roll(100);
    if (what < 15) {
      const names = Object.keys(DAMAGES[this.#world.engine]);
      // A damage to what is not there changes nothing; one that took too long in a machine may still come.
      await this.#world.damage(names[this.#roll(names.length)] ?? "").catch(() => { this.#mayCome = 2; });
      this.#isWhole = false;
      this.did.damaged += 1;
    } else if (what < 22) {
      this.#sink = this.#world.reopen();
      [this.#isWhole, this.#knowsTicks] = [false, false];
      this.did.began += 1;
    }
  }

  async #plan(): Promise<readonly BalancerChange[]> {
    const desired = { value: { entries: this.#entries, drainMs: new Map(), certain: [] }, settled: true, blocked: [] };
    return balancerWith({ engine: this.#world.engine, drainMs: 1e9 }).plan(desired, await this.#sink.observe(signal)).changes;
  }

  /** As the engine does it: looks, writes, looks again. */
  async #pass(bound: number): Promise<void> {
    const since = this.#world.processes();
    const allowed = PASS + (this.#isWhole ? 0 : 1) + (this.#knowsTicks || this.#world.engine === "nftables" ? 0 : 1);
    const changes = await this.#plan();
    expect(changes.length).toBeLessThanOrEqual(bound);
    this.did.planned += changes.length;
    const kill = this.#roll(100);
    if (kill < 12) this.#world.interrupt(this.#roll(3));
    else if (kill < 24) this.#world.loseWord(this.#roll(3));
    this.#isWhole = await this.#sink.apply(changes, signal).then(() => true, () => false);
    this.#world.interrupt(undefined);
    if (!this.#isWhole) this.did.killed += 1;
    else await this.#plan();
    const started = this.#world.processes() - since;
    expect(started).toBeLessThanOrEqual(allowed);
    this.did.mostProcesses = Math.max(this.did.mostProcesses, started);
    this.#knowsTicks ||= this.#isWhole && [...this.#entries.values()].some((entry) => entry.kind === "service" && entry.affinitySeconds > 0);
  }

  async #settled(): Promise<void> {
    await settle(this.#world, this.#entries, this.#sink);
    // In the eyes of another process, which has to ask the kernel.
    const state = await this.#world.reopen().observe(signal);
    expect(wrong(this.#entries, withoutDoubt(state))).toEqual([]);
    this.did.settled += 1;
    this.#isWhole = true;
  }
}

/** A process that has just begun does not know that it let go of a draining server's datagrams. */
const withoutDoubt = (state: BalancerState): BalancerState => new Map([...state].map(([key, entry]) => {
  if (entry.fault !== "datagrams may still go there") return [key, entry];
  const { fault: _doubt, ...rest } = entry;
  return [key, rest];
}));
