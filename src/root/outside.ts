/**
 * The places outside of this process that facts come from and that keep what must outlive it.
 *
 * Rule: the only file that knows where they are; everything behind it takes what it is given (test/scenarios gives it others).
 */
import { hostname } from "node:os";
import type { Cidr, Ipv4 } from "../core/ids.ts";
import { stateFile, type StateFile } from "../sinks/state-file.ts";
import { connectDocker, type DockerApi } from "../sources/docker-api.ts";
import { connectEtcd, type WatchingClient } from "../sources/etcd-client.ts";
import { foreignRoutes } from "../sources/host-network.ts";
import { probe, type ProbeResult } from "../sources/probe.ts";
import { PATHS, type Base } from "./base.ts";
import { askIp } from "./host.ts";

export interface Outside {
  readonly docker: DockerApi;
  readonly etcd: WatchingClient;
  /** Is there a machine behind a node's underlay address? */
  readonly probe: (address: Ipv4) => Promise<ProbeResult>;
  /** Ranges that this host routes elsewhere. */
  readonly routes: () => Promise<readonly Cidr[]>;
  readonly state: Pick<StateFile, "read" | "write" | "note">;
  /** What is known of the other nodes. */
  readonly others: Pick<StateFile, "read" | "write">;
  readonly hostname: string;
}

export const outside = ({ config, emit }: Base): Outside => ({
  docker: connectDocker({ socketPath: PATHS.docker }), etcd: connectEtcd(config.etcd), probe, routes: () => foreignRoutes(askIp),
  state: stateFile({ path: `${PATHS.state}/state.json`, notePath: PATHS.note, emit }), others: stateFile({ path: `${PATHS.state}/others.json`, emit }),
  hostname: hostname(),
});
