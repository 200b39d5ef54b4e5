/** Nodes ask each other through etcd: the source's watch, the letters, the answers, on an etcd in memory (whose microtasks stay real). */
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { BehaviorSubject, Subject, type Subscription } from "rxjs";
import { OperatorError } from "../../src/core/errors.ts";
import type { NodeId } from "../../src/core/ids.ts";
import { keysBelow } from "../../src/core/names.ts";
import type { SwarmVipAnswer, VipAnswer } from "../../src/core/state-answer.ts";
import type { StoredItem } from "../../src/core/store.ts";
import { vipsOfSwarm } from "../../src/root/vip-swarm.ts";
import { etcdSource } from "../../src/sources/etcd.ts";
import { FakeEtcd } from "../fakes/etcd.ts";
import { ip, nodeRecord, snapshotOf } from "../plan/builders.ts";

const keys = keysBelow("/w");
const answer = (service: string): VipAnswer => ({
  engine: "nftables", why: "auto", vips: [{ service, network: "net", vip: ip("10.1.0.5"), scheduler: "rr", backends: [], differences: [] }],
});
let etcd: FakeEtcd;
let watches: Subscription[];
let said: { readonly event: string; readonly fields: unknown }[];
let views: number;
beforeEach(() => { jest.useFakeTimers({ doNotFake: ["nextTick", "queueMicrotask", "setImmediate"] }); [etcd, watches, said, views] = [new FakeEtcd(), [], [], 0]; });
afterEach(() => { for (const watch of watches) watch.unsubscribe(); jest.useRealTimers(); });

type Asks = (service?: string) => Promise<SwarmVipAnswer>;
/** Node n of three, with its watch; `isCut`: etcd is away. */
function node(n: number, vips: () => Promise<VipAnswer>, isCut = () => false): Asks {
  const client = etcd.client({ isAlive: () => true, isCut, fails: () => false });
  const letters$ = new Subject<StoredItem>();
  const emit = (event: string, fields: unknown): void => { said.push({ event, fields }); };
  watches.push(etcdSource({ client, keys, emit, letter: (item) => { letters$.next(item); } }).views$.subscribe(() => { views += 1; }));
  const { id, hostname } = nodeRecord(n);
  const snapshot$ = new BehaviorSubject(snapshotOf({ node: { id, hostname }, nodes: { items: [nodeRecord(1), nodeRecord(2), nodeRecord(3)] } }));
  const ask = vipsOfSwarm({ keys, emit }, { client, snapshot$, letters$ }, vips);
  return (service) => ask(service, new AbortController().signal);
}
const settle = (ms: number) => jest.advanceTimersByTimeAsync(ms);
async function asked(asking: Promise<SwarmVipAnswer>, ms: number): Promise<SwarmVipAnswer> {
  const [found] = await Promise.all([asking, settle(ms)]);
  return found;
}
const told = ({ nodes }: SwarmVipAnswer) => nodes.map(({ node: name, vips, missing }) => [name, missing ?? vips.map(({ service }) => service).join(" ")]);
const [one, two, three] = [1, 2, 3].map((n) => nodeRecord(n).hostname);

describe("a question to all nodes", () => {
  it("is answered by each, wakes nobody else, and leaves nothing behind", async () => {
    const [asks] = [node(1, async () => answer("web")), node(2, async () => answer("web")), node(3, async () => answer("shop"))];
    await settle(100);
    const before = views;
    expect(told(await asked(asks(), 200))).toEqual([[one, "web"], [two, "web"], [three, "shop"]]);
    expect(told(await asked(asks("web"), 200))).toEqual([[one, "web"], [two, "web"], [three, ""]]);
    await settle(1_000);
    expect([...etcd.items.keys()]).toEqual([]);
    expect([views, said.filter(({ event }) => event === "source.garbage")]).toEqual([before, []]);
  });

  it("names who cannot see its kernel, whose answer nobody can read, and who says nothing for 5 s", async () => {
    const asks = node(1, async () => answer("web"));
    node(2, async () => { throw new OperatorError("unavailable", "Cannot list tables: nft is gone"); });
    await settle(100);
    const asking = asks();
    await settle(1_000);
    const [key = ""] = [...etcd.items.keys()].filter((name) => name.startsWith(keys.questions));
    etcd.put(keys.answer(key.slice(keys.questions.length), "stranger"), "{");
    const found = told(await asked(asking, 5_000));
    expect(found).toEqual([[one, "web"], [two, expect.stringContaining("nft is gone")], [three, expect.stringContaining("no answer within 5 s")], ["stranger", expect.stringContaining("cannot be read")]]);
  });

  it("that nobody can read is said and harms nobody; so is one without a lease", async () => {
    const asks = node(1, async () => answer("web"));
    node(2, async () => answer("web"));
    node(3, async () => answer("web"));
    await settle(100);
    etcd.put(`${keys.questions}x`, "{");
    etcd.put(`${keys.questions}y`, '{"id":"y","asker":"z","size":1}');
    await settle(100);
    expect(new Set(said.filter(({ event }) => event === "source.garbage").map(({ fields }) => (fields as { key: string }).key))).toEqual(new Set([`${keys.questions}x`, `${keys.questions}y`]));
    expect(told(await asked(asks(), 200))).toEqual([[one, "web"], [two, "web"], [three, "web"]]);
  });

  it("without etcd shows this node, and why it is alone", async () => {
    let isCut = false;
    const asks = node(1, async () => answer("web"), () => isCut);
    await settle(100);
    isCut = true;
    const found = await asked(asks(), 10_000);
    expect(told(found)).toEqual([[one, "web"], [two, "it could not be asked"], [three, "it could not be asked"]]);
    expect(found.problem).toMatchObject({ code: "unavailable", cure: "Start etcd" });
  });

  it("is not answered by who asks it, whatever becomes of his name", async () => {
    const asks = node(1, async () => answer("web"));
    await settle(100);
    const asking = asks();
    await settle(1_000);
    expect([...etcd.items.keys()].filter((key) => key.startsWith(keys.answers))).toEqual([]);
    expect((await asked(asking, 5_000)).nodes[0]).toMatchObject({ id: nodeRecord(1).id as NodeId });
  });
});
