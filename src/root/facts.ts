/**
 * Sources → snapshots, and the address book that answers from them.
 *
 * In:  the places outside (root/outside.ts).  Out: the newest snapshot, from the first moment on.
 * Rule: the first snapshot exists before anything listens; addresses are noted before they are answered.
 */
import {
  asapScheduler, asyncScheduler, BehaviorSubject, combineLatest, distinctUntilChanged, firstValueFrom, interval, map, observeOn, of, ReplaySubject, share, startWith, Subject,
  throttleTime, timeout, type Observable,
} from "rxjs";
import { AddressBook } from "../core/address-book.ts";
import type { Standings } from "../core/liveness.ts";
import type { Cidr } from "../core/ids.ts";
import type { Snapshot, Underlay, Views } from "../core/model.ts";
import type { Problem } from "../core/state-answer.ts";
import { unknownView, type Authority } from "../core/precedence.ts";
import { snapshotOf, snapshots$ } from "../core/snapshot.ts";
import type { StoredItem } from "../core/store.ts";
import { EtcdClaims } from "../sinks/claims.ts";
import { setAsideOf } from "../sinks/state-file.ts";
import { readLease, readPool } from "../sources/claimed.ts";
import { dockerSource, type DockerSourceOptions } from "../sources/docker.ts";
import type { WatchingClient } from "../sources/etcd-client.ts";
import { guardLayout } from "../sources/etcd-layout.ts";
import { etcdSource, type EtcdSourceOptions } from "../sources/etcd.ts";
import { keep, keepOthers, leasesKept, recall, recallOthers, type Kept } from "../sources/kept.ts";
import { liveness } from "../sources/liveness.ts";
import { Memory, NOTHING } from "../sources/memory.ts";
import { PATHS, type Base } from "./base.ts";
import type { Outside } from "./outside.ts";

/** Desired states that depend on time (grace, rest) are looked at this often. */
const TICK_MS = 5_000;
/** What is noted goes to the disk this often at most; a power cut that is sooner ends the containers, too. */
const KEEP_MS = 1_000;
/** What is known of the other nodes; theirs to tell again when etcd answers. */
const OTHERS_MS = 5_000;
/** A network that is made before Docker's first listing waits this long for it. */
const LISTING_MS = 3_000;

export interface Facts {
  readonly client: WatchingClient;
  readonly memory: Memory;
  readonly views: Readonly<Record<Authority, Views>>;
  readonly snapshot$: BehaviorSubject<Snapshot>;
  /** Who speaks, who is in doubt, who counts as dead, of the other nodes. */
  readonly standings: () => Standings;
  readonly book: AddressBook;
  /** What etcd holds below our prefix and nobody can read. */
  readonly garbage: () => ReadonlyMap<string, string>;
  /** What nodes ask each other and answer. */
  readonly letters$: Observable<StoredItem>;
  /** Writes the state file; resolves when it is written, or known that it cannot be. */
  save(): Promise<void>;
}

/** What a person should look at; it is said until the file is gone. */
export const damagedFiles = (): readonly Problem[] => ["state.json", "others.json"].flatMap((name) => setAsideOf(`${PATHS.state}/${name}`)).map((path) => ({
  what: "state file", reason: `it was damaged, or written by another version, and was set aside as ${path.replace(/^\/host/, "")}; its content was learned anew`,
  cure: "Check the disk; then remove that file",
}));

/** What only starts with "not known": filled in by root/host.ts. */
export interface Found {
  readonly underlay$: BehaviorSubject<Underlay | undefined>;
  readonly names$: BehaviorSubject<readonly string[] | undefined>;
}

type Foundation = Pick<Base, "config" | "keys" | "emit" | "admission">;

export function facts(base: Foundation, found: Found, unguarded: Outside): Facts {
  const { keys, emit, admission } = base;
  const { client, settle } = guardLayout(unguarded.etcd, keys);
  const strangers$ = new ReplaySubject<() => readonly Cidr[]>(1);
  const letters$ = new Subject<StoredItem>();
  const outside = { ...unguarded, etcd: client, routes: withNetworks(unguarded.routes, strangers$) };
  const { state, others } = outside;
  const tell: Tell = { foreign: (problem) => { settle(problem); admission.settle("etcd", problem); }, strangers: (ranges) => { strangers$.next(ranges); }, letter: (item) => { letters$.next(item); } };
  const kept = recall(state.read(), keys, emit);
  const memory = new Memory(kept.views, Date.now);
  const { views, snapshot$, standings, garbage } = snapshots(base, found, kept, memory, outside, recallOthers(others.read(), keys, emit), tell);
  snapshot$.pipe(map(standings), distinctUntilChanged(), throttleTime(OTHERS_MS, asyncScheduler, { leading: false, trailing: true }))
    .subscribe((now) => void others.write(keepOthers(now, keys)));
  const book: AddressBook = new AddressBook({
    claims: claims(base, outside, snapshot$), own: memory, snapshot: () => snapshot$.value, save: () => state.note(content()), now: Date.now, emit,
  }, kept.ledger);
  const content = (): unknown => keep(snapshot$.value, book.state(), keys);
  snapshot$.pipe(throttleTime(KEEP_MS, asyncScheduler, { leading: false, trailing: true })).subscribe(() => void state.write(content()));
  return { client, memory, views, snapshot$, standings, garbage, letters$, book, save: () => state.write(content()) };
}

/** What sources notice beside their views. */
type Tell = Required<Pick<EtcdSourceOptions, "foreign" | "letter"> & Pick<DockerSourceOptions, "strangers">>;

/** A container on two networks of one range, as a published task is on swarm's ingress, reaches only one of them. */
const withNetworks = (routes: Outside["routes"], strangers$: Observable<() => readonly Cidr[]>): Outside["routes"] => async () =>
  [...await routes(), ...(await firstValueFrom(strangers$.pipe(timeout({ first: LISTING_MS, with: () => of(() => []) }))))()];

function snapshots(
  { keys, emit }: Foundation, { underlay$, names$ }: Found, kept: Kept, memory: Memory, { docker, etcd, probe, hostname }: Outside, others: Standings,
  { foreign, strangers, letter }: Tell,
): Pick<Facts, "views" | "snapshot$" | "standings" | "garbage"> {
  const views: Record<Authority, Views> = { docker: kept.views, etcd: kept.views, memory: kept.views };
  const noted = (from: Authority, views$: Observable<Views>): Observable<Views> =>
    views$.pipe(map((seen) => { views[from] = seen; return seen; }), share({ connector: () => new ReplaySubject(1) }));
  const docker$ = noted("docker", dockerSource({ api: docker, driverNames: () => names$.value, hostname, underlay$, emit, strangers }).views$);
  let garbage: ReadonlyMap<string, string> = new Map();
  const etcd$ = etcdSource({ client: etcd, keys, emit, foreign, letter, unreadable: (found) => { garbage = found; } }).views$;
  const alive = liveness({ etcd$, docker$, probe, emit, kept: others });
  const sources = {
    docker: docker$,
    etcd: noted("etcd", alive.views$),
    memory: noted("memory", combineLatest([memory.views$, underlay$]).pipe(map(([seen, underlay]) => (
      { ...seen, subnets: leasesKept(seen.subnets, kept.publicIp, underlay?.address), node: ownNode(kept, hostname, underlay) })))),
  };
  const tick$ = interval(TICK_MS).pipe(startWith(0));
  const snapshot$ = new BehaviorSubject(snapshotOf(views, NOTHING, 0, Date.now()));
  snapshots$(sources, combineLatest([memory.intents$, tick$]).pipe(map(([intents]) => intents)), Date.now).subscribe(snapshot$);
  // After the snapshot has the new views: what is confirmed needs no intent any more. Nor, by the clock, what its source has not shown.
  combineLatest([sources.docker, tick$]).pipe(observeOn(asapScheduler)).subscribe(([seen]) => memory.confirmDocker(seen));
  combineLatest([sources.etcd, tick$]).pipe(observeOn(asapScheduler)).subscribe(([seen]) => memory.confirmEtcd(seen));
  return { views, snapshot$, standings: alive.standings, garbage: () => garbage };
}

/** This node as it was last known, until Docker speaks. */
const ownNode = (kept: Kept, hostname: string, underlay: Underlay | undefined): Views["node"] =>
  unknownView(new Map([["self", { hostname, leader: false, dockerSeen: false, ...kept.node, ...(underlay === undefined ? {} : { underlay }) }]]));

const claims = (
  { config, keys, emit }: Foundation, { etcd: client, routes, hostname }: Outside, snapshot$: BehaviorSubject<Snapshot>,
): EtcdClaims => new EtcdClaims({
  client, keys, emit, networkLength: config.networkLength, hostLength: config.hostLength, serviceAddresses: config.serviceAddresses,
  vniStart: config.vniStart, available: config.available, routes, now: Date.now,
  decodePool: (key, value) => readPool(keys, key, value), decodeLease: (key, value) => readLease(keys, key, value),
  owner: () => snapshot$.value.node.id ?? hostname,
});
