/**
 * Somebody flushes the whole packet filter, or deletes our table: a VIP answers again within 5 s.
 *
 * Must hold: `iptables -F` of filter and nat, in both flavours, the deletion of our nft table or of one element: what of it was ours is there
 * again, and a request through the VIP is answered, within 5 s (printed). What Docker had there stays lost until Docker makes it
 * again; that is Docker's, no VIP needs it, and this suite puts it back itself.
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { must, until, type Node } from "./bed.ts";
import { floodFrom, untilTasks, VipStand, type Served } from "./vip-bed.ts";

const REPAIR_MS = 5_000;
const say = (line: string): boolean => process.stderr.write(`   ${line}\n`);
let stand: VipStand;
let served: Served;

/** Ours in every table that the damages empty, as text. */
const OURS = "iptables-nft-save | grep -E 'FNP' | sed 's/\\[[0-9:]*\\]//'; iptables-legacy-save 2>/dev/null | grep -E 'FNP' | sed 's/\\[[0-9:]*\\]//'; nft -s list table ip fnp-vips | grep -v elements; nft -s list table ip fnp";
const ours = (node: Node): Promise<string> => must(node, ["sh", "-c", `{ ${OURS}; } 2>/dev/null || true`]);

const FLAVOURS = ["nft", "legacy"] as const;
const CHAINS = "nft list chains | awk '/^table/ {table = $2 \" \" $3} $1 == \"chain\" {print table, $2}' | sort";
const KEEP = [...FLAVOURS.map((flavour) => `iptables-${flavour}-save >/run/before-${flavour} 2>/dev/null`), `${CHAINS} >/run/before-chains`].join("; ");
/** Only what had been there: a flavour that nobody uses gets no table by this, and a table no chain that the restoring program adds. */
const GIVE_BACK = [
  ...FLAVOURS.map((flavour) => `if grep -q '^-A' /run/before-${flavour}; then iptables-${flavour}-restore </run/before-${flavour}; fi; rm -f /run/before-${flavour}`),
  `${CHAINS} | comm -13 /run/before-chains - | grep -E ' (PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$' | while read -r chain; do nft delete chain $chain; done; rm -f /run/before-chains`,
].join("; ");

beforeAll(async () => {
  stand = await VipStand.open("flush");
  served = await stand.serve("flush-web", 4);
}, 300_000);

afterAll(() => stand.close());

describe("on both nodes, after", () => {
  const DAMAGES = [
    ...FLAVOURS.flatMap((flavour) => ["filter", "nat"].map((table) => `iptables-${flavour} -t ${table} -F`)),
    "iptables-nft -F; iptables-nft -t nat -F", "nft delete table ip fnp-vips",
  ];
  it.each(DAMAGES)("%s", async (damage) => {
    for (const { node } of stand.clients) {
      const before = await ours(node);
      expect(before).toContain("fnp-vips");
      await must(node, ["sh", "-c", KEEP]);
      try {
        await must(node, ["sh", "-c", damage]);
        const since = Date.now();
        const isHarmed = (await ours(node)) !== before;
        await until("what is ours to be there again", async () => (await ours(node)) === before);
        const repaired = Date.now() - since;
        for (const client of stand.clients) {
          await until(`an answer from ${served.vip}`, async () => (await floodFrom(client, "http", served.vip, 1, { timeout: "1s" })).failed === 0);
        }
        const answered = Date.now() - since;
        say(`${damage}, ${node.name}: ${isHarmed ? `ours again after ${repaired} ms` : "seen unharmed (nothing of ours in it, or repaired at once)"}, every client answered after ${answered} ms`);
        expect(repaired).toBeLessThan(REPAIR_MS);
        expect(answered).toBeLessThan(REPAIR_MS);
        await stand.answered(served);
      } finally {
        await must(node, ["sh", "-c", GIVE_BACK]);
      }
    }
  }, 200_000);
});

describe("on both nodes, one element deleted", () => {
  const slots = async (node: Node): Promise<readonly string[]> =>
    (await must(node, ["sh", "-c", `nft list map ip fnp-vips slots | grep -oE '${served.vip.replaceAll(".", "[.]")} [.] [0-9]+ : [0-9.]+' | sort`])).split("\n");

  it("a server's slot, also after the number of servers has changed", async () => {
    for (const replicas of [2, 4]) {
      await stand.scale("flush-web", replicas);
      await stand.answered({ vip: served.vip, names: await untilTasks(stand.lab, "flush-web", replicas) });
      for (const { node } of stand.clients) {
        const before = await slots(node);
        await must(node, ["nft", "delete", "element", "ip", "fnp-vips", "slots", `{ ${before[0]?.split(" : ")[0] ?? ""} }`]);
        const since = Date.now();
        await until("the slot to be there again", async () => (await slots(node)).join() === before.join());
        const repaired = Date.now() - since;
        say(`a slot of ${before.length} deleted, ${node.name}: there again after ${repaired} ms`);
        expect(repaired).toBeLessThan(REPAIR_MS);
      }
    }
  }, 200_000);
});
