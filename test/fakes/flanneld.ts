/**
 * flannelds of one node in memory: a process and a device per network, rows of peers, and the lease that a flanneld completes.
 *
 * Rule: processes end with the operator (`ended`), device and rows stay, as in the kernel.
 */
import type { FlannelId, Ipv4 } from "../../src/core/ids.ts";
import type { Sink } from "../../src/core/reconciler.ts";
import type {
  FlanneldChange, FlanneldSpec, FlanneldTable, ObservedFlanneld, Peer, RunningFlanneld, VxlanDevice,
} from "../../src/sinks/flanneld.ts";

interface Network { running: RunningFlanneld | undefined; device: VxlanDevice; spec: FlanneldSpec; readonly peers: Map<string, Peer> }

const READY_MS = 200;

export class FakeFlanneld implements Sink<FlanneldTable, FlanneldChange> {
  readonly #networks = new Map<FlannelId, Network>();
  readonly #complete: (spec: FlanneldSpec) => boolean;
  #pids = 0;

  /** `complete`: writes the lease as flanneld does; false while etcd is out of reach. */
  constructor(complete: (spec: FlanneldSpec) => boolean) { this.#complete = complete; }

  observe(): Promise<FlanneldTable> {
    return Promise.resolve(new Map([...this.#networks].map(([id, { running, device, peers }]): [FlannelId, ObservedFlanneld] =>
      [id, { device, peers: [...peers.values()], remains: [], ...(running === undefined ? {} : { running }) }])));
  }

  carried(): Promise<ReadonlySet<FlannelId>> { return Promise.resolve(new Set(this.#networks.keys())); }

  apply(changes: readonly FlanneldChange[]): Promise<void> {
    for (const change of changes) this.#one(change);
    return Promise.resolve();
  }

  /** The operator's process ended, and its children with it. */
  ended(): void { for (const network of this.#networks.values()) network.running = undefined; }
  /** The machine went down: nothing is left. */
  gone(): void { this.#networks.clear(); }

  #one(change: FlanneldChange): void {
    if (change.kind === "network" && change.op === "delete") { this.#networks.delete(change.flannelId); return; }
    if (change.kind === "network") { this.#carry(change.spec); return; }
    const network = this.#networks.get(change.flannelId);
    if (network === undefined) return;
    if (change.op !== "delete") network.peers.set(change.peer.subnet, change.peer);
    else if (change.rows.subnet !== undefined) network.peers.delete(change.rows.subnet);
  }

  #carry(spec: FlanneldSpec): void {
    this.#pids += 1;
    const running: RunningFlanneld = { pid: this.#pids, startedAtMs: Date.now(), spec, ready: false };
    const network = { running, spec, device: deviceOf(spec), peers: this.#networks.get(spec.flannelId)?.peers ?? new Map<string, Peer>() };
    this.#networks.set(spec.flannelId, network);
    this.#getReady(network, running);
  }

  #getReady(network: Network, running: RunningFlanneld): void {
    setTimeout(() => {
      if (network.running !== running || this.#networks.get(running.spec.flannelId) !== network) return;
      if (this.#complete(running.spec)) network.running = { ...running, ready: true };
      else this.#getReady(network, running);
    }, READY_MS);
  }
}

const deviceOf = ({ subnet, mac, vni, mtuBytes, publicIp, link }: FlanneldSpec): VxlanDevice => ({
  ifindex: vni, mac, mtuBytes: mtuBytes - 50, vni, up: true, addresses: [`${subnet.slice(0, subnet.indexOf("/")) as Ipv4}/32`],
  local: publicIp, port: 8472, link, gbp: false, learning: false,
});
