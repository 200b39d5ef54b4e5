/**
 * The balancer as IPVS services, one pair per VIP, found by the marks that our nft table gives.
 *
 * In:  `BalancerChange`s.  Out: `BalancerState`, read back from the kernel: the table of IPVS and the maps of marks.
 * Rule: a VIP's marks go before its services. `ipvsadm --restore` is not atomic and its exit code is that of the last line:
 * any word on stderr is failure, and only another look tells what happened (ipvsadm 1.31).
 */
import { OperatorError } from "../../core/errors.ts";
import type { Sink } from "../../core/reconciler.ts";
import type { Conntrack } from "../conntrack.ts";
import { expectSuccess, isDenied, NEEDS_NET_ADMIN, type Exec } from "../exec.ts";
import type { MarkRange, VipTable } from "../vip-table.ts";
import { Drains } from "./drains.ts";
import { forget, type Flow } from "./flows.ts";
import { entriesOf, marksOf, renderIpvs, type IpvsTables } from "./ipvs-plan.ts";
import { hasAffinity, hertzOf, parseIpvs } from "./ipvs-text.ts";
import { serverKey, type BalancerChange, type BalancerState } from "./vocabulary.ts";

const TIMEOUT_MS = 20_000;

export interface IpvsOptions {
  readonly table: VipTable;
  readonly exec: Exec;
  readonly conntrack: Conntrack;
  readonly marks: MarkRange;
  /** Text of /proc/net/ip_vs; rejects when there is no IPVS. */
  readonly services: (signal: AbortSignal) => Promise<string>;
  readonly now: () => number;
}

export function ipvsBalancer({ table, exec, conntrack, marks, services, now }: IpvsOptions): Sink<BalancerState, BalancerChange> {
  const drains = new Drains(now);
  /** The kernel's, which never changes. */
  let hertz: number | undefined;
  const look = async (signal: AbortSignal): Promise<IpvsTables> => {
    const [objects, text] = await Promise.all([table.list(signal), services(signal)]);
    if (hertz === undefined && hasAffinity(text)) hertz = hertzOf(text, await saved(exec, signal));
    return { marks: marksOf(objects ?? []), services: parseIpvs(text, marks, hertz) };
  };
  return {
    observe: async (signal) => {
      const tables = await look(signal);
      const keys = entriesOf(tables, () => 0).flatMap(([key, entry]) => (entry.kind === "server" && entry.weight === 0 ? [key] : []));
      return new Map(entriesOf(tables, drains.seen(keys)));
    },
    apply: async (changes, signal) => {
      if (changes.length === 0) return;
      await table.made(signal);
      const tables = await look(signal);
      const { nft, ipvsadm } = render(tables, changes, marks);
      if (nft !== "") await table.write(nft, signal);
      if (ipvsadm !== "") await restore(exec, ipvsadm, signal);
      await forget(conntrack, flowsOf(tables, changes), signal);
    },
  };
}

function render(tables: IpvsTables, changes: readonly BalancerChange[], marks: MarkRange): ReturnType<typeof renderIpvs> {
  try { return renderIpvs(tables, changes, marks); }
  catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new OperatorError("exhausted", `Cannot balance more services: all marks from ${marks.first} to ${marks.last} are in use`, { cause, cure: "Set a larger MARK_RANGE; every service needs two" });
  }
}

async function saved(exec: Exec, signal: AbortSignal): Promise<string> {
  return expectSuccess(await exec({ file: "ipvsadm", args: ["--save", "-n"], timeoutMs: TIMEOUT_MS }, signal), "read IPVS services").stdout;
}

export async function restore(exec: Exec, stdin: string, signal: AbortSignal): Promise<void> {
  const output = await exec({ file: "ipvsadm", args: ["--restore"], stdin, timeoutMs: TIMEOUT_MS }, signal);
  const said = output.stderr.split("\n").find((line) => line.trim() !== "")?.trim();
  if (said === undefined) return void expectSuccess(output, "write IPVS services");
  throw new OperatorError(isDenied(said) ? "denied" : "unavailable", `Cannot write IPVS services: ${said}`, {
    context: { stderr: output.stderr }, ...(isDenied(said) ? { cure: NEEDS_NET_ADMIN } : {}),
  });
}

function flowsOf({ marks, services }: IpvsTables, changes: readonly BalancerChange[]): readonly Flow[] {
  const flows = new Map<string, Flow>();
  for (const { op, entry } of changes) {
    if (entry.kind === "server" && (op === "delete" || entry.weight === 0)) {
      flows.set(serverKey(entry.vip, entry.address), { vip: entry.vip, address: entry.address, which: op === "delete" ? "all" : "datagrams" });
    }
    if (entry.kind !== "service" || op !== "delete" || !marks.has(entry.vip)) continue;
    for (const address of services.get(marks.get(entry.vip)?.streams ?? -1)?.servers.keys() ?? []) {
      flows.set(serverKey(entry.vip, address), { vip: entry.vip, address, which: "all" });
    }
  }
  return [...flows.values()];
}
