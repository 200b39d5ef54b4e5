/** Both drivers over fakes: claims that remember, an engine that notes what it is asked, a world the test can change. */
import { AddressBook, type Claims } from "../../src/core/address-book.ts";
import type { Engine, RunReport } from "../../src/core/engine.ts";
import { OperatorError } from "../../src/core/errors.ts";
import type { Pool } from "../../src/core/model.ts";
import { Admission } from "../../src/plugin/admission.ts";
import type { Drivers } from "../../src/plugin/drivers.ts";
import { ipamDriver } from "../../src/plugin/ipam-driver.ts";
import { networkDriver } from "../../src/plugin/network-driver.ts";
import type { Endpoint } from "../../src/core/model.ts";
import { recorder } from "../core/world.ts";
import { flannelId, networkId, pool, snapshotOf, subnetOf, unbound, type World } from "../plan/builders.ts";

/** Network 1 is free to claim, and everything about it works. */
const CLAIMS: Claims = {
  claimPool: () => Promise.resolve(unbound(1)), findPool: () => Promise.resolve(pool(1)), bindPool: () => Promise.resolve(pool(1)),
  claimLease: (one, publicIp) => Promise.resolve({ flannelId: one.flannelId, subnet: subnetOf(1, 1), publicIp }),
  releasePool: (one) => Promise.resolve({ ...one, releasedAtMs: 1 }),
};

export interface Desk extends Drivers {
  world: World;
  /** What the engine reports for a name; "converged" by default. */
  ending: (name: string) => Partial<RunReport>;
  /** What each run waits for; nothing by default. */
  running: Promise<void>;
  readonly admission: Admission;
  /** Claims, runs, pokes, begun and ended endpoints, in order. */
  readonly done: string[];
  readonly said: ReturnType<typeof recorder>;
  readonly intents: Map<string, Endpoint>;
}

export function desk(world: World = {}, claims: Partial<Claims> = {}): Desk {
  const done: string[] = [];
  const said = recorder();
  const admission = new Admission();
  const intents = new Map<string, Endpoint>();
  const noting = new Proxy({ ...CLAIMS, ...claims }, { get: (target, name: keyof Claims) => { done.push(name); return target[name]; } });
  const snapshot = (): ReturnType<typeof snapshotOf> => snapshotOf(state.world);
  const own = {
    wrotePool(one: Pool): void { state.world = { ...state.world, pools: { items: [...(state.world.pools?.items ?? []).filter(({ cidr }) => cidr !== one.cidr), one] } }; },
    granted(): void {},
    wroteLease(one: NonNullable<World["subnets"]>["items"][number]): void { state.world = { ...state.world, subnets: { items: [...(state.world.subnets?.items ?? []), one] } }; },
  };
  const engine: Pick<Engine, "run" | "poke"> = {
    run: async (names) => {
      done.push(`run ${names.join(" ")}`);
      await state.running;
      return names.map((reconciler) => ({ reconciler, revision: 1, startedAtMs: 0, durationMs: 0, blocked: [], result: "converged", plan: { changes: [], held: [] }, ...state.ending(reconciler) }) as RunReport);
    },
    poke: (name) => void done.push(`poke ${name}`),
  };
  const book = new AddressBook({ claims: noting, own, snapshot, save: () => Promise.resolve(), now: () => 0, emit: said.emit });
  const remembering = {
    begin(one: Endpoint): void { done.push(`${one.stage} ${one.id}`); intents.set(one.id, one); },
    end(id: Endpoint["id"]): void { done.push(`ended ${id}`); intents.delete(id); },
    endpoint: (id: Endpoint["id"]): Endpoint | undefined => intents.get(id),
  };
  const state: Desk = {
    world, ending: () => ({}), running: Promise.resolve(), admission, done, said, intents, ipam: ipamDriver(book, admission),
    network: networkDriver({ book, engine, intents: remembering, snapshot, admission, emit: said.emit }),
  };
  return state;
}

export const FAILURE = new OperatorError("unavailable", "Cannot write links: the kernel said no", { cure: "Ask it again" });
export const signal = new AbortController().signal;
export const NETWORK = { network: networkId(1), options: {}, ipv4: [{ pool: pool(1).cidr }], ipv6: [] } as const;
export const G = { caller: "manager", flannelId: flannelId(1) } as const;
export const L = { caller: "node", flannelId: flannelId(1) } as const;
