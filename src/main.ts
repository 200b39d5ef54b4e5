/**
 * The start and the end of the process; src/root says who knows whom.
 *
 * Rule: the plugin's socket listens before anything is asked of anybody (design D13); stopping leaves the data plane standing
 * (design D14).
 */
import { BehaviorSubject } from "rxjs";
import type { Engine } from "./core/engine.ts";
import type { Underlay } from "./core/model.ts";
import { garbageProblems, readiness, stateAnswer, type StatusParts } from "./core/status.ts";
import { debugServer, type DebugServer } from "./plugin/debug.ts";
import { nameFamilies } from "./plugin/debug/names.ts";
import type { EarlySocket } from "./plugin/early.ts";
import { ipamDriver } from "./plugin/ipam-driver.ts";
import { Meter } from "./plugin/metrics.ts";
import { networkDriver } from "./plugin/network-driver.ts";
import { pluginServer } from "./plugin/server.ts";
import { acts, type Acts } from "./root/acts.ts";
import { chooseBalancer } from "./root/balancer.ts";
import { base, PATHS, VERSION, type Base } from "./root/base.ts";
import { damagedFiles, facts, type Facts } from "./root/facts.ts";
import { namesDebug } from "./root/names.ts";
import { followIdentity, leaveKeys } from "./root/identity.ts";
import { firstLook, learnNames, openSysctls, untilAlone, watchUnderlay } from "./root/host.ts";
import { outside } from "./root/outside.ts";
import { watchRefusals } from "./root/refused.ts";

/** `early`: the socket that listens already; src/start.ts opened it. */
export async function main(early: EarlySocket | undefined): Promise<void> {
  await untilAlone(early);
  const meter = new Meter();
  const foundation = base(meter);
  const underlay$ = new BehaviorSubject<Underlay | undefined>(undefined);
  const names$ = new BehaviorSubject<readonly string[] | undefined>(undefined);
  const known = facts(foundation, { underlay$, names$ }, outside(foundation));
  watchUnderlay(foundation, known.snapshot$, underlay$);
  const running = Promise.all([chooseBalancer(foundation), openSysctls(), firstLook(underlay$)]).then(([choice]) => acts(foundation, known, choice));
  const { drivers, refused } = watchRefusals(driversOf(foundation, known, running), PATHS.docker, foundation.emit);
  const server = await pluginServer({ socketPath: PATHS.plugin, drivers, emit: foundation.emit, early, ready: running });
  void learnNames(names$);
  const parts = await running;
  followIdentity(foundation, known, parts.lease);
  parts.engine.reports$.subscribe((report) => meter.report(report));
  const debug = await openDebug(foundation, known, parts, meter, refused);
  const stop = async (): Promise<void> => {
    foundation.emit("operator.stopping", { reason: "SIGTERM" });
    await Promise.all([server.close(), debug.close(), parts.engine.stop(), parts.flanneld.close()]);
    parts.closeLooks();
    await leaveKeys(foundation, known, parts.lease);
    await known.save();
    foundation.log.close();
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop());
}

/** The server lets no call through before `running` is there: who came early must not be told that there is no link between the nodes. */
function driversOf({ admission, emit }: Base, { book, memory, snapshot$ }: Facts, running: Promise<Acts>): Parameters<typeof watchRefusals>[0] {
  const engine: Pick<Engine, "run" | "poke"> = {
    run: async (names, signal, share) => (await running).engine.run(names, signal, share),
    poke: (name) => void running.then((parts) => parts.engine.poke(name)),
  };
  const network = networkDriver({ book, engine, intents: memory, snapshot: () => snapshot$.value, admission, emit });
  return { network, ipam: ipamDriver(book, admission) };
}

function openDebug(
  { config, log, emit, admission, boot }: Base, { snapshot$, views, standings, book, garbage }: Facts, { engine, names, balancer, vips, vipsOfSwarm }: Acts, meter: Meter, refused: () => StatusParts["refused"],
): Promise<DebugServer> {
  const parts = (): StatusParts => ({
    snapshot: snapshot$.value, views, lanes: engine.state(), problems: admission.obstacles, refused: [...refused(), ...damagedFiles(), ...garbageProblems(garbage())], standings: standings(), balancer, version: VERSION, boot,
  });
  const looked = namesDebug(names, PATHS.namespaces, () => snapshot$.value);
  return debugServer({
    socketPath: PATHS.debug, listen: config.debugListen, engine, events: log, emit, ipam: book, vips, vipsOfSwarm, names: looked, metrics: () => [...meter.families(log.counters), ...nameFamilies(looked.stats())],
    state: () => stateAnswer(parts()), revision: () => snapshot$.value.revision, readiness: () => readiness(parts()),
  });
}
