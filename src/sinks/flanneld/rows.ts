/**
 * The kernel half of the flanneld facility: looks at and writes devices and peers' rows with `ip` and `bridge` (iproute2 6.1).
 *
 * Rule: two commands look at everything; writes are batches that stop at the first failure; removing what is absent is no error.
 */
import { OperatorError } from "../../core/errors.ts";
import type { NetnsPath } from "../../core/ids.ts";
import { expectSuccess, isDenied, NEEDS_NET_ADMIN, type Exec, type Output } from "../exec.ts";
import { parseDevices, parseRows, type KernelRows, type SeenDevice } from "./kernel-rows.ts";
import { renderPeer, renderRemoval, type PeerBatches } from "./render.ts";
import type { PeerRemoveChange, PeerWriteChange } from "./vocabulary.ts";

const TIMEOUT_MS = 10_000;
const DEVICES = "address show type vxlan\n";
const SHOW = `${DEVICES}route show table main\nneighbour show nud permanent\n`;
/** What the kernel says of an absent route (ESRCH), fdb or neighbour row (ENOENT), iproute2 of an absent device. */
const ABSENT = /No such process|No such file or directory|Cannot find device/;

export class Rows {
  readonly #exec: Exec;
  readonly #netns: NetnsPath | undefined;

  constructor(exec: Exec, netns: NetnsPath | undefined) {
    this.#exec = exec;
    this.#netns = netns;
  }

  async look(signal: AbortSignal): Promise<KernelRows> {
    const [ip, bridge] = await Promise.all([
      this.#run("ip", ["-json", "-details", "-batch", "-"], SHOW, signal), this.#run("bridge", ["-json", "fdb", "show"], undefined, signal),
    ]);
    expectSuccess(ip, "list vxlan devices and their rows");
    expectSuccess(bridge, "list forwarding rows");
    return readable(() => parseRows(ip.stdout, bridge.stdout));
  }

  /** The devices alone: starts no process where `ip` is resident. */
  async devices(signal: AbortSignal): Promise<readonly SeenDevice[]> {
    const ip = expectSuccess(await this.#run("ip", ["-json", "-details", "-batch", "-"], DEVICES, signal), "list vxlan devices");
    return readable(() => parseDevices(ip.stdout));
  }

  /** Lines for `ip`; rejects with what the kernel said and to which line. */
  async write(lines: readonly string[], doing: string, signal: AbortSignal): Promise<void> {
    await this.#batch("ip", lines, doing, signal);
  }

  async writePeers(changes: readonly PeerWriteChange[], signal: AbortSignal): Promise<void> {
    const { neighbours, forwards, routes } = joined(changes.map(({ vni, peer, link }) => renderPeer(vni, peer, link)));
    const doing = `write ${changes.length} peers of network ${changes[0]?.flannelId ?? "none"}`;
    await this.#batch("ip", neighbours, doing, signal);
    await this.#batch("bridge", forwards, doing, signal);
    await this.#batch("ip", routes, doing, signal);
  }

  async removePeers(changes: readonly PeerRemoveChange[], signal: AbortSignal): Promise<void> {
    const { neighbours, forwards, routes } = joined(changes.map(({ vni, rows }) => renderRemoval(vni, rows)));
    await this.remove("ip", routes, signal);
    await this.remove("bridge", forwards, signal);
    await this.remove("ip", neighbours, signal);
  }

  /** Every line is tried; rejects if one fails for another reason than absence. */
  async remove(tool: "ip" | "bridge", lines: readonly string[], signal: AbortSignal): Promise<void> {
    if (lines.length === 0) return;
    const output = await this.#run(tool, ["-force", "-batch", "-"], `${lines.join("\n")}\n`, signal);
    const complaint = output.stderr.split("\n").find((line) => line.trim() !== "" && !line.startsWith("Command failed") && !ABSENT.test(line));
    if (complaint !== undefined) throw new OperatorError("unavailable", `Cannot remove rows: ${complaint.trim()}`, { context: { lines } });
  }

  async #batch(tool: "ip" | "bridge", lines: readonly string[], doing: string, signal: AbortSignal): Promise<void> {
    if (lines.length === 0) return;
    const output = await this.#run(tool, ["-batch", "-"], `${lines.join("\n")}\n`, signal);
    if (output.exitCode === 0) return;
    const line = lines[Number(/Command failed -:(\d+)/.exec(output.stderr)?.[1] ?? 0) - 1];
    const reason = output.stderr.split("\n").find((text) => text.trim() !== "")?.trim() ?? `exit code ${output.exitCode}`;
    throw refusal(doing, reason, line === undefined ? "" : ` (${tool} ${line})`);
  }

  #run(file: "ip" | "bridge", args: readonly string[], stdin: string | undefined, signal: AbortSignal): Promise<Output> {
    return this.#exec({
      file, args, timeoutMs: TIMEOUT_MS, ...(stdin === undefined ? {} : { stdin }), ...(this.#netns === undefined ? {} : { netns: this.#netns }),
    }, signal);
  }
}

function readable<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new OperatorError("unsupported", `Cannot read the output of ip and bridge: ${String(cause)}`, { cause, cure: "Install iproute2 5.10 or later" });
  }
}

/** A kind of link that the kernel has not: rtnetlink's words from 5.x on, and before. It may be loaded later, so it is tried again. */
const NO_KIND = /Unknown device type|Operation not supported/;

function refusal(doing: string, reason: string, line: string): OperatorError {
  if (NO_KIND.test(reason) && line.includes(" type vxlan ")) {
    return new OperatorError("unavailable", `Cannot ${doing}: the kernel has no VXLAN (${reason})`, {
      cure: "Load it on the node (modprobe vxlan), or make the network with --opt backend=host-gw",
    });
  }
  const denied = isDenied(reason);
  return new OperatorError(denied ? "denied" : "unavailable", `Cannot ${doing}: ${reason}${line}`, denied ? { cure: NEEDS_NET_ADMIN } : {});
}

const joined = (batches: readonly PeerBatches[]): PeerBatches => ({
  neighbours: batches.flatMap((batch) => batch.neighbours),
  forwards: batches.flatMap((batch) => batch.forwards),
  routes: batches.flatMap((batch) => batch.routes),
});
