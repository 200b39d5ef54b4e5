/**
 * Applies changes of the flanneld facility.
 *
 * In:  changes, in plan order.  Out: processes, devices, rows, subnet files.
 * Rule: networks do not wait for each other, nor does one's failure stop another; within one the order holds.
 *       A process is stopped, and its end awaited, before anybody touches its device.
 */
import { mkdir, rm } from "node:fs/promises";
import { asOperatorError, OperatorError } from "../../core/errors.ts";
import type { FlannelId } from "../../core/ids.ts";
import { vxlanLink } from "../../core/names.ts";
import type { Child } from "./child.ts";
import type { Fleet } from "./fleet.ts";
import { directPeers } from "./kernel-rows.ts";
import { deviceOf, readSubnetFiles } from "./observe.ts";
import { isOurs, renderDevice } from "./render.ts";
import type { Rows } from "./rows.ts";
import type { FlanneldChange, FlanneldSpec, PeerRemoveChange, PeerWriteChange } from "./vocabulary.ts";

/** Networks worked on at one time; each start of a flanneld costs etcd 2 × leases + 8 calls. */
const PARALLEL = 4;

export class Carrier {
  readonly #fleet: Fleet;
  readonly #rows: Rows;
  readonly #directory: string;
  readonly #readyMs: number;

  constructor(fleet: Fleet, rows: Rows, directory: string, readyMs: number) {
    this.#fleet = fleet;
    this.#rows = rows;
    this.#directory = directory;
    this.#readyMs = readyMs;
  }

  async apply(changes: readonly FlanneldChange[], signal: AbortSignal): Promise<void> {
    const queues = [...byNetwork(changes).values()];
    const started: Child[] = [];
    const errors: OperatorError[] = [];
    const work = async (): Promise<void> => {
      for (let queue = queues.shift(); queue !== undefined; queue = queues.shift()) {
        await this.#network(queue, started, signal).catch((error: unknown) => errors.push(asOperatorError(error)));
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    await this.#settle(started, signal);
    errors.push(...started.flatMap(earlyEnd));
    const [first, ...others] = errors;
    if (first === undefined) return;
    throw others.length === 0 ? first : new OperatorError(first.code, `${first.message} (and ${others.length} more failures)`, {
      context: { others: others.map(({ message }) => message) }, cause: first, ...(first.cure === undefined ? {} : { cure: first.cure }),
    });
  }

  async #network(queue: readonly FlanneldChange[], started: Child[], signal: AbortSignal): Promise<void> {
    for (const run of runs(queue)) {
      const [change] = run;
      if (change === undefined) continue;
      if (change.kind === "network" && change.op !== "delete") started.push(await this.#carry(change.spec, signal));
      else if (change.kind === "network") await this.#drop(change.flannelId, signal);
      else if (change.op === "delete") await this.#rows.removePeers(run as readonly PeerRemoveChange[], signal);
      else await this.#rows.writePeers(run as readonly PeerWriteChange[], signal);
    }
  }

  /** The device is put right also while flanneld must wait: the kernel forwards without it. */
  async #carry(spec: FlanneldSpec, signal: AbortSignal): Promise<Child> {
    const { flannelId } = spec;
    const running = this.#fleet.child(flannelId)?.running !== undefined;
    if (running) this.#fleet.mayStart(spec);
    await this.#fleet.stop(flannelId);
    if (spec.backendType === "vxlan") await this.#ensureDevice(spec, signal);
    if (!running) this.#fleet.mayStart(spec);
    await mkdir(this.#directory, { recursive: true });
    return this.#fleet.start(spec);
  }

  async #ensureDevice(spec: FlanneldSpec, signal: AbortSignal): Promise<void> {
    const name = vxlanLink(spec.vni);
    const { devices } = await this.#rows.look(signal);
    const seen = devices.find((device) => device.name === name);
    if (seen !== undefined && !isOurs(spec, seen)) {
      throw new OperatorError("conflict", `Cannot make device ${name} of network ${spec.flannelId}: one that is not ours bears the name`,
        { cure: `Delete it (ip link del ${name}) or give the network another VNI`, context: { owner: seen.owner } });
    }
    const former = devices.filter((device) => device.owner === spec.flannelId && device.name !== name);
    const lines = [...former.map((device) => `link del ${device.name}`), ...renderDevice(spec, seen)];
    await this.#rows.write(lines, `make device ${name} of network ${spec.flannelId}`, signal);
  }

  async #drop(flannelId: FlannelId, signal: AbortSignal): Promise<void> {
    const spec = this.#fleet.child(flannelId)?.spec;
    await this.#fleet.stop(flannelId);
    const [kernel, files] = await Promise.all([this.#rows.look(signal), readSubnetFiles(this.#directory)]);
    const file = files.get(flannelId);
    const network = spec?.network ?? (file === "unreadable" ? undefined : file?.network);
    const device = deviceOf(flannelId, kernel.devices, spec, file);
    const direct = network === undefined ? [] : directPeers(network, kernel);
    await this.#rows.remove("ip", [
      ...direct.map(({ peer, dev }) => `route del ${peer.subnet} via ${peer.publicIp} dev ${dev}`), ...(device === undefined ? [] : [`link del ${device.name}`]),
    ], signal);
    await rm(this.#fleet.subnetFile(flannelId), { force: true });
    this.#fleet.forget(flannelId);
  }

  /** Most are ready within 100 ms; whoever is not by then shows in `observe`, and is no failure: etcd may be down. */
  async #settle(started: readonly Child[], signal: AbortSignal): Promise<void> {
    if (started.length === 0) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, this.#readyMs);
      signal.addEventListener("abort", done);
      void Promise.all(started.map((child) => child.settled)).then(done);
    });
  }
}

const networkOf = (change: FlanneldChange): FlannelId =>
  change.kind === "network" && change.op !== "delete" ? change.spec.flannelId : change.flannelId;

function byNetwork(changes: readonly FlanneldChange[]): Map<FlannelId, FlanneldChange[]> {
  const queues = new Map<FlannelId, FlanneldChange[]>();
  for (const change of changes) {
    const queue = queues.get(networkOf(change));
    if (queue === undefined) queues.set(networkOf(change), [change]);
    else queue.push(change);
  }
  return queues;
}

/** Neighbouring peer changes of one sort go into one batch; a network change stands alone. */
function runs(queue: readonly FlanneldChange[]): FlanneldChange[][] {
  const found: FlanneldChange[][] = [];
  for (const change of queue) {
    const last = found.at(-1);
    const like = last?.[0];
    const joins = like?.kind === "peer" && change.kind === "peer" && (like.op === "delete") === (change.op === "delete");
    if (joins && last !== undefined) last.push(change);
    else found.push([change]);
  }
  return found;
}

function earlyEnd(child: Child): OperatorError[] {
  const { obituary, spec } = child;
  return obituary === undefined ? [] : [new OperatorError("unavailable", `Cannot keep flanneld of network ${spec.flannelId} running: ${obituary}`)];
}
