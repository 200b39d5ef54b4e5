/**
 * Why our nft table clears its marks before encapsulation (design D8): a marked packet that enters VXLAN is balanced again, without end.
 *
 * Two nodes as namespaces of one machine, joined by VXLAN; node a balances a VIP with real IPVS to a backend on node b.
 * Rule: either guard alone is enough, and the table may go and come under use; without both the kernel fails, which also shows that
 * this test would see it.
 */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Namespace } from "./namespace.ts";
import { VM_START_MS, VmBed } from "./vm-bed.ts";

const [INNER, OUTER] = ["post", "out"];
const GUARD = "meta mark 0x5000-0x5fff meta mark set 0";
const TABLE = `table ip fnp {
  map vips { type ipv4_addr : mark; elements = { 10.1.0.5 : 0x5001 } }
  chain pre { type filter hook prerouting priority -150; meta mark set ip daddr map @vips; }
  chain out { type filter hook output priority -150; jump outer; meta mark set ip daddr map @vips; }
  chain outer { ${GUARD}; }
  chain post { type filter hook postrouting priority -150; ${GUARD}; }
}\n`;

describe.each(["6.1", "6.12"])("kernel %s", (kernel) => {
  let bed: VmBed;
  let a: Namespace;
  let b: Namespace;

  async function node(name: Namespace, own: number, other: number): Promise<void> {
    await name.ip(
      `addr add 192.0.2.${own}/24 dev wire`, "link set wire up",
      `link add flannel.1 type vxlan id 1 local 192.0.2.${own} dev wire nolearning dstport 8472`, `link set flannel.1 address 02:00:00:00:00:0${own} up`,
      `addr add 10.1.${own}.0/32 dev flannel.1`, `addr add 10.1.${own}.11/32 dev lo`,
      `neigh add 10.1.${other}.0 lladdr 02:00:00:00:00:0${other} dev flannel.1`, `route add 10.1.${other}.0/24 via 10.1.${other}.0 dev flannel.1 onlink`);
    await name.must("bridge", ["fdb", "append", `02:00:00:00:00:0${other}`, "dev", "flannel.1", "dst", `192.0.2.${other}`]);
  }

  beforeAll(async () => {
    bed = await VmBed.start(kernel);
    [a, b] = [await bed.namespace(), await bed.namespace()];
    await a.ip(`link add wire type veth peer name wire netns ${b.name}`);
    await Promise.all([node(a, 1, 2), node(b, 2, 1)]);
    await b.must("sh", ["-c", "socat TCP-LISTEN:8080,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' >/dev/null 2>&1 </dev/null &"]);
    // It is ready when it answers.
    await b.must("sh", ["-c", "for n in $(seq 300); do nc -w 5 10.1.2.11 8080 </dev/null && exit; sleep 0.1; done; exit 1"]);
    await a.ip("route add local 10.1.0.0/24 dev lo src 10.1.1.11");
    await a.sysctls.write([["net/ipv4/vs/conntrack", "1"]]);
    await a.must("ipvsadm", ["--restore"], "-A -f 20481 -s rr\n-a -f 20481 -r 10.1.2.11:0 -m\n");
  }, VM_START_MS);
  afterAll(() => bed.close());

  const load = (): Promise<string> => a.must("nft", ["-f", "-"], `table ip fnp\ndelete table ip fnp\n${TABLE}`);
  /** What the backend saw as its client; the exit code when nobody answered. */
  const asked = async (): Promise<string> => {
    const { exitCode, stdout } = await a.tell("sh", ["-c", "nc -w 5 10.1.0.5 8080 </dev/null"]);
    return exitCode === 0 ? stdout.trim() : `exit ${exitCode}`;
  };

  test("the way to the other node works without a VIP", async () => {
    expect((await a.tell("sh", ["-c", "nc -w 5 10.1.2.11 8080 </dev/null"])).stdout).not.toBe("");
  });

  test.each([["both guards", []], ["the inner one alone", [OUTER]], ["the outer one alone", [INNER]]] as const)("VIP to a remote backend: %s", async (_title, flushed) => {
    await load();
    for (const chain of flushed) await a.must("nft", ["flush", "chain", "ip", "fnp", chain === OUTER ? "outer" : "post"]);
    for (let n = 0; n < 3; n += 1) expect(await asked()).toBe("10.1.1.11");
    expect(await bed.failures()).toEqual([]);
  });

  test("the table deleted and loaded, IPVS cleared and restored: refused or unanswered meanwhile, right again after", async () => {
    await load();
    await a.must("nft", ["delete", "table", "ip", "fnp"]);
    expect(await asked()).not.toBe("10.1.1.11");
    await load();
    expect(await asked()).toBe("10.1.1.11");
    const saved = await a.must("ipvsadm", ["--save", "-n"]);
    await a.must("ipvsadm", ["-C"]);
    expect(await asked()).not.toBe("10.1.1.11");
    await a.must("ipvsadm", ["--restore"], saved);
    expect(await asked()).toBe("10.1.1.11");
    expect(await bed.failures()).toEqual([]);
  });

  test("without both the kernel fails", async () => {
    await load();
    await a.must("nft", ["-f", "-"], "flush chain ip fnp outer\nflush chain ip fnp post\n");
    await asked().catch(() => undefined);
    expect((await bed.failures()).join("\n")).toMatch(/Kernel panic|Dead loop|stack guard page/);
  });
});
