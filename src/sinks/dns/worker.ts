/**
 * The thread that answers: sockets of all sandboxes, one loop, nothing else.
 *
 * In:  orders from the main thread, queries from containers.  Out: answers; reports to the main thread.
 * Rule: it never waits for anything but its loop, so no work of the operator delays an answer.
 *       It ends when told to, when the process ends, or by an error, which the main thread cures with another thread.
 */
import { readSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { receiveMessageOnPort, workerData, type MessagePort } from "node:worker_threads";
import { asOperatorError } from "../../core/errors.ts";
import { errno, eventfd, QUIET, sendto } from "../libc.ts";
import { openNetnsSockets } from "../netns-sockets.ts";
import { Forwarder } from "./forward.ts";
import { Ledger, type Home } from "./home.ts";
import { Loop, READABLE } from "./loop.ts";
import type { Order, OpenSockets, Report, WorkerStart } from "./messages.ts";
import { Probe } from "./probe.ts";
import { DROP, FORWARD, Responder } from "./responder.ts";
import { StagedTable } from "./staged-table.ts";
import { Streams, type Connection } from "./tcp.ts";
import { Datagrams, SLOT } from "./udp.ts";

/** What reading orders may take of a round: no answer waits longer for it. */
const ORDERS_MS = 0.5;
/** While something may be late. */
const TICK_MS = 100;
/** Otherwise: an order is never missed for longer, should its wake-up be. */
const REST_MS = 1_000;

interface Start extends WorkerStart { readonly port: MessagePort }

class Server {
  readonly #port: MessagePort;
  readonly #shared: Start["shared"];
  readonly #loop = new Loop();
  readonly #ledger: Ledger;
  readonly #responder = new Responder();
  readonly #staged = new StagedTable();
  readonly #forwarder: Forwarder;
  readonly #streams: Streams;
  readonly #datagrams: Datagrams;
  readonly #homes = new Map<string, Home>();
  readonly #probe = new Probe(this.#homes, (sandbox) => this.#report({ kind: "unheard", sandbox }));
  #more = true;

  constructor({ port, shared, cache }: Start) {
    this.#port = port;
    this.#shared = shared;
    this.#ledger = new Ledger(shared, (report) => this.#report(report));
    this.#ledger.opened(this.#loop.file);
    this.#forwarder = new Forwarder(this.#loop, this.#ledger, cache, (home, key, message, size) => this.#responder.isFormer(home.sandbox, key, message, size));
    this.#streams = new Streams(this.#loop, this.#ledger, (connection, query, start, end, out, at) => this.#stream(connection, query, start, end, out, at));
    this.#datagrams = new Datagrams({ truncated: () => this.#ledger.count("drop"), unsent: () => this.#ledger.count("sendFailed") });
  }

  run(): void {
    const wake = this.#ledger.opened(eventfd(0, QUIET));
    if (wake < 0) throw new Error(`Cannot make an eventfd: errno ${errno()}`);
    const eight = Buffer.alloc(8);
    this.#loop.add(wake, READABLE, () => {
      readSync(wake, eight);
      this.#more = true;
    });
    this.#report({ kind: "ready", wake });
    let sweptMs = 0;
    while (this.#shared.ending[0] === 0) {
      const busy = this.#forwarder.busy || this.#streams.busy;
      const restMs = Math.min(busy ? TICK_MS : REST_MS, this.#probe.waitMs(performance.now()));
      this.#loop.round(this.#more ? 0 : restMs);
      this.#orders();
      this.#probe.turn(performance.now());
      if (busy && Date.now() - sweptMs >= TICK_MS) {
        sweptMs = Date.now();
        this.#forwarder.sweep();
        this.#streams.sweep();
      }
    }
    // The two files that remain are closed by the main thread, which may be writing to one of them now.
    for (const home of [...this.#homes.values()]) this.#close(home);
  }

  #report(report: Report): void { this.#port.postMessage(report); }

  /** As many as fit a turn. */
  #orders(): void {
    const end = performance.now() + ORDERS_MS;
    while (this.#more && performance.now() < end) {
      const received = receiveMessageOnPort(this.#port) as { message: Order } | undefined;
      this.#more = received !== undefined;
      if (received !== undefined) this.#obey(received.message);
    }
  }

  #obey(order: Order): void {
    switch (order.kind) {
      case "open": return this.#open(order);
      case "adopt": return this.#serve(order.sandbox, order.sockets);
      case "close": {
        const home = this.#homes.get(order.sandbox);
        if (home !== undefined) this.#close(home);
        return this.#report({ kind: "closed", ask: order.ask, sandbox: order.sandbox });
      }
      case "cache": return this.#forwarder.setCaching(order.on);
      case "flush": {
        for (const home of this.#homes.values()) if (order.sandbox === undefined || order.sandbox === home.sandbox) home.cache?.clear();
        return this.#report({ kind: "done", ask: order.ask });
      }
      case "watch": {
        const home = this.#homes.get(order.sandbox);
        if (home !== undefined) home.watched = order.on;
        return this.#report({ kind: "done", ask: order.ask });
      }
      default: {
        const committed = this.#staged.take(order);
        if (committed !== undefined) this.#responder.setTable(committed.table, committed.sandboxes);
      }
    }
  }

  #open({ ask, sandbox, path }: Extract<Order, { kind: "open" }>): void {
    try {
      const sockets = this.#homes.get(sandbox)?.sockets ?? openNetnsSockets(path);
      if (!this.#homes.has(sandbox)) this.#serve(sandbox, sockets);
      this.#report({ kind: "opened", ask, sandbox, sockets });
    } catch (error) {
      const { code, message } = asOperatorError(error);
      this.#report({ kind: "failed", ask, code, message });
    }
  }

  #serve(sandbox: string, sockets: OpenSockets): void {
    const home: Home = { sandbox, sockets, cache: undefined, watched: false };
    this.#homes.set(sandbox, home);
    for (const fd of [sockets.udp, sockets.tcp, sockets.netns]) this.#ledger.opened(fd);
    this.#loop.add(sockets.udp, READABLE, () => this.#datagrams.turn(sockets.udp, (query, start, end, peer, out, at) =>
      this.#datagram(home, query, start, end, peer, out, at)));
    this.#loop.add(sockets.tcp, READABLE, () => this.#streams.accept(home));
  }

  #close(home: Home): void {
    this.#homes.delete(home.sandbox);
    this.#forwarder.end(home);
    this.#streams.end(home);
    const { udp, tcp, netns } = home.sockets;
    for (const fd of [udp, tcp]) this.#loop.remove(fd);
    for (const fd of [udp, tcp, netns]) this.#ledger.close(fd);
  }

  #datagram(home: Home, query: Buffer, start: number, end: number, peer: Buffer, out: Buffer, at: number): number {
    if (this.#probe.heard(home, query, start, end)) return 0;
    const length = this.#respond(home, query, start, end, "udp", out, at, SLOT);
    if (length !== FORWARD) return length;
    const address = Buffer.from(peer);
    const high = query[start] ?? 0;
    const low = query[start + 1] ?? 0;
    this.#forwarder.ask({ home, udp: true, reply: (answer, size) => {
      answer[0] = high;
      answer[1] = low;
      if (sendto(home.sockets.udp, answer, size, 0x4040, address, address.length) < 0) this.#ledger.count("sendFailed");
    } }, query, start, end, this.#responder.question);
    return 0;
  }

  #stream(connection: Connection, query: Buffer, start: number, end: number, out: Buffer, at: number): number {
    const { home } = connection;
    const length = this.#respond(home, query, start, end, "tcp", out, at, 65_535);
    if (length !== FORWARD) {
      // Nothing is owed for a message that gets no answer.
      if (length === 0) connection.owed -= 1;
      return length;
    }
    const high = query[start] ?? 0;
    const low = query[start + 1] ?? 0;
    this.#forwarder.ask({ home, udp: false, reply: (answer, size) => {
      answer[0] = high;
      answer[1] = low;
      this.#streams.reply(connection, answer, size);
    } }, query, start, end, this.#responder.question);
    return 0;
  }

  /** A query that we fail over costs its own answer, never another container's. */
  #respond(home: Home, query: Buffer, start: number, end: number, transport: "udp" | "tcp", out: Buffer, at: number, room: number): number {
    this.#ledger.count(transport);
    try {
      const length = this.#responder.respond(query, start, end, home.sandbox, transport === "udp", out, at, room);
      const { said, truncated, question, via } = this.#responder;
      this.#ledger.count(said);
      if (truncated) this.#ledger.count("truncated");
      if (home.watched && said !== "forward") this.#ledger.line(home, question, transport, said, via);
      return length;
    } catch {
      this.#ledger.count("failed");
      return DROP;
    }
  }
}

new Server(workerData as Start).run();
