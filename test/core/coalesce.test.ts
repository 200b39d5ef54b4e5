/** Marbles: virtual time, runs of observables. Small letters are triggers, capitals what their run emits. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { asyncScheduler, delay, of, Subject, tap, throwError, type Observable } from "rxjs";
import { TestScheduler } from "rxjs/testing";
import { coalesce } from "../../src/core/coalesce.ts";

const virtual = (): TestScheduler => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
const lasting = (ms: number) => (trigger: string): Observable<string> => of(trigger.toUpperCase()).pipe(delay(ms));
const together = (waiting: string, latest: string): string => waiting + latest;

describe("coalesce", () => {
  it("runs at once when nothing runs", () => virtual().run(({ hot, expectObservable }) => {
    expectObservable(hot("a----b----").pipe(coalesce({ run: lasting(2) }))).toBe("--A----B--");
  }));

  it("makes one more run, with the latest, of what arrives during a run", () => virtual().run(({ hot, expectObservable }) => {
    expectObservable(hot("abcd-----------").pipe(coalesce({ run: lasting(5) }))).toBe("-----A----D----");
  }));

  it("starts the next run only when the one before has ended", () => virtual().run(({ hot, cold, expectObservable, expectSubscriptions }) => {
    const one = cold("---|");
    expectObservable(hot("ab--c----").pipe(coalesce({ run: () => one }))).toBe("---------");
    expectSubscriptions(one.subscriptions).toBe(["^--!", "---^--!", "------^--!"]);
  }));

  it("merges what waits", () => virtual().run(({ hot, expectObservable }) => {
    expectObservable(hot("abcd-----------").pipe(coalesce({ run: lasting(5), merge: together }))).toBe("-----A----(B)--", { A: "A", B: "BCD" });
  }));

  it("rests between runs and gathers meanwhile", () => virtual().run(({ hot, expectObservable }) => {
    let readyAt = 0;
    const run = (trigger: string): Observable<string> => lasting(1)(trigger).pipe(tap(() => { readyAt = asyncScheduler.now() + 5; }));
    const pauseMs = (): number => Math.max(0, readyAt - asyncScheduler.now());
    expectObservable(hot("ab-c-----------").pipe(coalesce({ run, pauseMs, merge: together }))).toBe("-A-----(B)-----", { A: "A", B: "BC" });
  }));

  it("asks for the pause anew at each trigger, so that an urgent one cuts it", () => virtual().run(({ hot, expectObservable }) => {
    const pauseMs = (waiting: string): number => (waiting.includes("u") ? 0 : 50);
    expectObservable(hot("a--u-----------").pipe(coalesce({ run: lasting(1), pauseMs, merge: together }))).toBe("----(R)--------", { R: "AU" });
  }));

  it("waits for another trigger when the pause is infinite", () => virtual().run(({ hot, expectObservable }) => {
    const pauseMs = (waiting: string): number => (waiting === "a" ? Infinity : 0);
    expectObservable(hot("a 99ms b---").pipe(coalesce({ run: lasting(1), pauseMs }))).toBe("- 99ms -B--");
  }));

  it("finishes the run in flight and drops what waits when the triggers end", () => virtual().run(({ hot, expectObservable }) => {
    expectObservable(hot("ab|      ").pipe(coalesce({ run: lasting(5) }))).toBe("-----(A|)");
  }));

  it("ends a pause with its subscription", () => virtual().run(({ hot, expectObservable }) => {
    expectObservable(hot("a------").pipe(coalesce({ run: lasting(1), pauseMs: () => 3 })), "--!").toBe("-------");
  }));

  it("interrupts the run when nobody listens any more", () => virtual().run(({ hot, cold, expectObservable, expectSubscriptions }) => {
    const one = cold("---------|");
    expectObservable(hot("a---").pipe(coalesce({ run: () => one })), "---!").toBe("----");
    expectSubscriptions(one.subscriptions).toBe("^--!");
  }));

  it("passes errors of a run and of the triggers on", () => virtual().run(({ hot, expectObservable }) => {
    expectObservable(hot("-a-").pipe(coalesce({ run: () => throwError(() => "broken") }))).toBe("-#", {}, "broken");
    expectObservable(hot("-#").pipe(coalesce({ run: lasting(1) }))).toBe("-#");
  }));
});

describe("coalesce, for any order of triggers and ends of runs", () => {
  it("never runs two at once, and the last run starts after the last trigger", () => {
    fc.assert(fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (steps) => {
      const triggers = new Subject<number>();
      const running: Subject<void>[] = [];
      const started: number[] = [];
      triggers.pipe(coalesce({
        run: (n) => {
          started.push(n);
          const one = new Subject<void>();
          running.push(one);
          return one;
        },
      })).subscribe();
      let last = 0;
      for (const isTrigger of steps) {
        if (isTrigger) triggers.next(++last);
        else running.pop()?.complete();
        expect(running.length).toBeLessThanOrEqual(1);
      }
      while (running.length > 0) running.pop()?.complete();
      expect(started.at(-1) ?? 0).toBe(last);
      expect(started.length).toBeLessThanOrEqual(last);
    }));
  });
});
