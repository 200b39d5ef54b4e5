/**
 * Services behind a VIP, and who answers there, seen from containers, from hosts and by Docker's API.
 *
 * In:  lab, network, service.  Out: addresses; tallies of answers by the name of who answered.
 * Rule: the VIP is the one that `docker service inspect` shows; every answer names its server and the client's address.
 */
import type { Lab } from "../../lab/lab.ts";
import { DEADLINE_MS, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box, type Node } from "./bed.ts";
import { inside, type Place } from "./reach.ts";
import { removeService } from "./tasks.ts";

/** What `box flood`, `box hold` and `box reuse` tell. */
export interface Tally {
  readonly sent: number;
  readonly failed: number;
  readonly by: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  readonly longestGapMs: number;
  /** When the first and the last question were begun that each answered, and the last that nobody did: ms of the epoch. */
  readonly firstMs: Readonly<Record<string, number>>;
  readonly lastMs: Readonly<Record<string, number>>;
  readonly lastFailMs: number;
}
export type Kind = "http" | "tcp" | "udp";
/** What lab/box listens on. */
const PORT: Readonly<Record<Kind, number>> = { http: 80, tcp: 9001, udp: 9000 };

export const createService = (manager: Node, network: string, name: string, ...options: readonly string[]): Promise<string> =>
  must(manager, ["docker", "service", "create", "--detach", "--no-resolve-image", "--name", name, "--network", network, ...options, "lab/box"]);

/** The address of the service in the network as swarm shows it; undefined while there is none. */
export async function shownVip(manager: Node, service: string, network: string): Promise<string | undefined> {
  const id = await must(manager, ["docker", "network", "inspect", "-f", "{{.Id}}", network]);
  const { stdout } = await manager.exec(["docker", "service", "inspect", "-f", "{{range .Endpoint.VirtualIPs}}{{println .NetworkID .Addr}}{{end}}", service]);
  const line = stdout.split("\n").find((one) => one.startsWith(`${id} `));
  return line?.split(" ")[1]?.split("/")[0];
}

export const vipOf = (manager: Node, service: string, network: string): Promise<string> =>
  until(`a VIP of ${service}`, () => shownVip(manager, service, network));

/** What became of short requests; every failure by its reason. */
export interface Load { readonly sent: number; readonly perSecond: number; readonly p99Us: number; readonly errors: Readonly<Record<string, number>> }
export interface Served { readonly vip: string; readonly names: readonly string[] }

/** A network with a client on every node, and services behind VIPs there; `close` takes away whatever was made. */
export class VipStand {
  readonly lab: Lab;
  readonly network: string;
  readonly clients: readonly Box[];
  readonly #services: string[] = [];

  constructor(lab: Lab, network: string, clients: readonly Box[]) { [this.lab, this.network, this.clients] = [lab, network, clients]; }

  static async open(network: string): Promise<VipStand> {
    const lab = await openedLab();
    await makeNetwork(lab.node("node1"), network);
    return new VipStand(lab, network, await Promise.all(lab.nodes.map((node) => runBox(node, network, `${network}-client-${node.name}`))));
  }

  /** Makes the service and waits until every client is answered by exactly its tasks. */
  async serve(service: string, replicas: number, ...options: readonly string[]): Promise<Served> {
    this.#services.push(service);
    await createService(this.lab.node("node1"), this.network, service, "--replicas", String(replicas), ...options);
    const names = await untilTasks(this.lab, service, replicas);
    const vip = await vipOf(this.lab.node("node1"), service, this.network);
    await this.answered({ vip, names });
    return { vip, names };
  }

  async answered({ vip, names }: Served): Promise<void> { for (const client of this.clients) await untilAnswering(inside(client), vip, names); }

  scale(service: string, replicas: number): Promise<string> {
    return must(this.lab.node("node1"), ["docker", "service", "scale", "--detach", `${service}=${replicas}`]);
  }

  /** Short requests from every client, `rate` of them a second in all, for as long as the work takes. */
  async under(vip: string, work: () => Promise<unknown>, rate = 100): Promise<Load> {
    const args = ["flood", "-count", "0", "-for", "280s", "-rate", String(Math.ceil(rate / this.clients.length)), "-workers", "16", "-timeout", "3s", "http", `${vip}:80`];
    const since = Date.now();
    const ends = this.clients.map((client) => begin(client, args));
    const [done] = await Promise.allSettled([work()]);
    const tallies = (await Promise.all(ends.map((end) => end()))).flat();
    if (done.status === "rejected") throw done.reason;
    const sent = tallies.reduce((sum, tally) => sum + tally.sent, 0);
    return {
      sent, perSecond: Math.round(sent / ((Date.now() - since) / 1_000)), p99Us: Math.max(...tallies.map(({ p99Us }) => p99Us)),
      errors: Object.assign({}, ...tallies.map(({ errors }) => errors)) as Load["errors"],
    };
  }

  /** Takes away whatever was made. */
  async close(): Promise<void> {
    for (const service of this.#services) await removeService(this.lab, service);
    for (const client of this.clients) await removeBox(client);
    await removeNetwork(this.lab.node("node1"), this.network);
  }
}

/** Many questions, each over a connection of its own, one at a time unless `workers` says otherwise. */
export async function flood(from: Place, kind: Kind, address: string, count: number, { workers = 1, timeout = "3s" } = {}): Promise<Tally> {
  const argv = ["box", "flood", "-count", String(count), "-workers", String(workers), "-timeout", timeout, kind, `${address}:${PORT[kind]}`];
  const { stdout, stderr } = await from.exec(argv, { timeoutMs: 4 * DEADLINE_MS });
  try {
    return JSON.parse(stdout) as Tally;
  } catch {
    throw new Error(`Cannot read what the flood of ${address} from ${from.name} told: ${stdout} ${stderr}`);
  }
}

/** The same from a container. */
export const floodFrom = (box: Pick<Box, "node" | "name">, kind: Kind, address: string, count: number, options: Parameters<typeof flood>[4] = {}): Promise<Tally> =>
  flood(inside(box), kind, address, count, options);

/** Begins `box ARGS` in a client, `count` times over; the answer ends them and tells what each saw. */
export function begin({ node, name }: Box, args: readonly string[], count = 1): () => Promise<readonly Tally[]> {
  const line = `box ${args.join(" ")}`;
  const told = node.exec(["docker", "exec", name, "sh", "-c", `for n in $(seq ${count}); do ${line} & done; wait`], { timeoutMs: 300_000 });
  return async () => {
    await node.exec(["pkill", "-TERM", "-x", "-f", line]);
    const { stdout, stderr } = await told;
    const tallies = stdout.split("\n").filter((one) => one !== "").map((one) => JSON.parse(one) as Tally);
    if (tallies.length !== count) throw new Error(`${name}: ${tallies.length} of ${count} told what they saw by ${line}: ${stderr}`);
    return tallies;
  };
}

/** Resolves when exactly these answer, and nothing fails: what changes takes a moment to be everywhere. */
export async function untilAnswering(from: Place, address: string, names: readonly string[], kind: Kind = "http", deadlineMs = 2 * DEADLINE_MS): Promise<Tally> {
  let last: Tally | undefined;
  const wanted = [...names].sort().join(" ");
  return until(`${wanted} to answer at ${address}, asked from ${from.name}`, async () => {
    last = await flood(from, kind, address, 3 * Math.max(1, names.length), { timeout: "1s" });
    if (last.failed === 0 && Object.keys(last.by).sort().join(" ") === wanted) return last;
    throw new Error(`last seen: ${JSON.stringify(last)}`);
  }, deadlineMs);
}

/** Lines that name the address, of every table of every node: nft, iptables of both flavours, ipset, IPVS, connection tracking. */
export async function mentions(lab: Lab, address: string): Promise<readonly string[]> {
  const text = `{ nft list ruleset; iptables-nft-save; iptables-legacy-save; ipset save; ipvsadm -Ln; conntrack -L; } 2>/dev/null | grep -Fw '${address}' || true`;
  const lists = await Promise.all(lab.nodes.map(async (node) => (await must(node, ["sh", "-c", text])).split("\n").filter((line) => line !== "").map((line) => `${node.name}: ${line.trim()}`)));
  return lists.flat();
}

/** Resolves when no table of any node names the address any more. */
export const untilForgotten = (lab: Lab, address: string): Promise<boolean> => until(`${address} to be in no table`, async () => {
  const left = await mentions(lab, address);
  if (left.length > 0) throw new Error(left.slice(0, 5).join(" | "));
  return true;
});

/** Names of the running tasks' containers as they answer (their hostnames), on all nodes. */
export async function taskNames(lab: Lab, service: string): Promise<string[]> {
  const lists = await Promise.all(lab.nodes.map(async (node) => {
    const ids = await must(node, ["docker", "ps", "-q", "--filter", `label=com.docker.swarm.service.name=${service}`]);
    return ids === "" ? [] : (await must(node, ["docker", "inspect", "-f", "{{.Config.Hostname}}", ...ids.split("\n")])).split("\n");
  }));
  return lists.flat().sort();
}

export const untilTasks = (lab: Lab, service: string, count: number): Promise<string[]> =>
  until(`${count} tasks of ${service}`, async () => {
    const names = await taskNames(lab, service);
    return names.length === count && names;
  }, 3 * DEADLINE_MS);

/** "NAME CLIENT-IP:PORT …" → the client's address. */
export const clientIn = (answer: string): string => answer.trim().split(" ")[1]?.replace(/:\d+$/, "") ?? "";

/** Round robin: every one of them, as often as any other, give or take one. */
export function spread({ by }: Tally): { readonly names: readonly string[]; readonly width: number } {
  const counts = Object.values(by);
  return { names: Object.keys(by).sort(), width: Math.max(...counts) - Math.min(...counts) };
}
