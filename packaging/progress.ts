/**
 * Keeps true: whoever waits for the build sees what it does and since when, on standard error; standard output stays for the result.
 * In: steps with a name. Out: one line at a step's start and one at its end. Rule: no decision is taken here.
 */

export interface Progress {
  /** one line, with the seconds since the build began */
  say(text: string): void;
  /** runs the work between two lines; the second tells the seconds it took */
  step<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** `write` takes whole lines, the line break included. */
export function progressTo(write: (line: string) => void, now: () => number = () => performance.now()): Progress {
  const begun = now();
  const seconds = (since: number): string => ((now() - since) / 1_000).toFixed(1);
  const say = (text: string): void => write(`[${seconds(begun).padStart(6)} s] ${text}\n`);
  return {
    say,
    async step(name, work) {
      const since = now();
      say(`${name} ...`);
      const result = await work();
      say(`${name}: done in ${seconds(since)} s`);
      return result;
    },
  };
}
