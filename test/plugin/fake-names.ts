/** Names as a test says them: one container, "front", and whoever reads its log. */
import { OperatorError } from "../../src/core/errors.ts";
import type { LogReader, NamesDebug } from "../../src/plugin/debug/names.ts";

export const FRONT = { container: "front", id: "3f2a", sandbox: "s1" } as const;

export interface FakeNames extends NamesDebug { readonly readers: Set<LogReader>; readonly flushed: (string | undefined)[] }

export function fakeNames(): FakeNames {
  const readers = new Set<LogReader>();
  const flushed: (string | undefined)[] = [];
  const known = (as: string): typeof FRONT => {
    if (as === FRONT.container) return FRONT;
    throw new OperatorError("not-found", `Cannot look as "${as}": no container is called so`, { cure: "There are: front" });
  };
  return {
    readers, flushed,
    query: async (as, name, type) => ({ ...known(as), name, type: type || "A", by: "zone", code: "NOERROR", records: [], authorities: [], truncated: false, tookMs: 1 }),
    table: (as) => ({ ...known(as), mode: "compatible", links: [], networks: [] }),
    flush: async (as) => { flushed.push(as === undefined ? as : known(as).container); return { containers: 1 }; },
    log: async (as, reader) => { known(as); readers.add(reader); return () => { readers.delete(reader); }; },
    stats: () => ({ sandboxes: 1, networks: 2, names: 3, counters: { udp: 4, answered: 5, forwardFailed: 6 } }),
  };
}
