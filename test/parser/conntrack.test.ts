/** Connection tracking as the kernel's netlink tells it (bytes of kernel 6.18), and what it is asked. */
import { expect, it } from "@jest/globals";
import fc from "fast-check";
import { deleteRequest, listRequest, read, type Connection } from "../../src/sinks/conntrack/wire.ts";

const attribute = (kind: number, ...parts: readonly Uint8Array[]): Buffer => {
  const payload = Buffer.concat(parts);
  const whole = Buffer.alloc((4 + payload.length + 3) & ~3);
  whole.writeUInt16LE(4 + payload.length, 0);
  whole.writeUInt16LE(kind, 2);
  whole.set(payload, 4);
  return whole;
};
const NESTED = 0x8000;
const port = (n: number): Buffer => Buffer.from([n >> 8, n & 255]);
const ip = (text: string): Buffer => Buffer.from(text.split(".").map(Number));
const tuple = (kind: number, protocol: number, from: string, to: string): Buffer => attribute(NESTED | kind,
  attribute(NESTED | 1, attribute(1, ip(from)), attribute(2, ip(to))),
  attribute(NESTED | 2, attribute(1, Buffer.of(protocol)), attribute(2, port(5000)), attribute(3, port(80))));
function message(kind: number, body: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(kind, 4);
  return Buffer.concat([header, body]);
}
const FAMILY = Buffer.of(2, 0, 0, 0);
const entry = (protocol: number, server: string, ...more: readonly Buffer[]): Buffer => message(0x100, Buffer.concat([
  FAMILY, tuple(1, protocol, "10.1.1.10", "10.1.0.5"), tuple(2, protocol, server, "10.1.1.10"), attribute(3, Buffer.of(0, 0, 1, 142)), ...more, attribute(12, Buffer.of(1, 2, 3, 4)),
]));
const STATE = attribute(NESTED | 4, attribute(NESTED | 1, attribute(1, Buffer.of(7)), attribute(2, Buffer.of(0))));
const DONE = message(3, Buffer.alloc(4));
const all = (): boolean => true;

it("connections with whom they were for, who answers, and TCP's state", () => {
  const { connections, ended } = read(Buffer.concat([entry(6, "10.1.1.11", STATE), entry(17, "10.1.1.12"), DONE]), all);
  expect(ended).toBe(0);
  expect(connections.map(({ handle: _handle, ...seen }) => seen)).toEqual([
    { protocol: 6, origDst: "10.1.0.5", replySrc: "10.1.1.11", state: 7 }, { protocol: 17, origDst: "10.1.0.5", replySrc: "10.1.1.12", state: undefined },
  ]);
});

it("only those that are wanted, and more to come while nothing says that it ended", () => {
  const { connections, ended } = read(Buffer.concat([entry(6, "10.1.1.11"), entry(17, "10.1.1.12")]), ({ protocol }) => protocol === 17);
  expect([connections.length, connections[0]?.protocol, ended]).toEqual([1, 17, undefined]);
});

it("the kernel's refusal by its errno", () => {
  const refusal = Buffer.alloc(20);
  refusal.writeInt32LE(-1, 0);
  expect(read(message(2, refusal), all)).toEqual({ connections: [], ended: 1 });
});

it("a deletion names the tuple and the id of what was told, in the kernel's own bytes", () => {
  const [one] = read(entry(17, "10.1.1.12"), all).connections;
  const request = deleteRequest(one as Connection);
  const expected = Buffer.concat([tuple(1, 17, "10.1.1.10", "10.1.0.5"), attribute(12, Buffer.of(1, 2, 3, 4))]);
  expect([request.readUInt32LE(0), request.readUInt16LE(4), request.readUInt16LE(6)]).toEqual([20 + expected.length, 0x102, 5]);
  expect(request.subarray(20)).toEqual(expected);
});

it("a listing is asked for IPv4, whole", () => {
  expect([...listRequest()]).toEqual([20, 0, 0, 0, 1, 1, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
});

it("nothing but netlink is read: whatever is cut or garbled is refused, and no connection is made up without a tuple", () => {
  const good = Buffer.concat([entry(6, "10.1.1.11", STATE), entry(17, "10.1.1.12"), DONE]);
  fc.assert(fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), fc.nat(good.length), (at, value, length) => {
    const bad = Buffer.from(good);
    bad[at] = value;
    let told: readonly Connection[] = [];
    try { told = read(bad.subarray(0, length), all).connections; } catch (error) { expect(String(error)).toMatch(/^RangeError/); }
    for (const { handle } of told) expect(Buffer.from(handle).readUInt16LE(2) & 0x3fff).toBe(1);
  }), { numRuns: 2_000 });
});
