/** When to try again: pure arithmetic. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { OperatorError, RETRY, type ErrorCode } from "../../src/core/errors.ts";
import { backoffMs, DEFAULT_PACE, delayAfterFailureMs, leftMs } from "../../src/core/pace.ts";

const random = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const failures = fc.integer({ min: 1, max: 5000 });

describe("backoff", () => {
  it.each([[1, 100], [2, 200], [3, 400], [10, 51_200], [11, 60_000], [4000, 60_000]])("before retry %d is at most %d ms", (n, ms) => {
    expect(backoffMs(n, [100, 60_000], 1)).toBe(ms);
    expect(backoffMs(n, [100, 60_000], 0)).toBe(ms / 2);
  });

  it("stays between half the first and the longest, and never shrinks by more than the jitter", () => {
    fc.assert(fc.property(failures, random, random, (n, one, other) => {
      const delay = backoffMs(n, [100, 60_000], one);
      expect(delay).toBeGreaterThanOrEqual(50);
      expect(delay).toBeLessThanOrEqual(60_000);
      expect(backoffMs(n + 1, [100, 60_000], other)).toBeGreaterThanOrEqual(delay / 2);
    }));
  });
});

describe("delay after a failure", () => {
  it.each(Object.entries(RETRY))("with code %s (%s)", (code, policy) => {
    const error = new OperatorError(code as ErrorCode, "Cannot see: dark");
    expect(delayAfterFailureMs(1, error, DEFAULT_PACE, 1)).toBe(policy === "backoff" ? 100 : DEFAULT_PACE.resyncMs);
  });

  it("without an error backs off: what was applied did not stay", () => expect(delayAfterFailureMs(2, undefined, DEFAULT_PACE, 1)).toBe(200));
});

describe("what is left of a rest", () => {
  it.each([
    [0, 200, 0, 200], [0, 200, 150, 50], [0, 200, 200, 0], [0, 200, 9000, 0],
    [9000, 200, 0, 0], [0, Infinity, 9000, Infinity], [-Infinity, 200, 0, 0],
  ])("since %d, %d long, at %d: %d", (since, length, now, left) => expect(leftMs(since, length, now)).toBe(left));
});
