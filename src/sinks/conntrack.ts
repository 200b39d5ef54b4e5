/**
 * The kernel's table of connections, asked without starting a program: each change of a balancer would start two.
 *
 * In:  which connections are wanted.  Out: those that are there; some of them ended.
 * Rule: netlink answers within the call that asks, so nothing waits here; a long table is read in pieces with other work between.
 * One that has gone by itself is no failure.
 */
import { getSystemErrorName } from "node:util";
import { OperatorError } from "../core/errors.ts";
import { deleteRequest, listRequest, read, type Connection, type Seen, type Told } from "./conntrack/wire.ts";
import { NEEDS_NET_ADMIN } from "./exec.ts";
import { AF_NETLINK, CLOEXEC, close, EINTR, errno, NETLINK_NETFILTER, NO_WAIT, recv, send, SOCK_RAW, socket } from "./libc.ts";

export { CLOSE, TCP, TIME_WAIT, UDP, type Connection, type Seen } from "./conntrack/wire.ts";

/** Rejects with `denied` without the right to, `unavailable` when the kernel does not answer. */
export interface Conntrack {
  find(want: (one: Seen) => boolean, signal: AbortSignal): Promise<readonly Connection[]>;
  end(connections: readonly Connection[], signal: AbortSignal): Promise<void>;
}

/** Larger than any piece of a listing (the kernel's are 32 KiB). */
const PIECE = 1 << 16;
const ENOENT = 2;
/** So many are ended before other work has its turn. */
const AT_ONCE = 200;
const nobody = (): boolean => false;

/** `open`: a socket of the network namespace whose connections are meant. */
export const conntrack = (open: () => number = openNetlink): Conntrack => ({
  find: (want, signal) => withSocket(open, async (fd) => {
    say(fd, listRequest());
    const found: Connection[] = [];
    for (const buffer = Buffer.alloc(PIECE); ;) {
      const { connections, ended } = hear(fd, buffer, want);
      found.push(...connections);
      if (ended === 0) return found;
      if (ended !== undefined) throw refused("list connections", ended);
      await turn(signal);
    }
  }),
  end: (connections, signal) => withSocket(open, async (fd) => {
    const buffer = Buffer.alloc(PIECE);
    for (const [n, one] of connections.entries()) {
      say(fd, deleteRequest(one));
      const { ended = 0 } = hear(fd, buffer, nobody);
      if (ended !== 0 && ended !== ENOENT) throw refused("end a connection", ended);
      if (n % AT_ONCE === AT_ONCE - 1) await turn(signal);
    }
  }),
});

export function openNetlink(): number {
  const fd = socket(AF_NETLINK, SOCK_RAW | CLOEXEC, NETLINK_NETFILTER);
  if (fd < 0) throw refused("open a netlink socket", errno());
  return fd;
}

async function withSocket<T>(open: () => number, work: (fd: number) => Promise<T>): Promise<T> {
  const fd = open();
  try { return await work(fd); } finally { close(fd); }
}

async function turn(signal: AbortSignal): Promise<void> {
  await new Promise((go) => { setImmediate(go); });
  signal.throwIfAborted();
}

function say(fd: number, message: Buffer): void {
  if (send(fd, message, message.length, NO_WAIT) < 0) throw refused("ask for connections", errno());
}

function hear(fd: number, buffer: Buffer, want: (one: Seen) => boolean): Told {
  for (;;) {
    const length = recv(fd, buffer, buffer.length, NO_WAIT);
    if (length >= 0) return understood(buffer.subarray(0, length), want);
    if (errno() !== EINTR) throw refused("hear of connections", errno());
  }
}

function understood(datagram: Buffer, want: (one: Seen) => boolean): Told {
  try {
    return read(datagram, want);
  } catch (cause) {
    throw new OperatorError("unavailable", `Cannot read what the kernel tells of connections: ${String(cause)}`, { cause });
  }
}

function refused(what: string, reason: number): OperatorError {
  const name = getSystemErrorName(-reason);
  const isDenied = name === "EPERM" || name === "EACCES";
  return new OperatorError(isDenied ? "denied" : "unavailable", `Cannot ${what}: ${name}`, { context: { errno: reason }, ...(isDenied ? { cure: NEEDS_NET_ADMIN } : {}) });
}
