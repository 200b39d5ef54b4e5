/** Which answers of Docker's resolver name a container of ours by a name that it gave up. */
import { expect, it } from "@jest/globals";
import { isFormerName } from "../../../src/sinks/dns/former.ts";
import { named, Packet, sandbox, table, zone } from "./builders.ts";

const zones = [
  zone("net", { names: { fresh: named("10.0.0.2") }, pointers: { "10.0.0.2": "fresh.net", "10.0.0.3": "peer.net" } }), zone("far", { pointers: { "10.1.0.2": "other.far" } }),
];
const asker = sandbox(["net"]);
const ours = table("compatible", zones, [asker]);

function said(name: string, addresses: readonly string[], ttl = 600, more: readonly object[] = []): Buffer {
  const packet = new Packet();
  packet.header = { id: 1, qr: 1 } as never;
  packet.questions = [{ name, type: 1, class: 1 }] as never;
  packet.answers = [...addresses.map((address) => ({ name, type: 1, class: 1, ttl, address })), ...more] as never;
  return packet.toBuffer();
}
const former = (name: string, message: Buffer): boolean => isFormerName(ours, asker, name, message, message.length);

it.each<[string, string, Buffer, boolean]>([
  ["a name that Docker kept", "old", said("old", ["10.0.0.2"]), true],
  ["the same with its network", "old.net", said("old.net", ["10.0.0.2"]), true],
  ["one of several containers", "old", said("old", ["10.0.0.2", "10.0.0.3"]), true],
  ["a name that the table learned meanwhile", "fresh", said("fresh", ["10.0.0.2"]), false],
  ["a container that no table has yet", "new", said("new", ["10.0.0.9"]), false],
  ["one that we know beside one that we do not", "new", said("new", ["10.0.0.2", "10.0.0.9"]), false],
  ["a container of a bridge network", "local", said("local", ["172.18.0.2"]), false],
  ["a network that the asker is not in", "other", said("other", ["10.1.0.2"]), false],
  ["a name that another server holds", "db.example.com", said("db.example.com", ["10.0.0.2"]), false],
  ["another server's time to live", "old", said("old", ["10.0.0.2"], 300), false],
  ["a record beside the address", "old", said("old", ["10.0.0.2"], 600, [{ name: "old", type: 5, class: 1, ttl: 600, domain: "b" }]), false],
  ["no record", "old", said("old", []), false],
])("%s", (_what, name, message, wanted) => { expect(former(name, message)).toBe(wanted); });

it("reads no byte that is not there", () => {
  const whole = said("old", ["10.0.0.2", "10.0.0.3"]);
  for (let length = 12; length < whole.length; length += 1) expect(isFormerName(ours, asker, "old", whole.subarray(0, length), length)).toBe(false);
});
