/** Which connections are let go of, out of a listing of all. */
import { expect, it } from "@jest/globals";
import type { Ipv4 } from "../../src/core/ids.ts";
import { present, renderFlows, type Flow } from "../../src/sinks/balancer/conntrack.ts";

const LISTING = [
  "tcp      6 431999 ESTABLISHED src=10.1.1.10 dst=10.1.0.5 sport=46110 dport=8080 src=10.1.1.11 dst=10.1.1.10 sport=8080 dport=46110 [ASSURED] mark=0 use=1",
  "udp      17 29 src=10.1.1.10 dst=10.1.0.5 sport=5000 dport=53 [UNREPLIED] src=10.1.1.12 dst=10.1.1.10 sport=53 dport=5000 mark=0 use=1",
  "icmp     1 29 src=10.1.1.10 dst=10.1.0.6 type=8 code=0 id=1 src=10.1.0.6 dst=10.1.1.10 type=0 code=0 id=1 mark=0 use=1", "",
].join("\n");
const flow = (vip: string, address: string, which: Flow["which"]): Flow => ({ vip: vip as Ipv4, address: address as Ipv4, which });

it("those that are there: datagrams ask for UDP", () => {
  const [stream, udp] = [flow("10.1.0.5", "10.1.1.11", "all"), flow("10.1.0.5", "10.1.1.12", "datagrams")];
  const absent = [flow("10.1.0.5", "10.1.1.11", "datagrams"), flow("10.1.0.6", "10.1.1.11", "all"), flow("10.1.0.5", "10.1.1.13", "all")];
  expect(present(LISTING, [stream, udp, ...absent])).toEqual([stream, udp]);
});

it("one line each", () => {
  expect(renderFlows([flow("10.1.0.5", "10.1.1.11", "all"), flow("10.1.0.5", "10.1.1.12", "datagrams")]))
    .toBe("-D --orig-dst 10.1.0.5 --reply-src 10.1.1.11\n-D -p udp --orig-dst 10.1.0.5 --reply-src 10.1.1.12\n");
});
