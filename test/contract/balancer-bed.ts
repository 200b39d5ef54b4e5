/**
 * One node with a balancer, and around it containers as namespaces: the world of the balancer's contract, on this kernel or on a machine's.
 *
 *   client 10.1.1.10, b1 10.1.1.11, b2 10.1.1.12 ──veth── host (gateway 10.1.1.1, service range 10.1.0.0/24)
 *
 * Rule: the table around the balancer is the real one. The host itself serves on the same ports: nobody may ever reach it by a VIP.
 */
import { readFile } from "node:fs/promises";
import type { Cidr, Ipv4, Vni } from "../../src/core/ids.ts";
import { OperatorError } from "../../src/core/errors.ts";
import { vethPrefix } from "../../src/core/names.ts";
import type { BalancerEngine } from "../../src/core/service-labels.ts";
import { ipvsBalancer, nftBalancer, withIpvsSettings, withoutIpvs } from "../../src/sinks/balancer.ts";
import type { Conntrack } from "../../src/sinks/conntrack.ts";
import type { Exec, Output } from "../../src/sinks/exec.ts";
import { vipFrame, vipKey, vipTable, type FrameOf, type VipEntry } from "../../src/sinks/vip-table.ts";
import { DAMAGES, FOREIGN } from "./balancer-damage.ts";
import type { Asked, BalancerWorld, Held, Kind, Packets, Place } from "./balancer-world.ts";
import { Namespace } from "./namespace.ts";

const signal = new AbortController().signal;
const probe = readFile(new URL("balancer-probe.py", import.meta.url), "utf8");
const MARKS = { first: 0x5000, last: 0xcfff };
const VNI = 101 as Vni;
const GATEWAY = "10.1.1.1" as Ipv4;
const CONTAINERS = { client: "10.1.1.10", b1: "10.1.1.11", b2: "10.1.1.12" } as const;
const PORTS = ["8080", "9090"];
/** Nothing of a test outlives this by much. */
const LIFE_SECONDS = "240";
/** What changes something; looking is never interrupted. */
const WRITES = /^(nft -f|ipvsadm --restore)/;

export interface BedOptions {
  readonly engine: BalancerEngine;
  readonly make?: () => Promise<Namespace>;
  /** Seconds until an unanswered question counts as lost. */
  readonly patience?: number;
  /** Former values of IPVS's settings, as a process before this one noted them. */
  readonly former?: { value: Readonly<Record<string, string>> };
  /** nftables: services beyond so many share chains. */
  readonly ownChains?: number;
}

/** With servers of another make: for measuring. */
export interface BenchWorld extends BalancerWorld {
  places(box: string, port: number): Promise<{ readonly client: string }>;
  /** As `interrupt`, but the write that is too many happens, and its process is killed before it tells. */
  loseWord(writes: number): void;
  /** Started by the balancer so far. */
  processes(): number;
}

export async function balancerWorld({ engine, make = () => Namespace.make(), patience = 2, ownChains, former = { value: {} } }: BedOptions): Promise<BenchWorld> {
  const host = await make();
  let left = Infinity;
  let happens = false;
  let started = 0;
  const written = async <T>(what: string, write: () => Promise<T>): Promise<T> => {
    left -= 1;
    if (left >= 0) return write();
    if (happens) await write();
    throw new OperatorError("unavailable", `Cannot ${what}: the process was killed`);
  };
  const exec: Exec = (command, abort) => {
    started += 1;
    const run = (): Promise<Output> => host.exec(command, abort);
    return WRITES.test([command.file, ...command.args].join(" ")) ? written(`run ${command.file}`, run) : run();
  };
  const conntrack: Conntrack = { find: host.conntrack.find, end: (connections, abort) => written("end connections", () => host.conntrack.end(connections, abort)) };
  const of: FrameOf = engine === "ipvs" ? { engine, marks: MARKS } : { engine };
  const now = (): number => performance.now();
  const table = vipTable(exec, now);
  const open = (): BalancerWorld["sink"] => (engine === "ipvs"
    ? ipvsBalancer({ table, exec, conntrack, marks: MARKS, services, now })
    : nftBalancer({ table, conntrack, now, ...(ownChains === undefined ? {} : { ownChains }) }));
  const services = (): Promise<string> => host.must("cat", ["/proc/net/ip_vs"]);
  const settings = { exec, sysctls: host.sysctls, former: { read: () => former.value, write: (values: typeof former.value) => { former.value = values; } }, marks: MARKS, kernel: "6.1.0", services };
  const frame = engine === "ipvs" ? withIpvsSettings(vipFrame(table, of), settings) : withoutIpvs(vipFrame(table, of), settings);
  const entries: VipEntry[] = [
    { kind: "frame" }, { kind: "network", network: { vni: VNI, range: "10.1.0.0/24" as Cidr, vethPrefix: vethPrefix(VNI) } },
    ...Object.values(CONTAINERS).map((address): VipEntry => ({ kind: "loop", address: address as Ipv4, gateway: GATEWAY })),
  ];
  const surround = (): Promise<void> => frame.apply(entries.map((entry) => ({ op: "create", key: vipKey(entry), why: "test", entry })), signal);
  await surround();
  await FOREIGN[engine].make(host);
  const around: Surroundings[] = [];
  return {
    engine,
    sink: open(),
    reopen: () => { table.changed(); return open(); },
    interrupt: (writes) => { [left, happens] = [writes ?? Infinity, false]; },
    loseWord: (writes) => { [left, happens] = [writes, true]; },
    processes: () => started,
    damage: async (name) => {
      await DAMAGES[engine][name]?.(host);
      table.changed();
      if ((await frame.observe(signal)).faults.length > 0 || !(await frame.observe(signal)).entries.has("frame")) await surround();
    },
    foreign: () => FOREIGN[engine].show(host),
    packets: async () => {
      const made = await Surroundings.make(host, make, patience);
      around.push(made);
      await made.serve();
      return made;
    },
    places: async (box, port) => {
      const made = await Surroundings.make(host, make, patience);
      around.push(made);
      await made.serveBox(box, port);
      return { client: made.client };
    },
    close: async () => {
      await Promise.all(around.map((one) => one.close()));
      await host.close();
    },
  };
}

/** The containers and their ways. */
class Surroundings implements Packets {
  readonly #places: Readonly<Record<Place, Namespace>>;
  readonly #patience: number;
  #held = 0;

  static async make(host: Namespace, make: () => Promise<Namespace>, patience: number): Promise<Surroundings> {
    await host.ip(`address add ${GATEWAY}/32 dev lo`, `route add local 10.1.0.0/24 dev lo src ${GATEWAY}`);
    await host.sysctls.write([["net/ipv4/ip_forward", "1"]]);
    const [client, b1, b2] = await Promise.all(Object.values(CONTAINERS).map((address) => container(host, address, make)));
    if (client === undefined || b1 === undefined || b2 === undefined) throw new Error("no containers");
    return new Surroundings({ host, client, b1, b2 }, patience);
  }

  constructor(places: Readonly<Record<Place, Namespace>>, patience: number) { [this.#places, this.#patience] = [places, patience]; }

  get client(): string { return this.#places.client.name; }

  async serve(): Promise<void> { await Promise.all((["host", "b1", "b2"] as const).map((place) => this.#serve(place))); }

  async serveBox(box: string, port: number): Promise<void> {
    const args = ["serve", "-http", "", "-udp", "", "-tcp", `:${port}`];
    for (const place of [this.#places.b1, this.#places.b2]) await place.must("sh", ["-c", 'timeout 3600 "$@" >/dev/null 2>&1 </dev/null &', "sh", box, ...args]);
    const ask = [box, "flood", "-count", "1", "tcp", `${CONTAINERS.b2}:${port}`];
    await this.#places.client.must("sh", ["-c", 'for n in $(seq 100); do "$@" >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1', "sh", ...ask]);
  }

  async ask(from: Place, kind: Kind, addresses: readonly string[], count: number, port = "8080"): Promise<readonly Asked[]> {
    return JSON.parse(await this.#run(from, "ask", kind, port, String(count), String(this.#patience), ...addresses)) as Asked[];
  }

  async speaks(kind: Kind): Promise<boolean> { return JSON.parse(await this.#run("client", "speaks", kind)) as boolean; }

  async hold(from: Place, kind: Kind, address: string): Promise<Held> {
    this.#held += 1;
    const [place, path] = [this.#places[from], `/run/held-${this.#places[from].name}-${this.#held}`];
    await this.#background(place, "hold", kind, "8080", address, path);
    const lines = async (): Promise<string[]> => (await place.tell("cat", [path])).stdout.split("\n").slice(0, -1);
    return {
      next: async () => {
        const before = (await lines()).length;
        for (;;) {
          const now = await lines();
          if (now.length > before || now.at(-1) === "gone") return now.at(-1) ?? "";
          await new Promise((go) => { setTimeout(go, 50); });
        }
      },
    };
  }

  /** Namespaces end with their last process: those in the background are told by their place. */
  async close(): Promise<void> {
    for (const place of [this.#places.client, this.#places.b1, this.#places.b2, this.#places.host]) {
      await place.tell("sh", ["-c", `for pid in $(ip netns pids ${place.name}); do [ "$(cat /proc/$pid/comm)" = timeout ] && kill $pid; done; rm -f /run/probe-${place.name}.py* /run/held-${place.name}-*`]);
      if (place !== this.#places.host) await place.close();
    }
  }

  async #run(from: Place, ...args: readonly string[]): Promise<string> { return this.#places[from].must("python3", ["-", ...args], await probe); }

  async #background(place: Namespace, ...args: readonly string[]): Promise<void> {
    const path = `/run/probe-${place.name}.py`;
    await place.must("sh", ["-c", `cat >${path}; timeout ${LIFE_SECONDS} python3 ${path} "$@" >${path}.log 2>&1 </dev/null & until [ "$(cat /proc/$!/comm)" = timeout ]; do :; done`, "sh", ...args], await probe);
  }

  async #serve(place: "host" | "b1" | "b2"): Promise<void> {
    const own = place === "host" ? GATEWAY : CONTAINERS[place];
    for (let tries = 0; tries < 90; tries += 1) {
      // In an emulated machine one was seen to be gone before it wrote a word. Of two the later finds the port taken, and ends.
      if (tries % 30 === 0) await this.#background(this.#places[place], "serve", place, ...PORTS);
      const [tally] = await this.ask(place, "tcp", [own], 1, PORTS[1]);
      if (tally?.by[place] === 1) return;
    }
    const { stdout } = await this.#places[place].tell("sh", ["-c", `cat /run/probe-${this.#places[place].name}.py.log; ss -ltnp; ps aux | grep probe`]);
    throw new Error(`${place} does not serve: ${stdout}`);
  }
}

/** As sinks/links.ts makes them. */
async function container(host: Namespace, address: string, make: () => Promise<Namespace>): Promise<Namespace> {
  const place = await make();
  const link = `${vethPrefix(VNI)}${address.split(".").at(-1) ?? ""}`;
  await host.ip(`link add ${link} type veth peer name eth0 netns ${place.name}`, `link set ${link} up`, `route add ${address}/32 dev ${link}`);
  await host.sysctls.write([[`net/ipv4/conf/${link}/proxy_arp`, "1"], [`net/ipv4/neigh/${link}/proxy_delay`, "0"], [`net/ipv4/conf/${link}/send_redirects`, "0"]]);
  await place.ip(`address add ${address}/24 dev eth0`, "link set eth0 up", `route add 10.1.0.0/16 via ${GATEWAY}`);
  return place;
}
