/**
 * What etcd knows: pools, leases, Docker's facts as managers published them, the other nodes' containers.
 *
 * In:  every key below the prefix, watched once.  Out: `views$`.
 * Rule: complete only while the watch stands, the layout is one we know and every record was readable once; when etcd is
 *       lost the items stay and turn "unknown". Emits at once: an empty, unknown picture. Never errors.
 */
import { Observable, ReplaySubject, share } from "rxjs";
import type { Emit } from "../core/events.ts";
import type { Views } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { unknownView, type Coverage, type View } from "../core/precedence.ts";
import type { Source } from "../core/reconciler.ts";
import type { StoredItem } from "../core/store.ts";
import { explain } from "../core/errors.ts";
import { EtcdBook } from "./etcd-book.ts";
import { foreignLayout, type ForeignLayout } from "./etcd-layout.ts";
import type { RecordKind, RecordOf } from "./etcd-records.ts";
import { isLetter } from "./letters.ts";
import { watchPrefix, type WatchNews, type WatchPace, type WatchPort } from "./etcd-watch.ts";

export interface EtcdSourceOptions {
  readonly client: WatchPort;
  readonly keys: Keys;
  readonly emit: Emit;
  readonly pace?: WatchPace;
  /** Told once it is seen and whenever it changes: the layout is one that this operator must not touch; undefined when it may. */
  readonly foreign?: (problem: ForeignLayout | undefined) => void;
  /** Told once: keys nobody can read, with the reason; the map changes with what is there. */
  readonly unreadable?: (garbage: ReadonlyMap<string, string>) => void;
  /** Told of each question and answer of nodes among each other, as it comes; a listing brings those that still lie there. */
  readonly letter?: (item: StoredItem) => void;
}

export const etcdSource = (options: EtcdSourceOptions): Source =>
  ({ name: "etcd", views$: pictures(options).pipe(share({ connector: () => new ReplaySubject(1), resetOnRefCountZero: true })) });

function pictures({ client, keys, emit, pace, foreign, unreadable, letter }: EtcdSourceOptions): Observable<Views> {
  return new Observable((out) => {
    const book = new EtcdBook(keys, ({ key, reason }) => emit("source.garbage", { source: "etcd", key, reason }));
    const say = speaker(emit, book);
    let told: string | undefined;
    let picture = EMPTY_PICTURE;
    unreadable?.(book.garbage);
    out.next(picture);
    return watchPrefix(client, `${keys.prefix}/`, pace).subscribe((news) => {
      if (news.kind === "listed") book.replaceAll(news.items);
      if (news.kind === "changed") book.update(news.puts, news.deletes);
      const problem = foreignLayout(book.schema);
      const trouble = troubleOf(news, problem);
      say(trouble);
      const telling = problem?.reason ?? "";
      if (news.kind !== "lost" && telling !== told) foreign?.(problem);
      if (news.kind !== "lost") told = telling;
      // A layout we do not know may mean something else by the same words: what we knew before it stays.
      const next = problem === undefined ? pictureOf(book, trouble === undefined ? "complete" : "unknown", picture) : lowered(picture);
      if (next !== picture) out.next(next);
      picture = next;
      if (letter !== undefined) for (const item of putsOf(news)) if (isLetter(keys, item)) letter(item);
    });
  });
}

const putsOf = (news: WatchNews): readonly StoredItem[] => (news.kind === "lost" ? [] : news.kind === "listed" ? news.items : news.puts);

/** Why nothing may be concluded from absence; undefined when all is well. */
function troubleOf(news: WatchNews, problem: ForeignLayout | undefined): string | undefined {
  if (news.kind === "lost") return explain(news.error);
  return problem === undefined ? undefined : `Cannot read etcd: ${problem.reason}. ${problem.cure}`;
}

/** Says `synced` and `lost` once per change, not per retry. */
function speaker(emit: Emit, book: EtcdBook): (trouble: string | undefined) => void {
  let last: string | undefined = "not yet connected";
  return (trouble) => {
    if (trouble === last) return;
    if (trouble === undefined) emit("source.synced", { source: "etcd", items: book.size });
    else emit("source.lost", { source: "etcd", reason: trouble });
    last = trouble;
  };
}

const EMPTY_PICTURE: Views = {
  networks: unknownView(), services: unknownView(), tasks: unknownView(), containers: unknownView(), endpoints: unknownView(),
  pools: unknownView(), subnets: unknownView(), members: unknownView(), grants: unknownView(), nodes: unknownView(), node: unknownView(),
};

const low = <T>(view: View<T>): View<T> => (view.coverage === "unknown" ? view : unknownView(view.items));

function lowered(views: Views): Views {
  const { networks, services, tasks, containers, pools, subnets, members, grants, nodes } = views;
  return merged(views, {
    networks: low(networks), services: low(services), tasks: low(tasks), containers: low(containers), pools: low(pools),
    subnets: low(subnets), members: low(members), grants: low(grants), nodes: low(nodes),
  });
}

function pictureOf(book: EtcdBook, coverage: Coverage, before: Views): Views {
  const view = <K extends RecordKind>(kind: K, old: View<RecordOf[K]>): View<RecordOf[K]> => {
    const items = book.all(kind);
    const sure: Coverage = coverage === "complete" && book.doubts(kind) ? "partial" : coverage;
    return old.items === items && old.coverage === sure ? old : { coverage: sure, items };
  };
  return merged(before, {
    networks: view("networks", before.networks), services: view("services", before.services), tasks: view("tasks", before.tasks),
    containers: view("containers", before.containers), pools: view("pools", before.pools), subnets: view("subnets", before.subnets),
    members: view("members", before.members), grants: view("grants", before.grants), nodes: view("nodes", before.nodes),
  });
}

type Told = Pick<Views, "networks" | "services" | "tasks" | "containers" | "pools" | "subnets" | "members" | "grants" | "nodes">;

/** The picture before where nothing is new, so that an echo of an uninteresting key wakes nobody. */
function merged(before: Views, told: Told): Views {
  const kinds = Object.keys(told) as (keyof Told)[];
  return kinds.every((kind) => told[kind] === before[kind]) ? before : { ...before, ...told };
}
