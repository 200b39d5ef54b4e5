/**
 * Branded identifiers and IPv4/CIDR arithmetic: a bare string never stands for an id, a bare number never for an address.
 *
 * In:  text from Docker, etcd, the kernel.  Out: branded values, or `undefined` where the text is not one.
 * Rule: pure; parse functions never throw, so every caller decides what a bad value means there.
 */
import hyperid from "hyperid";

declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Docker's network id (25 characters for swarm networks). */
export type NetworkId = Brand<string, "NetworkId">;
/** The name of one network below the etcd prefix: the user's `--ipam-opt flannel-id=…` or one we made. */
export type FlannelId = Brand<string, "FlannelId">;
export type ServiceId = Brand<string, "ServiceId">;
export type TaskId = Brand<string, "TaskId">;
export type ContainerId = Brand<string, "ContainerId">;
export type EndpointId = Brand<string, "EndpointId">;
/** Swarm's node id; changes when a node leaves and joins again. */
export type NodeId = Brand<string, "NodeId">;
/** Dotted quad. */
export type Ipv4 = Brand<string, "Ipv4">;
/** `a.b.c.d/len` with all host bits zero. */
export type Cidr = Brand<string, "Cidr">;
/** VXLAN network identifier, 24 bits (RFC 7348 §5); flannel's device name keeps it below 10,000,000. */
export type Vni = Brand<number, "Vni">;
/** `aa:bb:cc:dd:ee:ff`, lower case. */
export type Mac = Brand<string, "Mac">;
/** Path of a network namespace file. */
export type NetnsPath = Brand<string, "NetnsPath">;

const nextId = hyperid({ fixedLength: true, urlSafe: true });

/** A new flannel-id for a network whose user gave none; safe in an etcd key and a file name. hyperid's may begin with "-" or "_". */
export const newFlannelId = (): FlannelId => `n${nextId()}` as FlannelId;
/** An id for one life of this process: event sequence numbers count within it. */
export const newBootId = (): string => nextId();

const FLANNEL_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** The user's flannel-id if it can be one segment of an etcd key and a file name. */
export const parseFlannelId = (text: string): FlannelId | undefined =>
  FLANNEL_ID.test(text) ? (text as FlannelId) : undefined;

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

export function parseMac(text: string): Mac | undefined {
  const lower = text.toLowerCase();
  return MAC.test(lower) ? (lower as Mac) : undefined;
}

const QUAD = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

export function parseIpv4(text: string): Ipv4 | undefined {
  const match = QUAD.exec(text);
  if (match === null) return undefined;
  const octets = match.slice(1).map(Number);
  return octets.every((octet) => octet <= 255) ? (octets.join(".") as Ipv4) : undefined;
}

/** Unsigned 32-bit value of an address. */
export function toNumber(address: Ipv4): number {
  let value = 0;
  for (const octet of address.split(".")) value = value * 256 + Number(octet);
  return value;
}

/** The address of an unsigned 32-bit value. */
export const fromNumber = (value: number): Ipv4 =>
  [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join(".") as Ipv4;

/** Parses `a.b.c.d/len`; host bits are masked off, as flannel does. */
export function parseCidr(text: string): Cidr | undefined {
  const [quad = "", length = "", ...rest] = text.split("/");
  const address = parseIpv4(quad);
  if (address === undefined || rest.length > 0 || !/^\d{1,2}$/.test(length) || Number(length) > 32) return undefined;
  return cidrOf(address, Number(length));
}

/** The block of the given prefix length that holds the address. */
export function cidrOf(address: Ipv4, length: number): Cidr {
  const size = 2 ** (32 - length);
  return `${fromNumber(Math.floor(toNumber(address) / size) * size)}/${length}` as Cidr;
}

export const prefixLength = (cidr: Cidr): number => Number(cidr.slice(cidr.indexOf("/") + 1));
export const baseOf = (cidr: Cidr): Ipv4 => cidr.slice(0, cidr.indexOf("/")) as Ipv4;
/** Number of addresses, network address included. */
export const sizeOf = (cidr: Cidr): number => 2 ** (32 - prefixLength(cidr));
/** The n-th address of a block, 0 is its network address. */
export const nth = (cidr: Cidr, n: number): Ipv4 => fromNumber(toNumber(baseOf(cidr)) + n);
export const lastOf = (cidr: Cidr): Ipv4 => nth(cidr, sizeOf(cidr) - 1);

export function contains(cidr: Cidr, address: Ipv4): boolean {
  const offset = toNumber(address) - toNumber(baseOf(cidr));
  return offset >= 0 && offset < sizeOf(cidr);
}

/** True when the two blocks share an address. */
export const overlaps = (a: Cidr, b: Cidr): boolean => contains(a, baseOf(b)) || contains(b, baseOf(a));

/** True when `inner` lies wholly inside `outer`. */
export const within = (outer: Cidr, inner: Cidr): boolean =>
  prefixLength(inner) >= prefixLength(outer) && contains(outer, baseOf(inner));

/** The n-th sub-block of the given length. */
export function subBlock(cidr: Cidr, length: number, n: number): Cidr {
  return `${nth(cidr, n * 2 ** (32 - length))}/${length}` as Cidr;
}
