/**
 * The typed catalogue of everything the operator says: the event log is an interface (design D19).
 *
 * In:  one entry per event: level, sentence, fields.  Out: `EventFields`, and through it docs/events.md and the JSON Schema.
 * Rule: error = someone must act; warn = we retry; info = the world changed; debug = the rest. Secrets, environments and
 * option values of the user's are never fields. Within schema version 1 events and fields are only added.
 */
export const EVENT_SCHEMA = 1;

export type Level = "error" | "warn" | "info" | "debug";
interface FieldTypes { string: string; number: number; boolean: boolean; strings: readonly string[] }
/** A type, or a type with "?" when the field may be absent. */
type FieldType = keyof FieldTypes | `${keyof FieldTypes}?`;
interface EventSpec { readonly level: Level; readonly says: string; readonly fields: Readonly<Record<string, FieldType>> }

export const CATALOGUE = {
  "operator.started": { level: "info", says: "A process has begun its life and listens.", fields: { version: "string", pid: "number" } },
  "operator.stopping": { level: "info", says: "SIGTERM: the data plane stays as it is.", fields: { reason: "string" } },
  "operator.locked": { level: "error", says: "Another operator runs on this host; this one refuses every call.", fields: { cure: "string" } },
  "config.invalid": { level: "error", says: "A setting cannot be used; calls that need it are refused.", fields: { variable: "string", reason: "string", cure: "string" } },
  "source.synced": { level: "info", says: "A source has listed completely.", fields: { source: "string", items: "number" } },
  "source.lost": { level: "warn", says: "A source does not answer; its last known items are kept, deletes are held.", fields: { source: "string", reason: "string" } },
  "source.garbage": { level: "warn", says: "A record could not be read and is ignored.", fields: { source: "string", key: "string", reason: "string" } },
  "reconcile.planned": { level: "debug", says: "A run found differences.", fields: { reconciler: "string", revision: "number", changes: "number", held: "number" } },
  "reconcile.held": { level: "info", says: "Deletes wait until every source has listed.", fields: { reconciler: "string", held: "strings" } },
  "reconcile.blocked": { level: "warn", says: "Something wanted cannot be had yet.", fields: { reconciler: "string", reasons: "strings" } },
  "reconcile.converged": { level: "info", says: "After applying, a second plan was empty.", fields: { reconciler: "string", changes: "number", durationMs: "number" } },
  "reconcile.diverged": { level: "error", says: "After applying, differences were left.", fields: { reconciler: "string", leftover: "strings", reason: "string?" } },
  "reconcile.unobserved": { level: "error", says: "The facility could not be looked at.", fields: { reconciler: "string", code: "string", reason: "string", cure: "string?" } },
  "change.applied": { level: "info", says: "One write to the kernel, a process or etcd, and why.", fields: { reconciler: "string", op: "string", key: "string", why: "string" } },
  "plugin.request": { level: "debug", says: "A driver call was answered.", fields: { method: "string", durationMs: "number", outcome: "string" } },
  "plugin.refused": { level: "error", says: "A driver call was refused; Docker shows the reason.", fields: { method: "string", code: "string", reason: "string", cure: "string?", network: "string?" } },
  "network.refused": { level: "error", says: "A network cannot be carried as asked.", fields: { network: "string", reason: "string", cure: "string" } },
  "pool.claimed": { level: "info", says: "An address range belongs to a network from now on.", fields: { cidr: "string", flannelId: "string" } },
  "pool.bound": { level: "info", says: "A range, a VNI and a Docker network belong together.", fields: { cidr: "string", flannelId: "string", network: "string", vni: "number" } },
  "lease.claimed": { level: "info", says: "This node holds a subnet of a network.", fields: { flannelId: "string", subnet: "string" } },
  "node.doubtful": { level: "warn", says: "A node's word has expired; what was known of it stays until Docker lists it down or it fails three probes.", fields: { node: "string", hostname: "string", containers: "number" } },
  "node.dead": { level: "warn", says: "A node counts as dead; its containers are out of every view.", fields: { node: "string", hostname: "string", sign: "string", containers: "number" } },
  "node.returned": { level: "info", says: "A node that was in doubt or dead speaks again.", fields: { node: "string", hostname: "string" } },
  "address.nearly-full": { level: "warn", says: "Four of five addresses of a range are in use or resting.", fields: { range: "string", held: "number", capacity: "number", cure: "string" } },
  "address.exhausted": { level: "error", says: "No address is left.", fields: { range: "string", reason: "string", cure: "string" } },
  "address.conflict": { level: "error", says: "An address was asked for twice; the second was refused.", fields: { address: "string", endpoint: "string" } },
  "flanneld.started": { level: "info", says: "A flanneld runs for a network.", fields: { flannelId: "string", pid: "number" } },
  "flanneld.exited": { level: "warn", says: "A flanneld ended; it is started again.", fields: { flannelId: "string", pid: "number", exitCode: "number?", signal: "string?", expected: "boolean" } },
  "flanneld.log": { level: "debug", says: "A line of a flanneld, secrets removed.", fields: { flannelId: "string", line: "string" } },
  "flanneld.warned": { level: "warn", says: "A flanneld said something that needs its restart or your eye.", fields: { flannelId: "string", line: "string" } },
  "state.damaged": { level: "warn", says: "The state file could not be read and was set aside.", fields: { path: "string", aside: "string", reason: "string" } },
  "state.unwritten": { level: "warn", says: "The state file could not be written; a reboot without etcd would miss what it holds.", fields: { path: "string", reason: "string" } },
  "events.lost": { level: "warn", says: "Lines that the log or a reader did not get.", fields: { lost: "number", reason: "string" } },
  "reconcile.requested": { level: "info", says: "Somebody asked for a run.", fields: { reconcilers: "strings" } },
  "dns.thread-lost": { level: "warn", says: "The thread that answers DNS ended; another takes its sockets over, clients ask again.", fields: { reason: "string", sandboxes: "number" } },
  "dns.name-shared": { level: "warn", says: "Several services of a network claim one name; all of them are answered.", fields: { network: "string", name: "string", services: "strings" } },
  "balancer.chosen": { level: "info", says: "What spreads connections over the tasks of services on this node, and why.", fields: { engine: "string", why: "string" } },
  "kernel.drift": { level: "info", says: "The kernel changed under us; the reconciler looks again.", fields: { facility: "string" } },
} as const satisfies Readonly<Record<string, EventSpec>>;

export type EventName = keyof typeof CATALOGUE;
type Required<F> = { readonly [K in keyof F as F[K] extends keyof FieldTypes ? K : never]: F[K] extends keyof FieldTypes ? FieldTypes[F[K]] : never };
type Optional<F> = { readonly [K in keyof F as F[K] extends keyof FieldTypes ? never : K]?: F[K] extends `${infer T extends keyof FieldTypes}?` ? FieldTypes[T] : never };
export type EventFields = { readonly [N in EventName]: Required<(typeof CATALOGUE)[N]["fields"]> & Optional<(typeof CATALOGUE)[N]["fields"]> };

/** One line of the log. `seq` counts from 1 without gaps within one `boot`. `at` is ISO 8601, UTC. */
export type EventLine<N extends EventName = EventName> =
  { readonly schema: number; readonly boot: string; readonly seq: number; readonly at: string; readonly level: Level; readonly event: N } & EventFields[N];

export type Emit = <N extends EventName>(event: N, fields: EventFields[N]) => void;
