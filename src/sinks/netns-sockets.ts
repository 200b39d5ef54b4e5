/**
 * Sockets inside other network namespaces, opened and used by one thread of this process.
 *
 * In:  the path of a namespace.  Out: numbers of sockets that live there, the port they share, the namespace's inode.
 * Rule: setns moves one thread. Enter, open, return, verify, with nothing asynchronous between; a thread that cannot return would
 *       serve the wrong container, so the process ends instead. Whoever opens closes: a socket keeps a dead namespace alive.
 */
import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import { OperatorError, type ErrorCode } from "../core/errors.ts";
import { AF_INET, bind, CLONE_NEWNET, close, connect, EADDRINUSE, EINPROGRESS, errno, getsockname, listen, QUIET, setns, SOCK_DGRAM, SOCK_STREAM, socket } from "./libc.ts";

const OWN = "/proc/thread-self/ns/net";
/** Docker's resolver listens here, and so do we. */
const RESOLVER = [127, 0, 0, 11] as const;
/** Queries from here are not redirected to us (design D6). */
const EXEMPT = [127, 0, 0, 33] as const;
const DNS_PORT = 53;
const BACKLOG = 128;
/** Ports taken by the container itself; the kernel offers another each time. */
const PORT_ATTEMPTS = 16;

export interface NetnsSockets {
  readonly udp: number;
  readonly tcp: number;
  /** Open file of the namespace itself, to open more there later. */
  readonly netns: number;
  readonly port: number;
  readonly inode: bigint;
}

type Act<T> = T extends PromiseLike<unknown> ? never : T;

/** Runs `act`, which must be synchronous, with the calling thread inside the namespace. */
export function inNetns<T>(netns: number, act: () => Act<T>): Act<T> {
  const home = openSync(OWN, "r");
  try {
    const { ino } = fstatSync(home, { bigint: true });
    if (setns(netns, CLONE_NEWNET) < 0) throw failure("enter a network namespace", errno());
    try {
      return act();
    } finally {
      if (setns(home, CLONE_NEWNET) < 0 || statSync(OWN, { bigint: true }).ino !== ino) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

/** Rejects with `not-found` when there is no such file, `invalid` when it is no network namespace, `denied` without the right to enter. */
export function openNetnsSockets(path: string): NetnsSockets {
  const netns = openNamespace(path);
  const opened: number[] = [netns];
  try {
    const { udp, tcp, port } = inNetns(netns, () => pair(opened));
    return { udp, tcp, netns, port, inode: fstatSync(netns, { bigint: true }).ino };
  } catch (error) {
    for (const fd of opened) close(fd);
    throw error;
  }
}

/** A socket from the exempt source to Docker's resolver; TCP may still be connecting. */
export function openForward(netns: number, transport: "udp" | "tcp"): number {
  return inNetns(netns, () => {
    const fd = checked("open a socket", socket(AF_INET, (transport === "udp" ? SOCK_DGRAM : SOCK_STREAM) | QUIET, 0));
    const bound = bind(fd, socketAddress(EXEMPT, 0), 16) === 0;
    if (bound && (connect(fd, socketAddress(RESOLVER, DNS_PORT), 16) === 0 || errno() === EINPROGRESS)) return fd;
    const reason = errno();
    close(fd);
    throw failure("reach Docker's resolver", reason);
  });
}

/** A UDP socket of the sandbox's own, as a program in it would open one. */
export const openClient = (netns: number): number => inNetns(netns, () => checked("open a socket", socket(AF_INET, SOCK_DGRAM | QUIET, 0)));

/** The same by the namespace's path. */
export function openClientAt(path: string): number {
  const netns = openNamespace(path);
  try { return openClient(netns); } finally { close(netns); }
}

function openNamespace(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new OperatorError(missing ? "not-found" : "denied", `Cannot open network namespace ${path}: ${missing ? "there is no such file" : String(cause)}`, { cause });
  }
}

function pair(opened: number[]): { udp: number; tcp: number; port: number } {
  for (let attempt = 1; ; attempt += 1) {
    const udp = checked("open a socket", socket(AF_INET, SOCK_DGRAM | QUIET, 0));
    const tcp = checked("open a socket", socket(AF_INET, SOCK_STREAM | QUIET, 0));
    opened.push(udp, tcp);
    checked("bind 127.0.0.11", bind(udp, socketAddress(RESOLVER, 0), 16));
    const port = portOf(udp);
    if (bind(tcp, socketAddress(RESOLVER, port), 16) === 0) {
      checked("listen on 127.0.0.11", listen(tcp, BACKLOG));
      return { udp, tcp, port };
    }
    const reason = errno();
    if (reason !== EADDRINUSE || attempt === PORT_ATTEMPTS) throw failure("bind 127.0.0.11", reason);
    for (const fd of opened.splice(-2)) close(fd);
  }
}

function portOf(fd: number): number {
  const address = Buffer.alloc(16);
  const length = Buffer.alloc(4);
  length[0] = address.length;
  checked("read a socket's port", getsockname(fd, address, length));
  return address.readUInt16BE(2);
}

/** struct sockaddr_in of a little-endian machine. */
function socketAddress(octets: readonly number[], port: number): Buffer {
  const address = Buffer.alloc(16);
  address[0] = AF_INET;
  address.writeUInt16BE(port, 2);
  address.set(octets, 4);
  return address;
}

/** Where programs send their queries. */
export const RESOLVER_ADDRESS = socketAddress(RESOLVER, DNS_PORT);

function checked(what: string, result: number): number {
  if (result < 0) throw failure(what, errno());
  return result;
}

const CODES: Readonly<Record<string, ErrorCode>> = { EPERM: "denied", EACCES: "denied", EINVAL: "invalid", ENOENT: "not-found" };

function failure(what: string, reason: number): OperatorError {
  const name = getSystemErrorName(-reason);
  return new OperatorError(CODES[name] ?? "unavailable", `Cannot ${what}: ${name}`, { context: { errno: reason } });
}
