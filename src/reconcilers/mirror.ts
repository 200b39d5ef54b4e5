/**
 * The leader's service range grants, copied to etcd for the next leader: swarm repeats what is in use, nobody repeats what rests.
 *
 * In:  snapshot: this process's grants.  Out: EtcdChange[] on `service-range/<flannel-id>/<address>`.
 * Rule: nobody waits for it (design D2). An entry that this leader never knew goes only when it is too old to matter, or with its pool.
 */
import { GRANT_GRACE_MS, REST_MS, type Grant } from "../core/addresses.ts";
import { fieldOf } from "../core/field.ts";
import type { Keys } from "../core/names.ts";
import { diff, withhold } from "../core/plan.ts";
import { values } from "../core/precedence.ts";
import type { Reconciler } from "../core/reconciler.ts";
import { encodeGrant } from "../core/records.ts";
import type { EtcdChange, EtcdTable } from "../sinks/etcd.ts";

export interface WantedMirror {
  /** By etcd key; undefined on nodes that do not lead: then nothing is written. */
  readonly grants: ReadonlyMap<string, Grant> | undefined;
  readonly pools: ReadonlySet<string>;
  /** In steps, so that time alone makes no new wish. */
  readonly nowMs: number;
}

const STEP_MS = 60_000;
/** Longer than any grant may be held back for. */
const FORGOTTEN_MS = 2 * (GRANT_GRACE_MS + REST_MS);

export const mirrorWith = (keys: Keys): Reconciler<WantedMirror, EtcdTable, EtcdChange> => ({
  name: "mirror",
  desire({ node, ownGrants, pools, nowMs }) {
    const known = new Set<string>(values(pools).map(({ flannelId }) => flannelId));
    const mine = [...ownGrants].filter(([key]) => known.has(flannelIdOf(key)));
    return {
      value: {
        grants: node.leader ? new Map(mine.map(([key, grant]) => [`${keys.serviceRanges}${key}`, grant])) : undefined,
        pools: known, nowMs: Math.floor(nowMs / STEP_MS) * STEP_MS,
      },
      settled: pools.settled, blocked: [],
    };
  },
  plan({ value: { grants, pools, nowMs }, settled }, observed) {
    if (grants === undefined) return { changes: [], held: [] };
    const { create, update, remove } = diff(grants, observed, (want, is) => encodeGrant(want) === is.value);
    const write = (op: "create" | "update", key: string, grant: Grant, revision: bigint): EtcdChange => ({
      op, key, why: op === "create" ? "missing" : "changed", compare: [{ key, target: "mod", op: "=", value: revision }], ops: [{ do: "put", key, value: encodeGrant(grant) }],
    });
    const surplus = remove.filter(([key, { value }]) => !pools.has(flannelIdOf(key.slice(keys.serviceRanges.length))) || nowMs - saidAt(value) > FORGOTTEN_MS);
    return withhold([
      ...create.map(([key, grant]) => write("create", key, grant, 0n)),
      ...update.map(([key, grant, is]) => write("update", key, grant, is.modRevision)),
      ...surplus.map(([key, is]): EtcdChange => (
        { op: "delete", key, why: "free again", compare: [{ key, target: "mod", op: "=", value: is.modRevision }], ops: [{ do: "delete", key }] })),
    ], settled);
  },
});

const flannelIdOf = (key: string): string => key.slice(0, key.lastIndexOf("/"));

/** When the entry was last spoken of; 0 for one that nobody can read. */
function saidAt(text: string): number {
  const [granted, released] = [fieldOf(text, "grantedAtMs"), fieldOf(text, "releasedAtMs")];
  return typeof granted === "number" ? Math.max(granted, typeof released === "number" ? released : 0) : 0;
}
