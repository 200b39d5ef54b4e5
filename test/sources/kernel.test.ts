/** Monitor lines, as recorded, and the life of the monitors. */
import { describe, expect, jest, test } from "@jest/globals";
import { Subject } from "rxjs";
import { kernelHints, type Facility, type KernelHint, type Purpose } from "../../src/sources/kernel.ts";

/** One child per monitor, fed by the test. */
function bed() {
  const children = new Map<string, Subject<string>>();
  const starts: string[] = [];
  const hints: Facility[] = [];
  const seen: KernelHint[] = [];
  const subscription = kernelHints({
    spawn: (file) => {
      starts.push(file);
      const child = new Subject<string>();
      children.set(file, child);
      return child;
    },
  }).subscribe((hint) => { hints.push(hint.facility); seen.push(hint); });
  return { hints, seen, starts, subscription, child: (file: string) => children.get(file) as Subject<string> };
}

describe("lines as iproute2 6.1 and nftables 1.0.6 print them", () => {
  test.each<[string, string, Facility | "nothing"]>([
    ["ip", "[LINK]3: fnp00001abcdefg@fnq000000000abc: <BROADCAST,MULTICAST,M-DOWN> mtu 1500 qdisc noop state DOWN", "links"],
    ["ip", "[LINK]Deleted 3: fnp00001abcdefg@NONE: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN", "links"],
    ["ip", "[LINK]4: flannel.6514: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN", "links"],
    ["ip", "[LINK]7: vethdocker@if6: <BROADCAST,MULTICAST> mtu 1500", "nothing"],
    ["ip", "[ADDR]3: fnp00001abcdefg    inet 10.1.8.1/32 scope global fnp00001abcdefg\\       valid_lft forever", "links"],
    ["ip", "[ADDR]1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever", "nothing"],
    ["ip", "[ROUTE]10.1.8.2 dev fnp00001abcdefg scope link ", "routes"],
    ["ip", "[ROUTE]local 10.1.0.0/22 dev lo table local scope host ", "routes"],
    ["ip", "[ROUTE]Deleted unreachable 10.1.8.0/24 ", "routes"],
    ["ip", "[ROUTE]172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 ", "nothing"],
    ["ip", "[ROUTE]fe80::/64 dev fnp00001abcdefg proto kernel metric 256 pref medium", "nothing"],
    ["ip", "[NEIGH]10.1.9.0 dev flannel.6514 lladdr 0e:00:00:00:00:44 PERMANENT ", "neighbours"],
    ["ip", "[NEIGH]10.1.8.2 dev fnp00001abcdefg lladdr 0e:00:00:00:00:44 REACHABLE ", "nothing"],
    ["ip", "[NEIGH]192.168.0.1 dev eth0 lladdr 0e:00:00:00:00:45 REACHABLE ", "nothing"],
    ["bridge", "0e:00:00:00:00:44 dev flannel.6514 dst 10.9.9.9 self permanent", "neighbours"],
    ["bridge", "0e:00:00:00:00:44 dev docker0 master docker0 permanent", "nothing"],
    ["nft", "add element ip fnp vips { 10.1.0.5 : 0x00000007 }", "nft"],
    ["nft", "delete table ip fnp", "nft"],
    ["nft", "create chain ip filter FNP-FORWARD", "nft"],
    ["nft", "add rule ip nat DOCKER counter packets 0 bytes 0 accept", "nothing"],
    ["nft", "# new generation 7 by process 29760 (iptables)", "nothing"],
  ])("%s: %s → %s", (file, line, facility) => {
    const { hints, child, subscription } = bed();
    hints.length = 0;
    child(file).next(line);
    subscription.unsubscribe();
    expect(hints).toEqual(facility === "nothing" ? [] : [facility]);
  });

  test("an element of a set that the monitor has forgotten may be of any table", () => {
    const { hints, child, subscription } = bed();
    hints.length = 0;
    child("nft").next("W: Received event for an unknown set.");
    subscription.unsubscribe();
    expect(hints).toEqual(["nft", "vips"]);
  });
});

test.each<[string, string, Purpose | undefined]>([
  ["an endpoint's link", "[LINK]3: fnp00001abcdefg@fnq000000000abc: <BROADCAST> mtu 1500", "endpoint"],
  ["a container's end", "[LINK]4: fnq000000000abc@fnp00001abcdefg: <BROADCAST> mtu 1500", "endpoint"],
  ["an endpoint's route", "[ROUTE]10.1.8.2 dev fnp00001abcdefg scope link ", "endpoint"],
  ["the gateway link", "[ADDR]2: fnp-gw    inet 10.1.8.1/32 scope global fnp-gw\\       valid_lft forever", "gateway"],
  ["a service range", "[ROUTE]local 10.1.0.0/22 dev lo table local scope host ", "gateway"],
  ["flannel's device", "[LINK]4: flannel.6514: <BROADCAST,MULTICAST> mtu 1500", "tunnel"],
  ["a route without a link", "[ROUTE]Deleted unreachable 10.1.8.0/24 ", undefined],
])("says what the link is for: %s", (_, line, purpose) => {
  const { seen, child, subscription } = bed();
  seen.length = 0;
  child("ip").next(line);
  subscription.unsubscribe();
  expect(seen.map((hint) => hint.purpose)).toEqual([purpose]);
});

test("a child that dies is started again, with growing pauses, and each start says look at everything of it", async () => {
  jest.useFakeTimers();
  const { hints, starts, child, subscription } = bed();
  expect(hints).toEqual(["links", "routes", "neighbours", "neighbours", "nft", "vips"]);
  for (const afterMs of [400, 800, 1_600]) {
    child("nft").error(new Error("died"));
    await jest.advanceTimersByTimeAsync(afterMs - 1);
    const before = starts.length;
    await jest.advanceTimersByTimeAsync(1);
    expect(starts.length).toBe(before + 1);
  }
  expect(hints.slice(6)).toEqual(["nft", "vips", "nft", "vips", "nft", "vips"]);
  subscription.unsubscribe();
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});
