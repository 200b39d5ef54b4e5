/**
 * The table around the balancer, `table ip fnp-vips`: read once for the two reconcilers that keep it.
 *
 * In:  `VipChange`s.  Out: `VipState`; for the balancer the listing and a way to write.
 * Rule: present whole or absent. A listing is kept until somebody says that the table may have changed (`changed`: a line of
 * `nft monitor`, a write of ours) or it is older than a minute: at thousands of VIPs each listing costs a second.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { VIP_TABLE } from "../core/names.ts";
import { OperatorError } from "../core/errors.ts";
import type { Sink } from "../core/reconciler.ts";
import { expectSuccess, type Exec, type Output } from "./exec.ts";
import type { Json } from "./nft-table/layout.ts";
import { isRow, objectsOf, type Row } from "./nft-table/parts.ts";
import type { FrameOf } from "./vip-table/frame.ts";
import { NO_VIPS, parseVips } from "./vip-table/parse.ts";
import { renderVips } from "./vip-table/render.ts";
import type { VipChange, VipState } from "./vip-table/vocabulary.ts";

export type { FrameOf, MarkRange } from "./vip-table/frame.ts";
export { vipKey, type VipChange, type VipEntries, type VipEntry, type VipNetwork, type VipState } from "./vip-table/vocabulary.ts";

const TIMEOUT_MS = 20_000;
const KEPT_MS = 60_000;
const MADE_MS = 5_000;
const ASK_EVERY_MS = 20;
/** nft 1.0.6 and 1.1.3, the kernel's ENOENT. */
const NO_TABLE = /^Error: No such file or directory$/m;

/** The table as a facility of two writers. */
export interface VipTable {
  /** Undefined when there is no table. */
  list(signal: AbortSignal): Promise<readonly Row[] | undefined>;
  write(text: string, signal: AbortSignal): Promise<void>;
  /** Ends when the table is there, at the latest after 5 s: with a node's first network both writers begin at once. */
  made(signal: AbortSignal): Promise<void>;
  /** The next look asks the kernel. */
  changed(): void;
}

export function vipTable(exec: Exec, now: () => number): VipTable {
  let kept: { readonly objects: readonly Row[] | undefined; readonly atMs: number } | undefined;
  let generation = 0;
  const changed = (): void => {
    kept = undefined;
    generation += 1;
  };
  const table: VipTable = {
    changed,
    async list(signal) {
      if (kept !== undefined && now() - kept.atMs < KEPT_MS) return kept.objects;
      const asked = generation;
      const output = await exec({ file: "nft", args: ["-j", "list", "table", "ip", VIP_TABLE], timeoutMs: TIMEOUT_MS }, signal);
      const absent = output.exitCode !== 0 && NO_TABLE.test(output.stderr);
      const objects = absent ? undefined : objectsOf(decode(expectSuccess(output, `list the nft table ${VIP_TABLE}`)));
      if (asked === generation) kept = { objects, atMs: now() };
      return objects;
    },
    async made(signal) {
      const until = now() + MADE_MS;
      // A listing that found nothing is kept too: asking again costs nothing until the other writer has written.
      while ((await table.list(signal)) === undefined && now() < until) await sleep(ASK_EVERY_MS, undefined, { signal });
    },
    async write(stdin, signal) {
      changed();
      try { expectSuccess(await exec({ file: "nft", args: ["-f", "-"], stdin, timeoutMs: TIMEOUT_MS }, signal), `write the nft table ${VIP_TABLE}`); }
      finally { changed(); }
    },
  };
  return table;
}

function decode({ stdout }: Output): Json {
  try {
    return JSON.parse(stdout) as Json;
  } catch (error) {
    throw new OperatorError("unavailable", `Cannot read the nft table ${VIP_TABLE}: its listing is not JSON`, { cause: error });
  }
}

export function vipFrame(table: VipTable, of: FrameOf): Sink<VipState, VipChange> {
  const look = async (signal: AbortSignal) => {
    const objects = await table.list(signal);
    const chains = (objects ?? []).flatMap(({ chain }) => (isRow(chain) ? [String(chain["name"])] : []));
    return { chains, seen: objects === undefined ? NO_VIPS : parseVips({ nftables: objects }, of) };
  };
  return {
    observe: async (signal) => {
      const { entries, faults } = (await look(signal)).seen;
      return { entries, faults };
    },
    apply: async (changes, signal) => {
      if (changes.length === 0) return;
      const { seen, chains } = await look(signal);
      await table.write(renderVips(changes, seen, chains, of), signal);
    },
  };
}
