/**
 * Keeps true: the balancer is measured alone, in a namespace of this machine, with as many services as asked for.
 * In: orders. Out: what each cost; connections through the VIP and past it.
 * Rule: it runs as a program of its own (test/contract/balancer-stand.ts): a benchmark never imports the product.
 */
import { spawn, execFile, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { promisify } from "node:util";
import { LabError } from "../../lab/errors.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

export interface Cost { readonly wallMs: number; readonly cpuMs: number }
export interface Flood { readonly perSecond: number; readonly p99Us: number }
interface Places { readonly client: string; readonly vip: string; readonly direct: string; readonly port: number }

export class VipStand {
  readonly #box: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #places: Places | undefined;

  constructor(box: string) {
    this.#box = box;
    this.#child = spawn(join(ROOT, "node_modules/.bin/tsx"), ["test/contract/balancer-stand.ts", box], { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new LabError("Cannot start the balancer", "repeat the command");
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async #next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new LabError("Cannot measure the balancer: it ended", "its reason is above");
    return JSON.parse(value) as T;
  }

  async ready(): Promise<void> { this.#places = await this.#next<Places>(); }

  async tell(order: Readonly<Record<string, unknown>>): Promise<Cost> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    return this.#next<Cost>();
  }

  /** New connections one after the other, `workers` at a time, each with a question and its answer. */
  async flood(to: "vip" | "direct", count: number, workers: number): Promise<Flood> {
    const places = this.#places;
    if (places === undefined) throw new LabError("Cannot measure the balancer: it is not ready", "repeat the command");
    const since = performance.now();
    const { stdout } = await run("ip", ["netns", "exec", places.client, this.#box, "flood", "-count", String(count), "-workers", String(workers), "tcp", `${places[to]}:${places.port}`]);
    const { sent, p99Us } = JSON.parse(stdout) as { readonly sent: number; readonly p99Us: number };
    return { perSecond: (sent * 1_000) / (performance.now() - since), p99Us };
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => { this.#child.once("exit", resolve); });
    this.#child.stdin?.end();
    await ended;
  }
}
