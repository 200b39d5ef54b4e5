/**
 * Names as the debug endpoint tells them: who is meant, and what his server knows.
 *
 * In:  the servers, the snapshot.  Out: answers for `flannel-np dns`.
 * Rule: what a query costs here is paid when somebody looks: its code is read then.
 */
import { values } from "../core/precedence.ts";
import { OperatorError } from "../core/errors.ts";
import type { Container, Snapshot } from "../core/model.ts";
import type { AnsweredBy, AskedContainer, NameTable, TableNetwork } from "../core/names-answer.ts";
import type { NamesDebug } from "../plugin/debug/names.ts";
import type { DnsServing } from "../sinks/dns/serve.ts";
import type { DnsTable, DnsZone } from "../sinks/dns/vocabulary.ts";
import { wireText } from "../sinks/dns/wire.ts";

/** Names told one by one. */
const MOST_NAMED = 20;
/** The line of a query's answer follows the answer at once, if we gave it. */
const LINE_MS = 500;

type Serving = Pick<DnsServing, "observe" | "table" | "flush" | "watch" | "counters">;

export function namesDebug(serving: Serving, directory: string, snapshot: () => Snapshot): NamesDebug {
  const served = (as: string): AskedContainer => asked(as, snapshot(), serving);
  return {
    async query(as, name, type, signal) {
      const container = served(as);
      const { askedName, askInside } = await import("../sinks/dns/question.ts");
      const question = askedName(name, type);
      const line = await nextLine(serving, container.sandbox, wireText(question.name), question.type);
      try {
        const heard = await askInside(`${directory}/${container.sandbox}`, question, signal);
        const by = heard === undefined ? "nobody" : await Promise.race([line.by, after(LINE_MS, "beside" as const)]);
        const nothing = { code: "TIMEOUT", records: [], authorities: [], truncated: false, tookMs: 0 };
        return { ...container, name: question.name, type: question.typeName, by, ...heard ?? nothing };
      } finally {
        line.stop();
      }
    },
    table: (as) => tableOf(served(as), serving),
    async flush(as) {
      const container = as === undefined ? undefined : served(as);
      await serving.flush(container?.sandbox);
      return { containers: container === undefined ? serving.observe().size : 1 };
    },
    async log(as, reader) {
      const { sandbox } = served(as);
      const { typeNameOf } = await import("../sinks/dns/question.ts");
      return serving.watch(sandbox, {
        line: ({ atMs, name, type, transport, outcome, via, lost }) => {
          reader.line({ at: new Date(atMs).toISOString(), name: Buffer.from(name, "latin1").toString(), type: typeNameOf(type), transport, outcome, by: via, lost });
        },
        ended: () => { reader.ended(); },
      });
    },
    stats: () => {
      const zones = [...serving.table()?.zones.values() ?? []];
      return { sandboxes: serving.observe().size, networks: zones.length, names: zones.reduce((sum, { names }) => sum + names.size, 0), counters: serving.counters() };
    },
  };
}

/** Who answers the next such question of the sandbox; that of its own programs is answered alike. */
async function nextLine(serving: Serving, sandbox: string, name: string, type: number): Promise<{ readonly by: Promise<AnsweredBy>; stop(): void }> {
  let tell = (_by: AnsweredBy): void => undefined;
  const by = new Promise<AnsweredBy>((resolve) => { tell = resolve; });
  const stop = await serving.watch(sandbox, { line: (line) => { if (line.name === name && line.type === type) tell(line.via); }, ended: () => { tell("nobody"); } });
  return { by, stop };
}

const after = <T>(ms: number, value: T): Promise<T> => new Promise((resolve) => { setTimeout(resolve, ms, value); });

/** A container of this node that is served; else `not-found`, with those that are. */
function asked(as: string, snapshot: Snapshot, serving: Pick<Serving, "observe">): AskedContainer {
  const open = serving.observe();
  const all = values(snapshot.containers);
  const running = all.filter(({ node, state }) => node === snapshot.node.id && state !== "exited");
  const here = running.filter(({ sandbox }) => open.has(sandbox));
  const refused = (reason: string, cure: string): OperatorError => new OperatorError("not-found", `Cannot look as ${JSON.stringify(as)}: ${reason}`, { cure });
  const [found, ...more] = matching(here, as);
  if (found !== undefined && more.length === 0) return { container: found.name, id: found.id, sandbox: found.sandbox };
  if (found !== undefined) throw refused(`${1 + more.length} containers begin like that: ${named([found, ...more])}`, "Give more of the id, or the name");
  if (matching(running, as).length > 0) throw refused("it is not served yet", "See why: flannel-np status; mend it: flannel-np reconcile dns");
  const elsewhere = matching(all.filter(({ node, state }) => node !== snapshot.node.id && state !== "exited"), as)[0];
  if (elsewhere !== undefined) throw refused(`it runs on another node, ${elsewhere.node}`, "Ask there");
  throw refused("no container on a network of ours is called so here", here.length === 0 ? "There is none on this node" : `There are: ${named(here)}`);
}

/** An exact name wins over the beginning of an id. */
function matching(containers: readonly Container[], as: string): readonly Container[] {
  const exact = containers.filter(({ name, id }) => name === as || id === as);
  return exact.length > 0 ? exact : containers.filter(({ id }) => id.startsWith(as));
}

function named(containers: readonly Container[]): string {
  const names = containers.map(({ name }) => name).sort();
  return names.slice(0, MOST_NAMED).join(", ") + (names.length > MOST_NAMED ? `, and ${names.length - MOST_NAMED} more` : "");
}

function tableOf(container: AskedContainer, serving: Pick<Serving, "observe" | "table">): NameTable {
  const table = serving.table();
  const view = table?.sandboxes.get(container.sandbox);
  const port = serving.observe().get(container.sandbox)?.port;
  return {
    ...container, mode: table?.mode ?? "", ...(port === undefined ? {} : { port }),
    links: [...view?.links ?? []].map(([alias, name]) => ({ alias, name })), networks: networksOf(table, view?.zones ?? []),
  };
}

const networksOf = (table: DnsTable | undefined, zones: readonly DnsZone["network"][]): readonly TableNetwork[] => zones.flatMap((id) => {
  const zone = table?.zones.get(id);
  return zone === undefined ? [] : [{
    network: zone.name, id, ttlSeconds: zone.ttlSeconds,
    names: sorted([...zone.names].map(([name, { addresses, texts }]) => ({ name, addresses, texts }))),
    services: sorted([...zone.services].flatMap(([name, ports]) => ports.map(({ port, target, addresses }) => ({ name, port, target, addresses })))),
    pointers: sorted([...zone.pointers].map(([address, name]) => ({ address, name }))),
  }];
});

const sorted = <T extends { readonly name: string }>(list: readonly T[]): readonly T[] => [...list].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
