/**
 * Clients that keep their port while the servers behind a VIP change: connection tracking remembers them, and must not lead them astray.
 *
 * Must hold: a client that opens a connection from one and the same port every 50 ms, whoever closes first, waits no second longer
 * in a rolling update and reaches no server that has left; a UDP sender with a fixed port reaches living servers through an
 * update, scale to zero and back, and no entry leads it to a dead one.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { must, until, type Box } from "./bed.ts";
import { script } from "./reach.ts";
import { begin, untilForgotten, untilTasks, VipStand, type Tally } from "./vip-bed.ts";
import { addresses, lateness, roll } from "./vip-watch.ts";

/** Who has left goes on answering whoever still comes, so that it would be seen. */
const LINGERS = ["--stop-grace-period", "20s", "--entrypoint", "/bin/box serve -linger 4s", "--update-order", "start-first", "--update-monitor", "500ms"];
/** Goal 1 s. From the table to the entries of connection tracking it is one more process. */
const UDP_MOVES_MS = 2_000;
const say = (line: string): boolean => process.stderr.write(`   ${line}\n`);
let stand: VipStand;
let lab: Lab;
let clients: readonly Box[];

beforeAll(async () => {
  stand = await VipStand.open("ports");
  ({ lab, clients } = stand);
}, 300_000);

afterAll(() => stand.close());

type Ends = () => Promise<readonly Tally[]>;
const begun: Ends[] = [];

/** Begins `box ARGS` in every client; the answer ends it in all of them and tells what each saw. */
function beginAll(...args: readonly string[]): Ends {
  const ends = clients.map((client) => begin(client, args));
  const end = async (): Promise<readonly Tally[]> => (await Promise.all(ends.map((one) => one()))).flat();
  begun.push(end);
  return end;
}

// A case that failed leaves no sender behind on the port of the next.
afterEach(async () => { await Promise.allSettled(begun.splice(0).map((end) => end())); });

const synRetries = async (box: Box): Promise<number> =>
  Number((await script(box, `awk '/^TcpExt:/ { if (c) print $c; else for (i = 1; i <= NF; i++) if ($i == "TCPSynRetrans") c = i }' /proc/net/netstat`)).join(""));

describe("a client whose connections all have one source port", () => {
  it.each([["rst", 9001], ["server", 80]] as const)("waits no second longer and reaches nobody who left, closed first by: %s", async (closes, port) => {
    const service = `ports-${closes}`;
    const { vip } = await stand.serve(service, 4, "--update-parallelism", "2", ...LINGERS);
    const before = await Promise.all(clients.map(synRetries));
    const end = beginAll("reuse", "-from", ":6000", "-for", "240s", "-every", "50ms", "-close", closes, `${vip}:${port}`);
    const lefts = await roll(stand, service, vip);
    for (const [index, tally] of (await end()).entries()) {
      const late = lateness(tally, lefts[index] ?? new Map());
      say(`port reuse, ${closes} closes, ${clients[index]?.node.name ?? ""}: ${tally.sent} connections, p50 ${tally.p50Us} µs, p99 ${tally.p99Us} µs, longest ${tally.maxUs} µs; last to one that leaves ${Math.max(...late)} ms after it left`);
      expect(tally.errors).toEqual({});
      expect(late).toHaveLength(4);
      expect(Math.max(...late)).toBeLessThanOrEqual(0);
      expect(tally.maxUs).toBeLessThan(1_000_000);
    }
    expect(await Promise.all(clients.map(synRetries))).toEqual(before);
  }, 300_000);
});

describe("a UDP sender with a fixed port", () => {
  const SERVICE = "ports-udp";
  const REPLICAS = 2;
  let vip: string;
  const send = (): Ends => beginAll("hold", "-from", ":5353", "-for", "240s", "-every", "50ms", "-timeout", "300ms", "udp", `${vip}:9000`);

  /** Whom connection tracking still leads the VIP's datagrams to, on all nodes; "nobody" where it keeps them for the VIP itself. */
  async function kept(): Promise<readonly string[]> {
    const lists = await Promise.all(lab.nodes.map((node) => must(node, ["sh", "-c", `conntrack -L -p udp --orig-dst ${vip} 2>/dev/null || true`])));
    const whom = lists.flatMap((text) => text.split("\n").filter((line) => line !== "").map((line) => / src=(\S+) /.exec(line.split("dport=")[1] ?? "")?.[1] ?? line));
    return [...new Set(whom.map((address) => (address === vip ? "nobody" : address)))].sort();
  }

  const untilKept = (what: string, isGood: (whom: readonly string[]) => boolean): Promise<boolean> => until(what, async () => {
    const whom = await kept();
    if (isGood(whom)) return true;
    throw new Error(`kept: ${whom.join(" ")}`);
  });

  it("is answered throughout an update, and by nobody who left", async () => {
    ({ vip } = await stand.serve(SERVICE, REPLICAS, "--update-parallelism", "1", ...LINGERS));
    const end = send();
    const lefts = await roll(stand, SERVICE, vip);
    for (const [index, tally] of (await end()).entries()) {
      const late = lateness(tally, lefts[index] ?? new Map());
      say(`UDP from one port through an update, ${clients[index]?.node.name ?? ""}: ${tally.sent} datagrams, longest gap ${tally.longestGapMs} ms; last to one that leaves ${Math.max(...late)} ms after it left`);
      // An answer that is under way at the moment its entry goes reaches nobody: one for each server that left, and nothing else, may be lost.
      expect(Object.keys(tally.errors).filter((reason) => reason !== "i/o timeout")).toEqual([]);
      expect(tally.failed).toBeLessThanOrEqual(REPLICAS);
      expect(Math.max(...late)).toBeLessThan(UDP_MOVES_MS);
    }
    const living = new Set((await addresses(stand, SERVICE)).values());
    expect((await kept()).filter((address) => !living.has(address))).toEqual([]);
  }, 300_000);

  it("is refused at zero with no entry kept, and answered by new ones after that", async () => {
    const end = send();
    await stand.scale(SERVICE, 0);
    await untilTasks(lab, SERVICE, 0);
    await untilKept("no entry to be kept", (whom) => whom.length === 0);
    await stand.scale(SERVICE, 3);
    const names = await untilTasks(lab, SERVICE, 3);
    const living = new Set((await addresses(stand, SERVICE)).values());
    await untilKept("an entry for a living one alone", (whom) => whom.length > 0 && whom.every((address) => living.has(address)));
    for (const [index, { errors, by, lastFailMs, firstMs, lastMs }] of (await end()).entries()) {
      const [first] = names.flatMap((name) => firstMs[name] ?? []).sort((a, b) => a - b);
      say(`UDP from one port over zero, ${clients[index]?.node.name ?? ""}: ${JSON.stringify(errors)}, by ${JSON.stringify(by)}; last failure ${lastFailMs - (first ?? 0)} ms after the first new answer`);
      expect(Object.keys(errors)).toContain("connection refused");
      const last = Object.entries(lastMs).sort(([, a], [, b]) => b - a)[0]?.[0];
      expect(names).toContain(last);
      expect(lastFailMs).toBeLessThan(first ?? 0);
    }
  }, 300_000);

  it("leaves nothing of the VIP when the service goes while it sends", async () => {
    const end = send();
    await until("its entries", async () => (await kept()).length > 0);
    await must(lab.node("node1"), ["docker", "service", "rm", SERVICE]);
    await untilTasks(lab, SERVICE, 0);
    await untilForgotten(lab, vip);
    for (const { sent } of await end()) expect(sent).toBeGreaterThan(0);
  }, 300_000);
});
