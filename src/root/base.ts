/**
 * What everything else stands on: paths, settings, event log, admission.
 *
 * Rule: the only reader of the environment beside config.ts; a setting never ends the process (design D13).
 */
import { mkdirSync } from "node:fs";
import { parseConfig, type Config } from "../config.ts";
import type { Emit } from "../core/events.ts";
import { newBootId } from "../core/ids.ts";
import { keysBelow, type Keys } from "../core/names.ts";
import { Admission } from "../plugin/admission.ts";
import { PLUGIN_SOCKET } from "../plugin/early.ts";
import type { Meter } from "../plugin/metrics.ts";
import { eventLog, type EventLog } from "../sinks/event-log.ts";

/** Paths inside the plugin's root file system; packaging/config.json mounts the host's /run and /var/lib. */
export const PATHS = {
  plugin: PLUGIN_SOCKET, hostPlugins: "/host/run/docker/plugins", docker: "/host/run/docker.sock", namespaces: "/host/run/docker/netns",
  debug: "/host/run/flannel-np/debug.sock", state: "/host/var/lib/flannel-np", note: "/host/run/flannel-np/state.json", formerSysctls: "/host/run/flannel-np/former-sysctls.json", formerLimits: "/host/run/flannel-np/former-limits.json", program: "/usr/bin/flanneld", tls: "/host/run/flannel-np/tls",
};
export const VERSION = process.env["FLANNEL_NP_VERSION"] ?? "0.1.0";

export interface Base {
  readonly config: Config;
  readonly keys: Keys;
  readonly boot: string;
  readonly emit: Emit;
  readonly log: EventLog;
  readonly admission: Admission;
}

export function base(meter: Meter): Base {
  const { config, problems } = parseConfig(process.env);
  const boot = newBootId();
  mkdirSync(PATHS.state, { recursive: true, mode: 0o700 });
  const log = eventLog({ dir: `${PATHS.state}/events`, boot, maxBytes: config.eventLogBytes, level: config.logLevel });
  const admission = new Admission();
  const emit = meter.counting(log.emit);
  emit("operator.started", { version: VERSION, pid: process.pid });
  for (const { variable, reason, cure } of problems) {
    admission.obstruct({ what: variable, reason, cure });
    emit("config.invalid", { variable, reason, cure });
    process.stderr.write(`flannel-np: setting ${variable}: ${reason}. ${cure}\n`);
  }
  return { config, keys: keysBelow(config.etcdPrefix), boot, emit, log, admission };
}
