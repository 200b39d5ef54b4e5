/** What the balancer's contract asks of a world: an engine, hands that spoil its work, and packets. */
import type { BalancerEngine } from "../../src/core/service-labels.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import type { BalancerChange, BalancerState } from "../../src/sinks/balancer.ts";
import type { World } from "./suite.ts";

export type Place = "host" | "client" | "b1" | "b2";
export type Kind = "tcp" | "udp" | "sctp";
/** refused: told so at once; silent: neither answer nor refusal. */
export interface Asked {
  readonly by: Readonly<Record<string, number>>;
  readonly peers: Readonly<Record<string, number>>;
  readonly refused: number;
  readonly silent: number;
}
/** One socket that goes on asking. */
export interface Held { /** Who answers the next question; "none": nobody; "gone": the connection ended. */ next(): Promise<string> }
export interface Packets {
  /** `count` new sockets to each address, the addresses in turn. */
  ask(from: Place, kind: Kind, addresses: readonly string[], count: number, port?: string): Promise<readonly Asked[]>;
  /** Whether the kernel has that protocol. */
  speaks(kind: Kind): Promise<boolean>;
  hold(from: Place, kind: Kind, address: string): Promise<Held>;
}

export interface BalancerWorld extends World {
  readonly engine: BalancerEngine;
  readonly sink: Sink<BalancerState, BalancerChange>;
  /** The same table in the eyes of a process that has just begun. */
  reopen(): Sink<BalancerState, BalancerChange>;
  /** From now on so many writes succeed, and the next one never happens; undefined: all succeed. */
  interrupt(writes: number | undefined): void;
  /** One of the engine's DAMAGES. */
  damage(name: string): Promise<void>;
  /** What somebody else has where this engine works. */
  foreign(): Promise<string>;
  packets(): Promise<Packets>;
}
