/**
 * What Docker knows: list, then events as hints to read again what they touch.
 *
 * In:  Docker's API, our driver's names, the underlay.  Out: `views$`.
 * Rule: an event is never a fact: a promoted manager replays its whole history as events. Every connection begins with a
 *       full listing; coverage is above "unknown" only while the event stream stands and the last listing succeeded.
 *       One reading of a kind at a time, each call ends after 5 s: while dockerd boots, requests hang and must not pile up.
 */
import {
  asyncScheduler, catchError, concat, defer, distinctUntilChanged, EMPTY, exhaustMap, filter, finalize, from, ignoreElements, interval, map, merge, of,
  repeat, ReplaySubject, share, skip, startWith, tap, throttleTime, throwError, timer,
  type Observable, type ObservableInput, type OperatorFunction,
} from "rxjs";
import { asOperatorError, explain, type OperatorError } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import type { Cidr } from "../core/ids.ts";
import type { Underlay } from "../core/model.ts";
import type { Source } from "../core/reconciler.ts";
import type { DockerApi } from "./docker-api.ts";
import { DockerBook } from "./docker-book.ts";
import { ALL_OF_SWARM, Hints, type SwarmHint } from "./docker-hints.ts";
import { readContainers, readSwarm, type Reading } from "./docker-read.ts";

export interface DockerSourceOptions {
  readonly api: DockerApi;
  /** Our driver's names; undefined while they are not known. */
  readonly driverNames: () => readonly string[] | undefined;
  readonly hostname: string;
  readonly underlay$: Observable<Underlay | undefined>;
  readonly emit: Emit;
  readonly pace?: DockerPace;
  /** Told once Docker's networks are known: who asks gets the ranges of those that are not ours by then, swarm's ingress among them. */
  readonly strangers?: (ranges: () => readonly Cidr[]) => void;
}

export interface DockerPace {
  /** Events within this time become one reading. */
  readonly gatherMs: number;
  /** Managers read their tasks this often, since no event tells of them; every second time everything is listed. */
  readonly pollMs: number;
  /** … and this often while services change (task-tempo.ts). */
  readonly movingMs: number;
  /** The node's role, id and leadership are looked at this often (8 ms): a promoted node's open event stream stays silent. */
  readonly roleMs: number;
  readonly backoffMs: readonly [first: number, max: number];
  /** How often a change of our driver's names is looked for. */
  readonly namesMs: number;
}

const PACE: DockerPace = { gatherMs: 20, pollMs: 30_000, movingMs: 250, roleMs: 5_000, backoffMs: [100, 2_000], namesMs: 500 };

/** One subscription's state. */
interface Desk extends DockerSourceOptions {
  readonly pace: DockerPace;
  readonly book: DockerBook;
  /** `undefined` = all is well; said once per change. */
  say(trouble: OperatorError | undefined): void;
  report(key: string, reason: string): void;
}

export function dockerSource(options: DockerSourceOptions): Source {
  const views$ = defer(() => {
    const book = new DockerBook(options);
    const desk: Desk = { ...options, pace: options.pace ?? PACE, book, say: speaker(options.emit, book), report: reporter(options.emit) };
    const underlay$ = options.underlay$.pipe(tap((underlay) => { book.underlay = underlay; }));
    return merge(underlay$, sessions(desk)).pipe(startWith(undefined), tap(tellStrangers(options, book)), map(() => book.views()), distinctUntilChanged());
  });
  return { name: "docker", views$: views$.pipe(share({ connector: () => new ReplaySubject(1), resetOnRefCountZero: true })) };
}

function tellStrangers({ strangers }: DockerSourceOptions, book: DockerBook): () => void {
  let isTold = false;
  return () => {
    if (isTold || book.networks === undefined) return;
    isTold = true;
    strangers?.(() => book.strangersRanges());
  };
}

function speaker(emit: Emit, book: DockerBook): Desk["say"] {
  let last: string | undefined = "not yet connected";
  return (trouble) => {
    const reason = trouble === undefined ? undefined : explain(trouble);
    if (reason === last) return;
    last = reason;
    if (reason !== undefined) return emit("source.lost", { source: "docker", reason });
    emit("source.synced", { source: "docker", items: (book.networks?.size ?? 0) + book.services.size + book.tasks.size + book.containers.size });
  };
}

function reporter(emit: Emit): Desk["report"] {
  const reported = new Set<string>();
  return (key, reason) => {
    if (reported.has(`${key} ${reason}`)) return;
    reported.add(`${key} ${reason}`);
    emit("source.garbage", { source: "docker", key, reason });
  };
}

/** 100 ms … 2 s, jittered. */
const pause = (failures: number, [first, max]: DockerPace["backoffMs"]): number =>
  Math.min(first * 2 ** Math.min(failures, 10), max) * (0.5 + Math.random() / 2);

/** Emits whenever the book may have changed. Never errors, never completes. */
function sessions(desk: Desk): Observable<unknown> {
  const { book, say, pace: { backoffMs } } = desk;
  let failures = 0;
  return defer(() => session(desk, () => { failures = 0; })).pipe(
    catchError((thrown: unknown) => {
      Object.assign(book, { live: false, swarmLive: false });
      say(asOperatorError(thrown));
      return of(undefined);
    }),
    repeat({ delay: () => timer(pause(failures++, backoffMs)) }),
  );
}

/** One life of the event stream: errors when the stream or a reading of the containers fails. */
function session(desk: Desk, listed: () => void): Observable<unknown> {
  const { api, book, report, say, pace } = desk;
  return defer(() => {
    const life = new AbortController();
    const hints = new Hints();
    const reading: Reading = { api, book, signal: life.signal, report };
    book.fingerprints.clear();
    const look$ = merge(events(desk, hints), polls(desk, hints), hints.again$).pipe(
      throttleTime(pace.gatherMs, asyncScheduler, { leading: false, trailing: true }), share(),
    );
    const local$ = look$.pipe(inRounds(() => hints.wantsLocal, () => readContainers(reading, hints.takeLocal())), tap(() => {
      book.live = true;
      listed();
    }));
    const swarm$ = look$.pipe(inRounds(() => hints.wantsSwarm, () => swarmRound(desk, reading, hints)));
    // A kill is shown before anything is read: the sooner nobody is sent there, the better.
    const kill$ = hints.kills$.pipe(tap(({ id, signal }) => book.signalled(id, signal)));
    const well$ = merge(swarm$, local$).pipe(tap(() => {
      if (!book.live || !book.swarmLive) return;
      say(undefined);
      if (book.hasNewStrangers()) hints.again({ networks: true });
    }));
    return merge(kill$, well$).pipe(finalize(() => life.abort()));
  });
}

/**
 * One round at a time, as long as something is wanted. Not a queue of looks: thousands that gather during one slow answer would end
 * each within the other, and the stack that overflows then takes the lane along without a word.
 */
const inRounds = (isWanted: () => boolean, round: () => ObservableInput<unknown>): OperatorFunction<unknown, unknown> => (look$) =>
  look$.pipe(filter(isWanted), exhaustMap(() => defer(round).pipe(repeat({ delay: () => (isWanted() ? of(undefined) : EMPTY) }))));

/** Swarm's part may fail while the engine's own stays good: then it alone is unknown, and is asked again. */
function swarmRound({ book, say, pace }: Desk, reading: Reading, hints: Hints): Observable<unknown> {
  const hint = hints.takeSwarm();
  const startedAtMs = Date.now();
  const before = book.tasks;
  return from(readSwarm(reading, hint)).pipe(
    tap(() => {
      book.swarmLive = true;
      if (hint.tasks === true) hints.tempo.read(book.tasks !== before, startedAtMs, Date.now());
    }),
    catchError((thrown: unknown) => {
      const error = asOperatorError(thrown);
      if (error.code === "bug") return throwError(() => error);
      book.swarmLive = false;
      say(error);
      // No answer from swarm may be no answer at all: the listing tells, and if it fails the session ends.
      hints.addListing();
      return concat(of(undefined), again(hints, {}), timer(pause(10, pace.backoffMs)).pipe(ignoreElements()), again(hints, ALL_OF_SWARM));
    }),
  );
}

const again = (hints: Hints, hint: SwarmHint): Observable<never> => defer(() => {
  hints.again(hint);
  return EMPTY;
});

function events({ api, book }: Desk, hints: Hints): Observable<unknown> {
  return api.events().pipe(tap((signal) => {
    if (signal.kind === "event") hints.addEvent(signal.event, book);
    else hints.addAll();
  }));
}

function polls({ book, driverNames, pace }: Desk, hints: Hints): Observable<unknown> {
  const poll$ = interval(pace.pollMs).pipe(tap((n) => {
    if (n % 2 === 1) hints.addAll();
    else if (book.info?.role === "manager") hints.addSwarm({ tasks: true });
  }));
  const moving$ = interval(pace.movingMs).pipe(tap(() => {
    if (book.info?.role === "manager" && hints.tempo.wants(Date.now())) hints.addSwarm({ tasks: true });
  }));
  const role$ = interval(pace.roleMs).pipe(tap(() => hints.addSwarm({ node: true })));
  const names$ = interval(pace.namesMs).pipe(
    startWith(0), map(() => driverNames()?.join(" ")), distinctUntilChanged(), skip(1), tap(() => {
      book.fingerprints.clear();
      hints.addAll();
    }),
  );
  return merge(poll$, moving$, role$, names$);
}
