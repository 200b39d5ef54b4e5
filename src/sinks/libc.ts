/**
 * The calls of the C library that Node has none for: namespaces, sockets by number, many messages at once.
 *
 * In:  numbers and buffers.  Out: the call's result; below zero, `errno()` says why.
 * Rule: symbols of the process itself, so the C library's name does not matter. Only numbers and buffers of ours cross; a buffer
 *       that the kernel keeps an address of must never be collected while the call runs.
 */
import koffi from "koffi";

const self = koffi.load(null);
// koffi's functions are untyped; each one's shape is said here, once, beside its C declaration.
const bound = <F>(declaration: string): F => self.func(declaration) as unknown as F;
type Bytes = Uint8Array;

export const setns = bound<(fd: number, kind: number) => number>("int setns(int, int)");
export const socket = bound<(family: number, kind: number, protocol: number) => number>("int socket(int, int, int)");
export const bind = bound<(fd: number, address: Bytes, length: number) => number>("int bind(int, const void*, unsigned int)");
export const connect = bound<(fd: number, address: Bytes, length: number) => number>("int connect(int, const void*, unsigned int)");
export const listen = bound<(fd: number, backlog: number) => number>("int listen(int, int)");
export const getsockname = bound<(fd: number, address: Bytes, length: Bytes) => number>("int getsockname(int, void*, void*)");
export const accept4 = bound<(fd: number, address: null, length: null, flags: number) => number>("int accept4(int, void*, void*, int)");
export const close = bound<(fd: number) => number>("int close(int)");
export const recv = bound<(fd: number, into: Bytes, length: number, flags: number) => number>("long recv(int, void*, size_t, int)");
export const send = bound<(fd: number, from: Bytes, length: number, flags: number) => number>("long send(int, const void*, size_t, int)");
export const sendto = bound<(fd: number, from: Bytes, length: number, flags: number, address: Bytes, size: number) => number>(
  "long sendto(int, const void*, size_t, int, const void*, unsigned int)");
export const recvmmsg = bound<(fd: number, messages: Bytes, count: number, flags: number, timeout: null) => number>(
  "int recvmmsg(int, void*, unsigned int, int, void*)");
export const sendmmsg = bound<(fd: number, messages: Bytes, count: number, flags: number) => number>("int sendmmsg(int, void*, unsigned int, int)");
export const epollCreate = bound<(flags: number) => number>("int epoll_create1(int)");
export const epollControl = bound<(ep: number, op: number, fd: number, event: Bytes) => number>("int epoll_ctl(int, int, int, void*)");
export const epollWait = bound<(ep: number, events: Bytes, most: number, timeoutMs: number) => number>("int epoll_wait(int, void*, int, int)");
export const eventfd = bound<(start: number, flags: number) => number>("int eventfd(unsigned int, int)");

export const errno = (): number => koffi.errno();
/** Where a buffer of ours lies; the buffer must be kept as long as the number is used. */
export const addressOf = (buffer: Bytes): bigint => koffi.address(buffer);

export const AF_INET = 2;
export const AF_NETLINK = 16;
export const NETLINK_NETFILTER = 12;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
/** SOCK_CLOEXEC and SOCK_NONBLOCK; the flags of eventfd and accept4 have the same values. */
export const QUIET = 0o2004000;
export const CLOEXEC = 0o2000000;
export const CLONE_NEWNET = 0x40000000;
/** MSG_DONTWAIT and MSG_NOSIGNAL. */
export const NO_WAIT = 0x4040;
export const EAGAIN = 11;
export const EINTR = 4;
export const EADDRINUSE = 98;
export const EINPROGRESS = 115;
