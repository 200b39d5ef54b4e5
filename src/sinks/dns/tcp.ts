/**
 * Queries by TCP (RFC 7766): many on one connection, answered as they are known.
 *
 * In:  a listening socket per sandbox.  Out: answers on the connections it accepts.
 * Rule: a connection costs little and ends: it has a time to say something, to finish a message it began, to take its answers,
 *       and its sandbox a number of connections. One turn reads a few kilobytes, so that a flood gets no more than its share.
 */
import { performance } from "node:perf_hooks";
import { accept4, EAGAIN, errno, NO_WAIT, QUIET, recv, send } from "../libc.ts";
import type { Home, Ledger } from "./home.ts";
import { GONE, READABLE, WRITABLE, type Loop } from "./loop.ts";
import { HEADER_BYTES } from "./wire.ts";

const MOST_CONNECTIONS = 64;
const ACCEPTS_PER_TURN = 16;
const TURN_BYTES = 8_192;
/** No question a resolver asks is longer. */
const MOST_MESSAGE_BYTES = 8_192;
const MOST_BACKLOG_BYTES = 262_144;
const IDLE_MS = 10_000;
/** For a message that was begun, and for answers that nobody takes. */
const STUCK_MS = 5_000;
const WORK_BYTES = 2 * 65_537;

/** Answers `query[start, end)` into `out` at `at`: the length, or 0 when nothing is ready (yet). */
export type AnswerStream = (connection: Connection, query: Buffer, start: number, end: number, out: Buffer, at: number) => number;

export interface Connection {
  readonly home: Home;
  readonly fd: number;
  /** Bytes of a message that is not whole yet, or of messages that wait until answers are taken. */
  held: Buffer;
  backlog: Buffer[];
  backlogBytes: number;
  /** Answers that others owe. */
  owed: number;
  /** The client said all it had to say. */
  ended: boolean;
  open: boolean;
  usedMs: number;
  /** Since when a message is incomplete, or answers are not taken. */
  stuckMs: number;
}

const NOTHING = Buffer.alloc(0);

export class Streams {
  readonly #loop: Loop;
  readonly #ledger: Ledger;
  readonly #answer: AnswerStream;
  readonly #byHome = new Map<Home, Set<Connection>>();
  readonly #in = Buffer.allocUnsafeSlow(MOST_MESSAGE_BYTES + 2 + TURN_BYTES);
  readonly #out = Buffer.allocUnsafeSlow(WORK_BYTES);

  constructor(loop: Loop, ledger: Ledger, answer: AnswerStream) {
    this.#loop = loop;
    this.#ledger = ledger;
    this.#answer = answer;
  }

  get busy(): boolean { return this.#byHome.size > 0; }

  /** The listening socket is ready. */
  accept(home: Home): void {
    for (let n = 0; n < ACCEPTS_PER_TURN; n += 1) {
      const fd = accept4(home.sockets.tcp, null, null, QUIET);
      if (fd < 0) return;
      this.#ledger.opened(fd);
      this.#ledger.count("connections");
      this.#admit(home, fd);
    }
  }

  /** An answer that was owed. */
  reply(connection: Connection, answer: Buffer, length: number): void {
    if (!connection.open) return;
    connection.owed -= 1;
    const framed = Buffer.allocUnsafe(length + 2);
    framed.writeUInt16BE(length, 0);
    answer.copy(framed, 2, 0, length);
    this.#send(connection, framed, framed.length);
    this.#settle(connection);
  }

  /** All connections of a sandbox go. */
  end(home: Home): void {
    for (const connection of [...(this.#byHome.get(home) ?? [])]) this.#close(connection);
  }

  /** Cuts what takes too long; to be called about ten times a second while busy. */
  sweep(): void {
    const nowMs = performance.now();
    for (const connections of this.#byHome.values()) {
      for (const connection of connections) {
        const stuck = connection.stuckMs > 0 && nowMs - connection.stuckMs > STUCK_MS;
        if (stuck || (connection.owed === 0 && nowMs - connection.usedMs > IDLE_MS)) this.#cut(connection);
      }
    }
  }

  #admit(home: Home, fd: number): void {
    const connections = this.#of(home);
    if (connections.size >= MOST_CONNECTIONS && !this.#makeRoom(connections)) {
      this.#ledger.count("connectionsRefused");
      return this.#ledger.close(fd);
    }
    const connection: Connection = {
      home, fd, held: NOTHING, backlog: [], backlogBytes: 0, owed: 0, ended: false, open: true, usedMs: performance.now(), stuckMs: 0,
    };
    connections.add(connection);
    this.#loop.add(fd, READABLE, (events) => this.#turn(connection, events));
  }

  #of(home: Home): Set<Connection> {
    const known = this.#byHome.get(home);
    if (known !== undefined) return known;
    const connections = new Set<Connection>();
    this.#byHome.set(home, connections);
    return connections;
  }

  /** The one that has been silent longest goes, unless all wait for us. */
  #makeRoom(connections: ReadonlySet<Connection>): boolean {
    const idle = [...connections].filter(({ owed }) => owed === 0).reduce<Connection | undefined>((a, b) => (a === undefined || b.usedMs < a.usedMs ? b : a), undefined);
    if (idle !== undefined) this.#cut(idle);
    return idle !== undefined;
  }

  #turn(connection: Connection, events: number): void {
    if (connection.ended && (events & GONE) !== 0) return this.#close(connection);
    if ((events & WRITABLE) !== 0 && !this.#flush(connection)) return;
    if (connection.backlogBytes === 0 && !connection.ended && (events & ~WRITABLE) !== 0) {
      connection.held.copy(this.#in);
      const count = recv(connection.fd, this.#in.subarray(connection.held.length), TURN_BYTES, NO_WAIT);
      if (count < 0) return errno() === EAGAIN ? undefined : this.#close(connection);
      connection.ended = count === 0;
      if (count > 0) connection.usedMs = performance.now();
      this.#messages(connection, connection.held.length + count);
    }
    this.#settle(connection);
  }

  /** Answers all whole messages of the first `end` bytes read; the rest is held. */
  #messages(connection: Connection, end: number): void {
    let at = 0;
    let ready = 0;
    while (at + 2 <= end && connection.backlogBytes <= MOST_BACKLOG_BYTES) {
      const length = this.#in.readUInt16BE(at);
      if (length < HEADER_BYTES || length > MOST_MESSAGE_BYTES) return this.#cut(connection);
      if (at + 2 + length > end) break;
      connection.owed += 1;
      const answer = this.#answer(connection, this.#in, at + 2, at + 2 + length, this.#out, ready + 2);
      if (!connection.open) return;
      if (answer > 0) {
        connection.owed -= 1;
        this.#out.writeUInt16BE(answer, ready);
        ready += answer + 2;
      }
      if (ready > WORK_BYTES - 65_537) ready = this.#send(connection, this.#out, ready);
      at += 2 + length;
    }
    this.#send(connection, this.#out, ready);
    connection.held = at === end ? NOTHING : Buffer.from(this.#in.subarray(at, end));
    if (connection.held.length === 0) connection.stuckMs = 0;
    else if (connection.stuckMs === 0 || at > 0) connection.stuckMs = performance.now();
  }

  /** Sends now what the client takes, and keeps the rest. Always 0. */
  #send(connection: Connection, bytes: Buffer, length: number): 0 {
    if (length === 0 || !connection.open) return 0;
    const sent = connection.backlogBytes > 0 ? 0 : Math.max(0, send(connection.fd, bytes, length, NO_WAIT));
    if (sent < length) {
      connection.backlog.push(Buffer.from(bytes.subarray(sent, length)));
      connection.backlogBytes += length - sent;
      connection.stuckMs = performance.now();
      this.#loop.change(connection.fd, WRITABLE);
    }
    return 0;
  }

  /** False: nothing more can be done for it now. */
  #flush(connection: Connection): boolean {
    while (connection.backlog.length > 0) {
      const [first = NOTHING, ...rest] = connection.backlog;
      const sent = send(connection.fd, first, first.length, NO_WAIT);
      if (sent < 0) {
        if (errno() !== EAGAIN) this.#close(connection);
        return false;
      }
      connection.backlogBytes -= sent;
      connection.stuckMs = performance.now();
      connection.backlog = sent === first.length ? rest : [first.subarray(sent), ...rest];
      if (sent < first.length) return false;
    }
    connection.stuckMs = 0;
    this.#loop.change(connection.fd, READABLE);
    connection.held.copy(this.#in);
    this.#messages(connection, connection.held.length);
    return connection.open;
  }

  /** A client that is done goes when it has all its answers. */
  #settle(connection: Connection): void {
    if (!connection.ended || !connection.open) return;
    if (connection.owed === 0 && connection.backlogBytes === 0) this.#close(connection);
    // Its end would be reported for ever: nothing is waited for until an answer goes out.
    else if (connection.backlogBytes === 0) this.#loop.change(connection.fd, 0);
  }

  #cut(connection: Connection): void {
    this.#ledger.count("connectionsCut");
    this.#close(connection);
  }

  #close(connection: Connection): void {
    if (!connection.open) return;
    connection.open = false;
    this.#loop.remove(connection.fd);
    this.#ledger.close(connection.fd);
    const connections = this.#byHome.get(connection.home);
    connections?.delete(connection);
    if (connections?.size === 0) this.#byHome.delete(connection.home);
  }
}
