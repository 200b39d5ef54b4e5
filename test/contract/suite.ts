/** One list of cases, run on the fake and on the kernel: what holds on one and not on the other is a wrong fake or a wrong adapter. */
import { afterAll, describe, test } from "@jest/globals";

export interface World { close(): Promise<void> }
type Kind = "fake" | "kernel";
export type Worlds<W extends World> = Readonly<Record<Kind, () => Promise<W>>>;
export type Cases<W> = Readonly<Record<string, (world: W) => Promise<void>>>;

/** Each case gets a fresh world. The last line says how many cases passed where. */
export function contract<W extends World>(adapter: string, worlds: Worlds<W>, cases: Cases<W>, { timeoutMs = 60_000 } = {}): void {
  const passed: Record<Kind, number> = { fake: 0, kernel: 0 };
  for (const kind of ["fake", "kernel"] as const) {
    describe(`${adapter} on the ${kind}`, () => {
      test.each(Object.entries(cases))("%s", async (_title, run) => {
        const world = await worlds[kind]();
        try {
          await run(world);
          passed[kind] += 1;
        } finally {
          await world.close();
        }
      }, timeoutMs);
    });
  }
  afterAll(() => { process.stdout.write(`contract ${adapter}: ${passed.fake} cases on the fake, ${passed.kernel} on the kernel\n`); });
}
