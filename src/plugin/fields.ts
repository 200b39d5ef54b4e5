/**
 * Decoders of the single fields in Docker's plugin requests: text in, branded values out.
 *
 * In:  JSON values as Go's encoder writes them: absent, null and "" all mean "none".  Out: branded values or `undefined`.
 * Rule: every text and list is bounded; what is wrong is named by what was expected, never by repeating the value.
 */
import * as z from "zod/mini";
import {
  parseCidr, parseIpv4, parseMac, type Cidr, type EndpointId, type Ipv4, type Mac, type NetnsPath, type NetworkId,
} from "../core/ids.ts";

/** An address with the prefix length of the link it sits on; unlike a `Cidr` its host bits are kept. */
export interface InterfaceAddress { readonly address: Ipv4; readonly prefixLength: number }

/** Longest text we read anywhere, in UTF-16 units; Linux' PATH_MAX. */
const MAX_TEXT = 4_096;
/** Most entries of a port list: every port of TCP, UDP and SCTP. */
const MAX_PORTS = 3 * 65_536;
/** Most options of one request, and most pools of one network. */
const MAX_OPTIONS = 1_024;

const TOO_LONG = `is longer than ${MAX_TEXT} characters`;

/** Bounded text. */
export const text = z.string({ error: "is not text" }).check(z.maxLength(MAX_TEXT, { error: TOO_LONG }));

/** A JSON object with these fields; unknown ones are ignored, newer engines send more. */
export const shape = <F extends z.core.$ZodShape>(fields: F): z.ZodMiniObject<F, z.core.$strip> => z.object(fields, { error: "is not an object" });

/** Text that `parse` must accept. */
export const required = <T>(parse: (value: string) => T | undefined, expected: string): z.ZodMiniType<T> =>
  z.pipe(text, z.transform((value, context): T => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.issues.push({ code: "custom", message: expected, input: undefined });
    return z.NEVER;
  }));

/** The same, where Docker may send nothing. */
export const optional = <T>(parse: (value: string) => T | undefined, expected: string): z.ZodMiniType<T | undefined> =>
  z.pipe(z.nullish(text), z.transform((value, context): T | undefined => {
    if (value === undefined || value === null || value === "") return undefined;
    const parsed = parse(value);
    if (parsed === undefined) context.issues.push({ code: "custom", message: expected, input: undefined });
    return parsed;
  }));

/** Docker's own ids: swarm's have 25 characters of base 36, others 64 of base 16; never a separator of a key or path. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/;
const anId = <T extends string>(value: string): T | undefined => (ID.test(value) ? (value as T) : undefined);
const aPath = (value: string): NetnsPath | undefined =>
  value.startsWith("/") && !value.includes("\0") ? (value as NetnsPath) : undefined;

function anInterfaceAddress(value: string): InterfaceAddress | undefined {
  const address = parseIpv4(value.split("/")[0] ?? "");
  return address === undefined || parseCidr(value) === undefined
    ? undefined : { address, prefixLength: Number(value.slice(value.indexOf("/") + 1)) };
}

/** Go writes a hardware address in a map of options as base64 of its bytes, elsewhere in colon form. */
function anyMac(value: string): Mac | undefined {
  const bytes = /^[A-Za-z0-9+/]{8}$/.test(value) ? Buffer.from(value, "base64").toString("hex") : "";
  return parseMac(value) ?? parseMac(bytes.replace(/..(?=.)/g, "$&:"));
}

export const networkId = required((value) => anId<NetworkId>(value), "is not a network id");
export const endpointId = required((value) => anId<EndpointId>(value), "is not an endpoint id");
export const sandboxKey = required(aPath, "is not an absolute path");
export const someAddress = optional(parseIpv4, "is not an IPv4 address");
export const someCidr = optional(parseCidr, "is not an IPv4 range such as 10.1.0.0/16");
export const cidr = required<Cidr>(parseCidr, "is not an IPv4 range such as 10.1.0.0/16");
export const someInterfaceAddress = optional(anInterfaceAddress, "is not an IPv4 address with prefix length");
export const someMac = optional(anyMac, "is not a MAC address of six bytes");
export const someText = optional((value) => value, "is not text");

/** A Go bool, or the text of one where the value passed through a map of strings. */
export const flag = z.pipe(z.nullish(z.union([z.boolean(), text], { error: "is not true or false" })),
  z.transform((value) => value === true || value === "true"));

/** Absent and null lists are empty. */
export const listOf = <T>(item: z.ZodMiniType<T>, most = MAX_OPTIONS): z.ZodMiniType<readonly T[]> =>
  z.pipe(z.nullish(z.array(item, { error: "is not a list" }).check(z.maxLength(most, { error: `has more than ${most} entries` }))),
    z.transform((value): readonly T[] => value ?? []));

const fewEnough = <T>() => z.refine<Record<string, T>>((value) => Object.keys(value).length <= MAX_OPTIONS,
  { error: `has more than ${MAX_OPTIONS} entries` });

/** A map of texts; absent and null are empty. */
export const textMap = z.pipe(
  z.nullish(z.record(text, text, { error: "is not a map of texts" }).check(fewEnough<string>())),
  z.transform((value): Readonly<Record<string, string>> => value ?? {}));

/** Anything, its size bounded where it is text; lists are bounded by whoever reads them. */
const anything = z.unknown().check(z.refine((value) => typeof value !== "string" || value.length <= MAX_TEXT, { error: TOO_LONG }));

/** A map of anything, for those who pick the keys they know; absent and null are empty. */
export const anyMap = z.pipe(
  z.nullish(z.record(text, anything, { error: "is not a map" }).check(fewEnough<unknown>())),
  z.transform((value): Readonly<Record<string, unknown>> => value ?? {}));

const wholeNumber = (most: number) => z.pipe(
  z.nullish(z.number({ error: "is not a number" }).check(z.int({ error: "is not a whole number" }),
    z.minimum(0, { error: "is negative" }), z.maximum(most, { error: `is above ${most}` }))),
  z.transform((value) => value ?? 0));
const port = wholeNumber(65_535);

/** IANA protocol number: 6 TCP, 17 UDP, 132 SCTP. */
const protocol = wholeNumber(255);

export interface ExposedPort { readonly protocol: number; readonly port: number }
/** `hostPort` 0 means "any"; `hostIp` "" means every address. */
export interface PublishedPort extends ExposedPort { readonly hostIp: string; readonly hostPort: number; readonly hostPortEnd: number }

export const exposedPorts = listOf(z.pipe(shape({ Proto: protocol, Port: port }),
  z.transform((wire): ExposedPort => ({ protocol: wire.Proto, port: wire.Port }))), MAX_PORTS);

export const publishedPorts = listOf(z.pipe(
  shape({ Proto: protocol, Port: port, HostIP: someText, HostPort: port, HostPortEnd: port }),
  z.transform((wire): PublishedPort => ({
    protocol: wire.Proto, port: wire.Port, hostIp: wire.HostIP ?? "", hostPort: wire.HostPort, hostPortEnd: wire.HostPortEnd,
  }))), MAX_PORTS);
