/**
 * What follows from who this node is: its keys in etcd live and end with its process and its membership (design D15); no two
 * nodes have one underlay address.
 *
 * In:  snapshots.  Out: keys handed over, or taken back; an obstacle while another node has our address.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { distinctUntilChanged, filter, map, pairwise, type Observable } from "rxjs";
import type { Snapshot } from "../core/model.ts";
import { values } from "../core/precedence.ts";
import { rivalOf } from "../core/select.ts";
import type { NodeLease } from "../sinks/etcd.ts";
import { farewell, rest } from "../sinks/own-keys.ts";
import type { Base } from "./base.ts";
import type { Facts } from "./facts.ts";

/** Longest that the end of the process waits for etcd. */
const REST_MS = 3_000;

/** At the end of the process, after its last run: the keys wait for the next one. */
export async function leaveKeys({ keys }: Pick<Base, "keys">, { client, snapshot$ }: Facts, lease: NodeLease): Promise<void> {
  lease.stop();
  const { node: { id, hostname, role, underlay }, containers } = snapshot$.value;
  if (id === undefined || underlay === undefined) return;
  const own = values(containers).filter(({ node }) => node === id);
  const resting = rest({ client, keys }, { id, hostname, role, publicIp: underlay.address }, own).catch(() => undefined);
  await Promise.race([resting, sleep(REST_MS, undefined, { ref: false })]);
}

/** A node that left its swarm, or joined as another, takes its old name out of everybody's view. */
export function followIdentity({ keys, admission }: Pick<Base, "keys" | "admission">, { client, snapshot$ }: Facts, lease: NodeLease): void {
  snapshot$.pipe(
    map(({ node }) => node), filter(({ id, role }) => id !== undefined || role === "none"),
    distinctUntilChanged((a, b) => a.id === b.id), pairwise(),
  ).subscribe(([{ id: before }]) => {
    if (before === undefined) return;
    lease.forget();
    // Out of reach, the keys end with their lease.
    farewell({ client, keys }, before).catch(() => undefined);
  });
  rivals(snapshot$).subscribe((problem) => { admission.settle("this node's underlay address", problem); });
}

const rivals = (snapshot$: Observable<Snapshot>): Observable<{ readonly reason: string; readonly cure: string } | undefined> => snapshot$.pipe(
  map(rivalOf), distinctUntilChanged(),
  map((rival) => rival && {
    reason: `node ${rival.hostname} (${rival.id}) has ${rival.publicIp} too`,
    cure: "Give each node an underlay address of its own: -iface or -public-ip in DEFAULT_FLANNEL_OPTIONS, or stop the other node",
  }),
);
