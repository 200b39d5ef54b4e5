/**
 * Keeps true: rivals are measured under the same conditions, one after the other within each round, so that a busy minute hits all.
 * In: contestants. Out: one list of samples per contestant, in the order given.
 */

/** Each round runs every contestant once; who goes first changes from round to round. */
export async function inRounds<T>(rounds: number, contestants: readonly (() => Promise<T>)[]): Promise<readonly (readonly T[])[]> {
  const samples: T[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (let place = 0; place < contestants.length; place += 1) {
      const who = (place + round) % contestants.length;
      const sample = await contestants[who]?.();
      if (sample !== undefined) samples[who]?.push(sample);
    }
  }
  return samples;
}

/** Milliseconds that `work` takes. */
export async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now();
  await work();
  return performance.now() - since;
}

/** `count` times `work`, at most `width` at once. */
export async function abreast(count: number, width: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await work(next - 1);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
}
