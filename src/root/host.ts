/**
 * What is asked of the host itself: its addresses, our names at dockerd, whether we are alone.
 *
 * Rule: nothing here ends the process; what is missing is refused with its cure until it is there.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { filter, firstValueFrom, map, race, timer, type BehaviorSubject, type Observable } from "rxjs";
import { OperatorError } from "../core/errors.ts";
import type { Snapshot, Underlay } from "../core/model.ts";
import type { EarlySocket } from "../plugin/early.ts";
import { refusingDrivers } from "../plugin/refusing.ts";
import { pluginServer } from "../plugin/server.ts";
import { expectSuccess, runCommand } from "../sinks/exec.ts";
import { underlays$, type AskIp } from "../sources/host-network.ts";
import { findPluginId, pluginNames, takeLock } from "../sources/identity.ts";
import { PATHS, type Base } from "./base.ts";

const LOCK = "flannel-np";
const RETRY_MS = 1_000;
const FIRST_LOOK_MS = 2_000;

export const askIp: AskIp = async (args) =>
  expectSuccess(await runCommand({ file: "ip", args, timeoutMs: 5_000 }, AbortSignal.timeout(6_000)), "read the host's addresses").stdout;

/** Docker mounts it read-only; links of ours need their sysctls. */
export const openSysctls = (): Promise<unknown> =>
  runCommand({ file: "mount", args: ["-o", "remount,rw", "/proc/sys"], timeoutMs: 5_000 }, AbortSignal.timeout(6_000));

/** The link between the nodes; without one, calls that need it are refused with the reason. */
export function watchUnderlay({ config, admission, emit }: Base, snapshot$: Observable<Snapshot>, underlay$: BehaviorSubject<Underlay | undefined>): void {
  const what = "the link between the nodes";
  underlays$(askIp, config.flannelFlags, snapshot$.pipe(map(({ node }) => node.address))).subscribe((found) => {
    admission.clear(what);
    if (!(found instanceof OperatorError)) return underlay$.next(found);
    const cure = found.cure ?? "Name it with DEFAULT_FLANNEL_OPTIONS=-iface=NAME";
    if (underlay$.value === undefined) admission.obstruct({ what, reason: found.message, cure });
    emit("config.invalid", { variable: "DEFAULT_FLANNEL_OPTIONS", reason: found.message, cure });
  });
}

/** The first runs should not take "not looked yet" for "nothing there". */
export const firstLook = (underlay$: Observable<Underlay | undefined>): Promise<unknown> =>
  firstValueFrom(race(underlay$.pipe(filter((underlay) => underlay !== undefined)), timer(FIRST_LOOK_MS)));

/** Our own alias and tag, asked for until Docker answers; then networks of these drivers are ours and no others. */
export async function learnNames(names$: BehaviorSubject<readonly string[] | undefined>): Promise<void> {
  for (;;) {
    const id = await findPluginId(PATHS.plugin, PATHS.hostPlugins).catch(() => undefined);
    const found = id === undefined ? undefined : await pluginNames({ socketPath: PATHS.docker, id }).catch(() => undefined);
    if (found !== undefined && found.length > 0) return names$.next(found);
    await sleep(RETRY_MS);
  }
}

/**
 * Resolves when this host is ours: a second enabled alias refuses its calls by name until the first has ended (design D24).
 * Nothing on the disk is touched before: state and event log are the other's.
 */
export async function untilAlone(early?: EarlySocket): Promise<void> {
  if (await takeLock(LOCK)) return;
  const cure = "Keep one alias of the plugin enabled: docker plugin ls, docker plugin disable -f";
  const reason = new OperatorError("conflict", "Cannot serve networks: another operator runs on this host already", { cure });
  process.stderr.write(`flannel-np: ${reason.message}. ${cure}\n`);
  const server = await pluginServer({ socketPath: PATHS.plugin, drivers: refusingDrivers(reason), emit: () => undefined, early });
  while (!(await takeLock(LOCK))) await sleep(RETRY_MS);
  await server.close();
}
