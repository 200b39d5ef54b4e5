/** Networks are isolated (design D22), asserted with packets through what the sinks built. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { Bed, type Flavour } from "./isolation-bed.ts";

interface Walk { readonly sender: string; readonly target: string; readonly from?: string }
const walk = (text: string): Walk => {
  const [sender = "", target = "", from] = text.split(/ → | as /);
  return from === undefined ? { sender, target } : { sender, target, from };
};

const ALLOWED = [
  "red1 → 10.1.1.12", "red1 → 10.1.1.1", "blue1 → 10.2.1.12", "red1 → 10.1.2.11", "blue1 → 10.2.2.11",
  "host → 10.1.1.11", "host → 10.2.1.11", "host → 10.1.2.11", "node2 → 10.1.1.11 as 10.1.2.11", "node2 → 10.1.1.11 as 10.1.2.0",
  "red1 → 192.168.50.2", "docker1 → 192.168.50.2",
];
const REFUSED = [
  // Two networks: by docker_gwbridge, by the own link, from another node.
  "red1 → 10.2.1.11", "red3 → 10.2.1.11", "blue1 → 10.1.1.11", "red3 → 10.2.2.11", "node2 → 10.1.1.11 as 10.2.2.11",
  // Strangers.
  "lan → 10.1.1.11", "lan → 10.2.2.11", "docker1 → 10.1.1.11", "docker1 → 10.1.2.11", "gwonly → 10.1.1.11", "gwonly → 10.2.1.12",
  // Forged: the sender uses the address of another container.
  "red1 → 10.1.1.12 as 10.1.1.13", "red1 → 10.1.2.11 as 10.1.1.13",
  // Held by nobody.
  "red1 → 10.1.1.200", "red1 → 10.1.77.1",
];

const CONTAINERS = ["red1", "red2", "red3", "blue1", "blue2", "node2"];
const FORGED = "red1 → 10.1.1.12 as 10.1.1.13";

/** What must get an answer is given time on a busy machine; whether what must not was only slow, the counts tell. */
async function reached(bed: Bed, walks: readonly string[], waitSeconds = 1): Promise<readonly string[]> {
  const results = await Promise.all(walks.map(async (text) => {
    const { sender, target, from } = walk(text);
    return (await bed.reaches(sender, target, waitSeconds, from)) ? [text] : [];
  }));
  return results.flat();
}

/** How many of the requests came through, whether an answer found back or not. */
async function arrived(bed: Bed, walks: readonly string[], places = CONTAINERS): Promise<number> {
  const before = await bed.requestsSeen(places);
  await reached(bed, walks);
  return await bed.requestsSeen(places) - before;
}

describe.each(["nft", "legacy"] as const)("with Docker on iptables-%s", (flavour: Flavour) => {
  let bed: Bed;
  beforeAll(async () => { bed = await Bed.make(flavour); }, 60_000);
  afterAll(async () => { await bed.close(); });

  const every = [0, 1].flatMap((bridgeNf) => [0, 1, 2].map((reverse) => ({ bridgeNf, reverse })));
  test.each(flavour === "nft" ? every : every.slice(-1))("bridge-nf-call-iptables $bridgeNf, all.rp_filter $reverse", async ({ bridgeNf, reverse }) => {
    await bed.host.sysctls.write([["net/bridge/bridge-nf-call-iptables", String(bridgeNf)], ["net/ipv4/conf/all/rp_filter", String(reverse)]]);
    expect(await reached(bed, ALLOWED, 10)).toEqual(ALLOWED);
    const before = await bed.requestsSeen(CONTAINERS);
    expect(await reached(bed, REFUSED)).toEqual([]);
    expect(await bed.requestsSeen(CONTAINERS)).toBe(before);
    expect(await arrived(bed, ["red1 → 10.1.1.1 as 10.1.1.13"], ["host"])).toBe(0);
  }, 60_000);

  test("isolation lives in the table: gone with it, back with it", async () => {
    const isolated = ["red3 → 10.2.1.11", "docker1 → 10.1.1.11", "gwonly → 10.1.1.11"];
    await bed.host.must("nft", ["delete", "table", "ip", "fnp"]);
    expect(await reached(bed, isolated)).toContain("red3 → 10.2.1.11");
    await bed.protect();
    expect(await reached(bed, isolated)).toEqual([]);
    expect(await reached(bed, ALLOWED, 10)).toEqual(ALLOWED);
  }, 60_000);

  test("forged sources: rp_filter of the link stops them, whatever the host's general setting; without it they pass", async () => {
    const general = (value: string): Promise<void> => bed.host.sysctls.write([["net/ipv4/conf/all/rp_filter", value]]);
    for (const value of ["0", "2"]) {
      await general(value);
      expect(await arrived(bed, [FORGED])).toBe(0);
    }
    await general("0");
    await bed.host.sysctls.write([[`net/ipv4/conf/${bed.linkOf("red1")}/rp_filter`, "0"]]);
    expect(await arrived(bed, [FORGED])).toBe(2);
    await bed.host.sysctls.write([[`net/ipv4/conf/${bed.linkOf("red1")}/rp_filter`, "1"]]);
  }, 60_000);

  test("a user's drop in DOCKER-USER drops", async () => {
    await bed.host.must(`iptables-${flavour}`, ["-I", "DOCKER-USER", "-s", "10.1.1.11", "-j", "DROP"]);
    expect(await reached(bed, ["red1 → 10.1.1.12", "red1 → 10.1.2.11", "red3 → 10.1.1.12"])).toEqual(["red3 → 10.1.1.12"]);
    await bed.host.must(`iptables-${flavour}`, ["-D", "DOCKER-USER", "-s", "10.1.1.11", "-j", "DROP"]);
  }, 60_000);

  test("the host speaks to a container with the gateway's address", async () => {
    expect(await bed.host.must("ip", ["route", "get", "10.1.1.11"])).toContain("src 10.1.1.1 ");
  });
});
