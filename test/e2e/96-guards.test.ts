/**
 * IPVS under use while hands take away what keeps a marked packet out of VXLAN: no machine panics, and the VIP answers again.
 *
 * Must hold: requests to servers on both nodes go on while each guard is flushed alone, our table is deleted, all of IPVS's services
 * are, and the plugin is killed; consoles.ts then looks for a panic or a dead loop. node1 has kernel 6.1, node2 6.12 (setup.ts).
 * Rule: on nodes in namespaces the reason is printed; there nftables balances, without a mark.
 */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { KIND, must, until, type Node } from "./bed.ts";
import { untilConverged } from "./flow.ts";
import { VipStand, type Served } from "./vip-bed.ts";

const STEP_MS = 600_000;
/** Goal 5 s, times twenty. */
const REPAIR_MS = 100_000;
/** A second, from both nodes together: with 40 an emulated machine does nothing else, and etcd's answers come too late. */
const RATE = 6;
/** Docker calls a plugin enabled 3 s after its start, and leaves one that died before that disabled for good. */
const GROWN_S = 10;
const chains = (name: string): string => `nft flush chain ip fnp-vips ${name}`;
const DAMAGES: readonly (readonly [title: string, command: string])[] = [
  ["the inner guard flushed", chains("guard")], ["the outer guard flushed", chains("out")], ["our table deleted", "nft delete table ip fnp-vips"],
  ["IPVS cleared", "ipvsadm -C"],
];

if (KIND !== "vm") {
  test("guards", () => { process.stdout.write("96-guards: marks and IPVS are the business of virtual machines; './flannel-np test --only vm' runs it\n"); });
} else {
  describe.each(["node1", "node2"])("on %s, under use", (name) => {
    let stand: VipStand;
    let served: Served;
    let node: Node;
    beforeAll(async () => {
      stand = await VipStand.open(`guards-${name}`);
      node = stand.lab.node(name);
      process.stdout.write(`96-guards: ${name} has kernel ${await must(node, ["uname", "-r"])}\n`);
      // A server on each node, else nothing is encapsulated.
      served = await stand.serve(`guarded-${name}`, 2, "--replicas-max-per-node", "1");
    }, STEP_MS);
    afterAll(() => stand.close(), STEP_MS);

    /** How long until what is ours is as before; requests go on all the while. */
    async function under(title: string, harm: () => Promise<unknown>, isRight: () => Promise<boolean>): Promise<void> {
      const load = await stand.under(served.vip, async () => {
        await harm();
        const since = Date.now();
        await until("what is ours to be there again", isRight, REPAIR_MS);
        process.stdout.write(`96-guards: ${title}, ${name}: ours again after ${((Date.now() - since) / 1_000).toFixed(1)} s\n`);
        await stand.answered(served);
      }, RATE);
      expect(load.sent).toBeGreaterThan(0);
    }

    /** Lines of our table and of IPVS, in no order: what was written again comes last. A table made anew has forgotten which marks it gave, and gives others. */
    const ours = async (): Promise<string> => (await must(node, ["sh", "-c", "{ nft -s list table ip fnp-vips; ipvsadm --save -n; } | sort"]))
      .replace(/(: 0x|-f )\w+/g, (mark) => `${mark.slice(0, -2)}…`);

    test.each(DAMAGES)("%s", async (title, command) => {
      await untilConverged(node, REPAIR_MS);
      const before = await ours();
      expect(before).toContain("meta mark set");
      await under(title, () => must(node, ["sh", "-c", command]), async () => (await ours()) === before);
    }, STEP_MS);

    test("the plugin killed", async () => {
      const before = await node.pluginPid();
      await until("a plugin that Docker has accepted", async () => Number(await must(node, ["ps", "-o", "etimes=", "-p", String(before)])) > GROWN_S);
      await under("the plugin killed", () => node.killPlugin(), async () => {
        const now = await node.pluginPid();
        return now !== undefined && now !== before;
      });
    }, STEP_MS);
  });
}
