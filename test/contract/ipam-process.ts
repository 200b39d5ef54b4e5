/**
 * The address book as a process of its own, for a test that kills it: real etcd, real state file, real decoders and claims.
 *
 * In:  one JSON command a line on stdin.  Out: one JSON answer a line. Docker's listing and the clock are what the test says.
 * Rule: everything but Docker and the clock is composed as in src/root.
 */
import { createInterface } from "node:readline";
import { BehaviorSubject, combineLatest, map } from "rxjs";
import { AddressBook } from "../../src/core/address-book.ts";
import { createEngine } from "../../src/core/engine.ts";
import { asOperatorError } from "../../src/core/errors.ts";
import type { Cidr, EndpointId, NetworkId } from "../../src/core/ids.ts";
import type { Endpoint, Network, NodeFacts, Service, Snapshot, Views } from "../../src/core/model.ts";
import { keysBelow } from "../../src/core/names.ts";
import { unknownView, type Coverage, type View } from "../../src/core/precedence.ts";
import { bind } from "../../src/core/reconciler.ts";
import { snapshotOf, snapshots$ } from "../../src/core/snapshot.ts";
import { Admission } from "../../src/plugin/admission.ts";
import { ipamDriver } from "../../src/plugin/ipam-driver.ts";
import { METHODS } from "../../src/plugin/protocol.ts";
import { mirrorWith } from "../../src/reconcilers/mirror.ts";
import { EtcdClaims } from "../../src/sinks/claims.ts";
import { etcdSink } from "../../src/sinks/etcd.ts";
import { stateFile } from "../../src/sinks/state-file.ts";
import { readLease, readPool } from "../../src/sources/claimed.ts";
import { connectEtcd } from "../../src/sources/etcd-client.ts";
import { etcdSource } from "../../src/sources/etcd.ts";
import { keep, recall } from "../../src/sources/kept.ts";
import { Memory, NOTHING } from "../../src/sources/memory.ts";
import { MY_IP, NODE } from "../plan/builders.ts";

export interface Listing { readonly complete: boolean; readonly endpoints: readonly Endpoint[]; readonly services: readonly Service[]; readonly networks: readonly Network[] }
export type Command =
  | { readonly do: "call"; readonly method: "IpamDriver.RequestPool" | "IpamDriver.RequestAddress" | "IpamDriver.ReleaseAddress" | "IpamDriver.ReleasePool"; readonly body: object }
  | { readonly do: "bind"; readonly network: NetworkId; readonly cidr: Cidr }
  | { readonly do: "begin"; readonly endpoint: Endpoint }
  | { readonly do: "end"; readonly endpoint: EndpointId }
  | { readonly do: "docker"; readonly listing: Listing }
  | { readonly do: "clock"; readonly nowMs: number }
  | { readonly do: "fix" | "report" | "settled" };
export interface Reply { readonly ok?: unknown; readonly error?: { readonly code: string; readonly message: string } }

const [endpoint = "", folder = "", startMs = "0"] = process.argv.slice(2);
let nowMs = Number(startMs);
const now = (): number => nowMs;
const emit = (): undefined => undefined;
const keys = keysBelow("/flannel");
const nothing: Views = {
  networks: unknownView(), services: unknownView(), tasks: unknownView(), containers: unknownView(), endpoints: unknownView(), pools: unknownView(),
  subnets: unknownView(), members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
};
const self: NodeFacts = { id: NODE, hostname: "box", role: "manager", leader: true, dockerSeen: true, underlay: { link: "eth0", address: MY_IP, mtuBytes: 1500 } };
const node: View<NodeFacts> = { coverage: "complete", items: new Map([["self", self]]) };

const client = connectEtcd({ endpoints: [endpoint] });
const state = stateFile({ path: `${folder}/state.json`, notePath: `${folder}/note/state.json`, emit });
const kept = recall(state.read(), keys, emit);
const memory = new Memory(kept.views, now);
const docker$ = new BehaviorSubject<Views>({ ...nothing, node });
const etcd$ = new BehaviorSubject<Views>(nothing);
etcdSource({ client, keys, emit }).views$.subscribe(etcd$);
const snapshot$ = new BehaviorSubject<Snapshot>(snapshotOf({ docker: docker$.value, etcd: nothing, memory: kept.views }, NOTHING, 0, nowMs));
snapshots$({ docker: docker$, etcd: etcd$, memory: memory.views$ }, combineLatest([memory.intents$, new BehaviorSubject(0)]).pipe(map(([intents]) => intents)), now).subscribe(snapshot$);
docker$.subscribe((views) => queueMicrotask(() => memory.confirmDocker(views)));
etcd$.subscribe((views) => queueMicrotask(() => memory.confirmEtcd(views)));
const claims = new EtcdClaims({
  client, keys, emit, now, networkLength: 24, hostLength: 27, serviceAddresses: 64, vniStart: 100, available: ["10.9.0.0/16" as Cidr], routes: () => Promise.resolve([]),
  decodePool: (key, value) => readPool(keys, key, value), decodeLease: (key, value) => readLease(keys, key, value), owner: () => NODE,
});
const content = (): unknown => keep(snapshot$.value, book.state(), keys);
const book: AddressBook = new AddressBook({ claims, own: memory, snapshot: () => snapshot$.value, save: () => state.note(content()), now, emit }, kept.ledger);
const lease = { id: () => client.grantLease(600), current: () => undefined };
createEngine({
  snapshot$, emit, bindings: [bind({ reconciler: mirrorWith(keys), sink: etcdSink({ client, lease, prefixes: () => [keys.serviceRanges] }), pace: { minIntervalMs: 50, resyncMs: 1_000, backoffMs: [50, 500] } })],
});
const ipam = ipamDriver(book, new Admission());
const drivers = {
  "IpamDriver.RequestPool": (body: object) => ipam.requestPool(METHODS["IpamDriver.RequestPool"].decode(body), AbortSignal.timeout(20_000)),
  "IpamDriver.RequestAddress": (body: object) => ipam.requestAddress(METHODS["IpamDriver.RequestAddress"].decode(body), AbortSignal.timeout(20_000)),
  "IpamDriver.ReleaseAddress": (body: object) => ipam.releaseAddress(METHODS["IpamDriver.ReleaseAddress"].decode(body), AbortSignal.timeout(20_000)),
  "IpamDriver.ReleasePool": (body: object) => ipam.releasePool(METHODS["IpamDriver.ReleasePool"].decode(body), AbortSignal.timeout(20_000)),
};

function listed({ complete, endpoints, services, networks }: Listing): Views {
  const coverage: Coverage = complete ? "complete" : "unknown";
  const view = <T extends { readonly id: string }>(items: readonly T[]): View<T> => ({ coverage, items: new Map(items.map((item) => [item.id, item])) });
  return { ...nothing, node, endpoints: view(endpoints), services: view(services), networks: view(networks) };
}

async function obey(command: Command): Promise<unknown> {
  switch (command.do) {
    case "call": return drivers[command.method](command.body);
    case "bind": return book.bind({ network: command.network, cidr: command.cidr, options: {} });
    case "begin": return memory.begin(command.endpoint);
    case "end": return memory.end(command.endpoint);
    case "docker": return docker$.next(listed(command.listing));
    case "clock": nowMs = command.nowMs; return undefined;
    case "fix": return book.fix();
    case "report": return book.report();
    case "settled": return snapshot$.value.pools.settled;
  }
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, command } = JSON.parse(line) as { id: number; command: Command };
  const reply = (answer: Reply): void => { process.stdout.write(`${JSON.stringify({ id, ...answer })}\n`); };
  obey(command).then((ok) => reply({ ok: ok ?? null }), (error: unknown) => {
    const { code, message } = asOperatorError(error);
    reply({ error: { code, message } });
  });
});
