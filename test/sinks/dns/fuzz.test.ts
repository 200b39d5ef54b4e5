/**
 * A million broken questions through the whole of the answering, and broken answers of resolvers through the cache (ten times as many
 * with FNP_TEST_FULL=1): none throws, none is answered with more than it may be or with what another parser cannot read.
 */
import { expect, it } from "@jest/globals";
import { AnswerCache } from "../../../src/sinks/dns/cache.ts";
import { DROP, FORWARD, Responder } from "../../../src/sinks/dns/responder.ts";
import { named, OUT, Packet, sandbox, served, table, zone } from "./builders.ts";
import { answers, Mutator, QUESTIONS } from "./mutate.ts";

const FULL = process.env["FNP_TEST_FULL"] === "1";
const COUNT = FULL ? 10_000_000 : 1_000_000;
if (!FULL) process.stdout.write(`dns fuzz: ${COUNT} messages; FNP_TEST_FULL=1 for ten times as many\n`);

const many = Array.from({ length: 300 }, (_, n) => `10.2.${n >> 8}.${n & 255}`);
const whole = table("complete", [zone("net", {
  names: { "web": named("10.0.0.1", "10.0.0.2"), "tasks.web": named("10.0.0.3"), "many": named(...many) }, pointers: { "10.0.0.1": "web.1.net" },
  services: { "_http._tcp.web": [served(80, "web", "10.0.0.1")] },
})], [sandbox(["net"])]);
const settle = (): number => { (globalThis as { gc?: () => void }).gc?.(); return process.memoryUsage().heapUsed; };

it(`${COUNT} broken questions`, () => {
  const responder = new Responder();
  responder.setTable(whole, whole.sandboxes);
  const mutator = new Mutator(QUESTIONS, 20_201);
  const said = { drop: 0, forward: 0, answer: 0 };
  let heap = 0;
  for (let n = 0; n < COUNT; n += 1) {
    const length = mutator.next();
    const udp = (n & 7) !== 0;
    const answer = responder.respond(mutator.into, 0, length, "s", udp, OUT, 0, udp ? 4_096 : 65_535);
    if (answer === DROP) said.drop += 1;
    else if (answer === FORWARD) said.forward += 1;
    else {
      said.answer += 1;
      if (answer < 12 || answer > (udp ? responder.payload() : 65_535)) throw new Error(`message ${n}: ${answer} bytes for ${mutator.into.toString("hex", 0, length)}`);
      if (n % 500 === 0) expect(Packet.parse(Buffer.from(OUT.subarray(0, answer))).errors).toEqual([]);
      if (OUT[0] !== mutator.into[0] || OUT[1] !== mutator.into[1] || (OUT[2] ?? 0) < 0x80) throw new Error(`message ${n}: not its answer`);
    }
    if (n === COUNT / 10) heap = settle();
  }
  // All kinds happened, or this fuzz looks at nothing.
  for (const count of Object.values(said)) expect(count).toBeGreaterThan(COUNT / 50);
  expect(settle() - heap).toBeLessThan(96 * 2 ** 20);
});

it("broken answers of a resolver", () => {
  const cache = new AnswerCache();
  const mutator = new Mutator(answers(), 7);
  let kept = 0;
  for (let n = 0; n < COUNT / 10; n += 1) {
    const length = mutator.next();
    if (length >= 12) cache.store(`k${n % 500}`, mutator.into, 0, length, 2, n);
    if (cache.fresh(`k${n % 500}`, n + 1, OUT, 0) > 0) kept += 1;
  }
  expect(kept).toBeGreaterThan(COUNT / 1_000);
});
